/**
 * Which network serves whom: the flowchart of Lima's documentation, as questions and as a table. It answers for the
 * machine on which it is asked.
 */
export const REACHED_FROM = ["localhost", "host", "vms", "lan"] as const;
export type ReachedFrom = (typeof REACHED_FROM)[number];
export type ChoiceVmType = "vz" | "qemu";

/** A question and its answers: the word of each, what a person reads, and the question that it leads to. */
export interface Question<Word extends string = string> {
  text: string;
  answers: readonly { word: Word; text: string }[];
}

export const HOW_REACHED: Question<"localhost" | "address"> = {
  text: "How is the machine to be reached?",
  answers: [
    { word: "localhost", text: "by ssh and forwarded ports of this computer (localhost)" },
    { word: "address", text: "at an address of its own" },
  ],
};

export const WHENCE: Question<Exclude<ReachedFrom, "localhost">> = {
  text: "From where is that address to be reached?",
  answers: [
    { word: "host", text: "from this computer" },
    { word: "vms", text: "from my other virtual machines" },
    { word: "lan", text: "from other computers of the local network" },
  ],
};

/** asked on macOS alone: elsewhere there is no Virtualization.framework */
export const WHICH_DRIVER: Question<ChoiceVmType> = {
  text: "What runs the machine (vmType)?",
  answers: [
    { word: "vz", text: "Virtualization.framework of macOS" },
    { word: "qemu", text: "QEMU" },
  ],
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

export function chooseNetwork(
  from: ReachedFrom,
  vmType: ChoiceVmType,
  system: "darwin" | "linux",
): NetworkChoice {
  const needs = system === "linux" && vmType === "vz" ? ["macOS 13 or later, for vmType vz"] : [];
  switch (from) {
    case "localhost":
      return {
        network: "default",
        flag: "",
        yaml: "",
        needs,
        why: "ssh and forwarded ports lead into the machine, host.lima.internal leads out of it",
      };
    case "vms":
      return {
        ...named("user-v2"),
        needs,
        why: "machines on it reach each other as lima-NAME.internal, and nothing needs root",
      };
    case "host":
      if (vmType === "vz") {
        return {
          network: "vzNAT",
          flag: "--vm-type vz --network vzNAT",
          yaml: "vmType: vz\nnetworks:\n- vzNAT: true\n",
          needs: ["macOS 13 or later, for vmType vz"],
          why: "Virtualization.framework gives the machine an address that the host reaches, without root",
        };
      }
      return {
        ...named("shared"),
        needs: managedNeeds(system),
        why: "the machine has an address that the host reaches, and a way out",
      };
    default:
      return {
        ...named("bridged"),
        needs: [
          ...needs,
          ...managedNeeds(system),
          "in networks.yaml, the interface of the local network: networks.bridged.interface",
        ],
        why: "the machine is on the host's own network, with an address of its DHCP server",
      };
  }
}

const named = (network: string) => ({
  network,
  flag: `--network lima:${network}`,
  yaml: `networks:\n- lima: ${network}\n`,
});

/** what shared, host and bridged networks need, whose daemons run as root */
const managedNeeds = (system: "darwin" | "linux"): string[] => [
  system === "darwin"
    ? "socket_vmnet, or a copy of limanet under this name, where only root can write: paths.socketVMNet of networks.yaml"
    : "a copy of limanet where only root can write: sudo install -D $(command -v limanet) /opt/limanet/bin/socket_vmnet (paths.socketVMNet of networks.yaml)",
  "a sudoers file, which limanet sudoers prints: paths.sudoers of networks.yaml",
  ...(system === "linux"
    ? ["the programs ip and nft (limanet doctor looks for what else is in the way)"]
    : []),
];
