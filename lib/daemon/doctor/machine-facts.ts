/** Facts for `limanet doctor`: which programs are there, and how fast machines would run. */
import { qemuProgram } from "../../driver/qemu.ts";
import type { MachineFacts, QemuProgram } from "../../doctor/machine.ts";
import { exists } from "../../host/files.ts";
import { hostArchitecture, hostPlatform, machineMonitor } from "../../host/machine.ts";
import { findProgram, runCommand } from "../../host/process.ts";
import { qemuVersion } from "../qemu-machine.ts";
import type { Surroundings } from "./surroundings.ts";

export async function machineFacts({ instances }: Surroundings): Promise<MachineFacts> {
  const system = hostPlatform();
  const architectures = new Set([
    // there, an instance of which nothing else is said runs without QEMU
    ...(system === "darwin" ? [] : [hostArchitecture()]),
    ...instances.flatMap(({ config }) => (config?.vmType === "qemu" ? config.arch : [])),
  ]);
  const qemus = await Promise.all(
    [...architectures].map(async (architecture): Promise<QemuProgram> => {
      const name = qemuProgram(architecture);
      return { name, architecture, state: await qemuState(name) };
    }),
  );
  const needed = ["qemu-img", "ssh", "ssh-keygen"] as const;
  return {
    system,
    qemus,
    missing: needed.filter((name) => findProgram(name) === undefined),
    acceleration:
      machineMonitor() !== undefined
        ? "usable"
        : system === "linux" && exists("/dev/kvm")
          ? "denied"
          : "absent",
  };
}

async function qemuState(program: string): Promise<QemuProgram["state"]> {
  if (findProgram(program) === undefined) return "absent";
  const version = await qemuVersion(program);
  return version === undefined ? { broken: await whatItSays(program) } : { version };
}

async function whatItSays(program: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand([program, "--version"], 5000);
  return (stderr || stdout).trim().split("\n")[0] || `it ended with ${code}`;
}
