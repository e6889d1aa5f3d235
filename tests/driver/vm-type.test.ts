import { expect, test } from "bun:test";
import type { InstanceNetwork } from "../../lib/config/instance-networks.ts";
import { vmTypeProblem, type VmHost } from "../../lib/driver/vm-type.ts";

const LINUX: VmHost = { platform: "linux", architecture: "x86_64" };
const MAC: VmHost = { platform: "darwin", architecture: "aarch64" };
const NAT: InstanceNetwork = { vzNAT: true, interface: "lima0", metric: 100 };
const USER: InstanceNetwork = { lima: "user-v2", interface: "lima1", metric: 100 };

test.each([
  ["qemu", "x86_64", [USER], LINUX, undefined],
  ["qemu", "x86_64", [USER], MAC, undefined],
  ["qemu", "x86_64", [USER, NAT], MAC, "the network of lima0 is vzNAT, which needs vmType: vz"],
  ["qemu", "x86_64", [NAT], LINUX, "the network of lima0 is vzNAT, which needs vmType: vz"],
  ["vz", "x86_64", [], LINUX, "vmType vz needs macOS 13 or later (set vmType: qemu)"],
  ["vz", "aarch64", [NAT, USER], MAC, undefined],
  ["vz", "x86_64", [], MAC, "runs guests of this machine's architecture aarch64 only, not x86_64"],
  ["krunkit", "aarch64", [], MAC, "vmType krunkit is not built yet (set vmType: qemu)"],
  ["wsl2", "x86_64", [NAT], LINUX, "vmType wsl2 is not built yet (set vmType: qemu)"],
] as const)("vmTypeProblem() of %s %s %j on %j is %p", (vmType, arch, networks, host, problem) => {
  const found = vmTypeProblem({ vmType, arch, networks: [...networks] }, host);
  if (problem === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(problem);
});
