/**
 * Which network serves whom: the flowchart for choosing one, as a table. It answers for the machine on which it is
 * asked, and says what is not built yet.
 */
export const REACHED_FROM = ["localhost", "host", "vms", "lan"] as const;
export type ReachedFrom = (typeof REACHED_FROM)[number];

export const QUESTIONS: Record<ReachedFrom, string> = {
  localhost: "only this computer, through forwarded ports and ssh",
  vms: "other virtual machines of mine, by name, at every port",
  host: "this computer, at the machine's own address",
  lan: "other computers of the local network",
};

export interface NetworkChoice {
  network: string;
  /** for `limanet start`; "" when nothing needs to be asked for */
  flag: string;
  /** for lima.yaml; "" when nothing needs to be there */
  yaml: string;
  /** what else must be so */
  needs: string[];
  why: string;
}

const MANAGED = [
  "a program that takes socket_vmnet's command line at paths.socketVMNet of networks.yaml, owned by root",
  "limanet sudoers, installed by root (docs/privileges.md)",
];

export function chooseNetwork(from: ReachedFrom, vmType: "qemu" | "vz"): NetworkChoice {
  const managed = (network: string, why: string): NetworkChoice => ({
    network,
    flag: `--network lima:${network}`,
    yaml: `networks:\n- lima: ${network}\n`,
    needs: MANAGED,
    why,
  });
  switch (from) {
    case "localhost":
      return {
        network: "default",
        flag: "",
        yaml: "",
        needs: [],
        why: "ssh and forwarded ports lead into the machine, host.lima.internal leads out of it",
      };
    case "vms":
      return {
        network: "user-v2",
        flag: "--network lima:user-v2",
        yaml: "networks:\n- lima: user-v2\n",
        needs: [],
        why: "machines on it reach each other as lima-NAME.internal, and nothing needs root",
      };
    case "host":
      return vmType === "vz"
        ? {
            network: "vzNAT",
            flag: "--network vzNAT",
            yaml: "networks:\n- vzNAT: true\n",
            needs: ["macOS 13 or later", "vmType: vz", "not built yet in this version of limanet"],
            why: "Virtualization.framework gives the machine an address that the host reaches, without root",
          }
        : managed("shared", "the machine has an address that the host reaches, and a way out");
    default:
      return managed(
        "bridged",
        "the machine is on the host's own network, with an address of its DHCP server",
      );
  }
}
