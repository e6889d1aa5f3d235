/** Which virtual machines this host can run (specification, section 3.5). Pure. */
import type { InstanceConfig } from "../config/instance.ts";

export interface VmHost {
  platform: "darwin" | "linux";
  architecture: InstanceConfig["arch"];
}

/** Why an instance cannot run on this host, and what to do; undefined: it can, as far as its settings tell. */
export function vmTypeProblem(
  { vmType, arch, networks }: Pick<InstanceConfig, "vmType" | "arch" | "networks">,
  host: VmHost,
): string | undefined {
  if (vmType === "vz") {
    if (host.platform !== "darwin") return "vmType vz needs macOS 13 or later (set vmType: qemu)";
    if (arch !== host.architecture)
      return `vmType vz runs guests of this machine's architecture ${host.architecture} only, not ${arch} (set vmType: qemu)`;
    return undefined;
  }
  if (vmType !== "qemu") return `vmType ${vmType} is not built yet (set vmType: qemu)`;
  const nat = networks.find(({ vzNAT }) => vzNAT === true);
  if (nat === undefined) return undefined;
  return `the network of ${nat.interface} is vzNAT, which needs vmType: vz on macOS (take the entry out, or set lima or socket instead)`;
}
