/** `limanet tunnel`: a SOCKS proxy into an instance's network (specification, section 19). */
import { hostnameOf } from "../config/names.ts";
import type { InstancePaths } from "../config/paths.ts";
import { stableSocksPort } from "../daemon/network/socks-ports.ts";
import { freePort, limanetHome } from "../host/machine.ts";
import { runCommand } from "../host/process.ts";
import { writeOut } from "../host/terminal.ts";
import { isServed, requestUnixHttp } from "../host/unix-http.ts";
import { inspectInstance } from "../instance/store.ts";
import { controlEndpoint } from "./control-endpoint.ts";

const SSH_LIMIT_MS = 20_000;

/** Opens the tunnel, which stays open until its network ends, and tells how to use it. */
export async function tunnel(
  name: string,
  options: { socksPort: number; json?: true | undefined },
): Promise<number> {
  const { socksPort } = options;
  if (socksPort !== 0 && (socksPort < 1024 || socksPort > 65_535)) {
    throw Object.assign(
      new Error(`Cannot use --socks-port ${socksPort}: 0 or a port from 1024 to 65535 is needed`),
      { name: "UsageError" },
    );
  }
  const home = limanetHome();
  const instance = inspectInstance(home, name);
  const { paths, status, config } = instance;
  if (status !== "Running" || config === undefined)
    throw new Error(`Cannot open a tunnel into ${name}: it does not run (limanet start ${name})`);
  const endpoint = controlEndpoint(home, instance);
  const proxy =
    (await openAtNetwork(endpoint, socksPort, name)) ?? (await openBySsh(paths, name, socksPort));
  const host = `${hostnameOf(name)}.internal`;
  if (options.json) writeOut(`${JSON.stringify({ type: "socks", proxy, host })}\n`);
  else
    writeOut(`Programs that use the proxy socks5h://${proxy} reach <http://${host}> and the other names of its network:
  curl --proxy socks5h://${proxy} http://${host}/
In a browser: SOCKS version 5, host 127.0.0.1, port ${proxy.split(":")[1]}, names looked up by the proxy.
`);
  return 0;
}

/** undefined: the network is none of ours that has a proxy */
async function openAtNetwork(
  endpoint: string,
  port: number,
  name: string,
): Promise<string | undefined> {
  if (!(await isServed(endpoint))) return undefined;
  const { status, body } = await requestUnixHttp(endpoint, "POST", "/limanet/socks", { port });
  if (status === 404) return undefined;
  if (status !== 200) throw new Error(`Cannot open a tunnel into ${name}: ${body.trim()}`);
  return (JSON.parse(body) as { local: string }).local;
}

/** QEMU's own network has no proxy; ssh's dials from inside the guest, as Lima's tunnel does. It ends with the instance. */
async function openBySsh(paths: InstancePaths, name: string, wanted: number): Promise<string> {
  const own = stableSocksPort(paths.endpoint);
  let problem = "";
  for (const port of wanted === 0 ? [own, freePort()] : [wanted]) {
    const local = `127.0.0.1:${port}`;
    // the instance's ssh connection takes it on; a new one is made if there is none
    const ssh = ["ssh", "-F", paths.sshConfig];
    await runCommand([...ssh, hostnameOf(name), "true"], SSH_LIMIT_MS);
    const forward = [...ssh, "-O", "forward", "-D", local, hostnameOf(name)];
    const { code, stderr } = await runCommand(forward, SSH_LIMIT_MS);
    if (code === 0) return local;
    problem = stderr.trim().split("\n").at(-1) ?? "";
  }
  throw new Error(`Cannot open a tunnel into ${name}: ${problem} (choose another --socks-port)`);
}
