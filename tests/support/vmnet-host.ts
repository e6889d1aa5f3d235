/**
 * A vmnet network's host side in a process of its own, to be killed: `FOLDER MODE NAME GATEWAY|INTERFACE` makes it,
 * prints its plan, and undoes it at SIGTERM; `FOLDER --cleanup` undoes what killed ones have left.
 */
import { cidrOf, parseIpv4 } from "../../lib/addr/ipv4.ts";
import { cleanUp, HostNetwork } from "../../lib/daemon/vmnet/host-network.ts";
import { terminationSignal } from "../../lib/host/signals.ts";
import { lineLog } from "../../lib/trace/log.ts";

const [folder = "", mode = "", name = "", where] = process.argv.slice(2);
const log = lineLog("info", "text", Date.now, (line) => process.stderr.write(line));
const ended = terminationSignal();
if (mode === "--cleanup") process.stdout.write(`${await cleanUp(log, folder)}\n`);
else if (mode === "shared" || mode === "host" || mode === "bridged") {
  const gateway = parseIpv4(where ?? "");
  const place =
    gateway === undefined
      ? { interface: where! }
      : { own: { gateway, subnet: cidrOf(gateway, 24) } };
  try {
    const network = await HostNetwork.open({ name, mode, ...place }, log, folder);
    process.stdout.write(`${JSON.stringify(network.plan)}\n`);
    await ended;
    await network.close();
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
}
