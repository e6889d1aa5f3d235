/** An instance's virtual machine, whatever runs it. */
import type { InstanceConfig } from "../config/instance.ts";
import type { InstancePaths } from "../config/paths.ts";
import type { Nic } from "../driver/nic.ts";
import { monotonicMs, sleep } from "../host/clock.ts";
import type { QmpClient } from "../host/qmp-client.ts";
import type { Log } from "../trace/log.ts";
import { inGuest } from "./guest-access.ts";
import { startQemu } from "./qemu-machine.ts";
import { startVz } from "./vz-machine.ts";

const SHUTDOWN_LIMIT_MS = 20_000;
const STEP_MS = 100;

/** What every driver is told. */
export interface MachineSettings {
  paths: InstancePaths;
  config: InstanceConfig;
  name: string;
  nics: readonly Nic[];
  log: Log;
}

export interface Machine {
  /** for people: what runs */
  description: string;
  /** fulfilled when it has ended: "" when its guest has powered off, else a sentence that says why */
  ended: Promise<string>;
  /** of a machine that has a network of its own */
  monitor?: QmpClient;
  /** network cards come back by themselves when their network was away */
  reconnects: boolean;
  /** of a machine that has vsock: a connection to a port of the guest, a descriptor of the caller's */
  connectVsock?: (port: number) => Promise<number>;
  pressPowerButton(): Promise<void>;
  /** A network of cards whose absence is told was away and is there again. */
  networkReturned(network: string): void;
  /** Ends it if it still runs, and removes what it made. */
  end(): Promise<void>;
}

export const startMachine = (settings: MachineSettings): Promise<Machine> =>
  settings.config.vmType === "vz" ? startVz(settings) : startQemu(settings);

/** Asks the guest to power off; one that does not listen to its power button is asked by ssh. */
export async function powerDown(
  machine: Machine,
  paths: InstancePaths,
  name: string,
): Promise<void> {
  let ended = false;
  void machine.ended.then(() => {
    ended = true;
  });
  await machine.pressPowerButton().catch(() => {});
  const limit = monotonicMs() + SHUTDOWN_LIMIT_MS;
  const askBySsh = monotonicMs() + SHUTDOWN_LIMIT_MS / 8;
  let asked = false;
  while (!ended && monotonicMs() < limit) {
    if (!asked && monotonicMs() > askBySsh) {
      asked = true;
      await inGuest(paths, name, "sudo -n poweroff");
    }
    await sleep(STEP_MS);
  }
}
