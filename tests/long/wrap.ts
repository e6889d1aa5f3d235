/**
 * One connection that carries more than 4 GiB each way, so that the numbers of both sides go once around and over the place where
 * they began, between a Linux guest and a Linux server with the executable's daemon between them; each block is compared.
 * Called by scripts/conformance.
 */
import { FAR_ADDRESS, Lab } from "../support/lab.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const complain = (line: string) => process.stderr.write(`${line}\n`);

const [mebibytes = "4200"] = process.argv.slice(2);
const PORT = 7400;
const ROUNDS = Number(mebibytes);

const PROGRAM = `
import random, socket, sys
def blocks(seed):
    """Each a mebibyte, told apart by its number."""
    body = random.Random(seed).randbytes((1 << 20) - 8)
    for n in range(${ROUNDS}): yield n.to_bytes(8, "big") + body
def send(c, seed):
    for block in blocks(seed): c.sendall(block)
def compare(c, seed):
    place = bytearray(1 << 20)
    view = memoryview(place)
    for n, block in enumerate(blocks(seed)):
        at = 0
        while at < len(place):
            count = c.recv_into(view[at:])
            if count == 0: raise SystemExit("the end after %d MiB and %d octets" % (n, at))
            at += count
        if place != block: raise SystemExit("other octets in MiB %d" % n)
`;

const lab = await Lab.open();
let failed = false;
try {
  const server = await lab.far.serve(
    ...(["tcp", PORT, "python3", "-u", "-c"] as const),
    `${PROGRAM}
l = socket.socket(); l.bind(("${FAR_ADDRESS}", ${PORT})); l.listen(); c, _ = l.accept()
compare(c, 1); send(c, 2); print("whole")`,
  );
  const guest = await lab.guest();
  await guest.dhcp();
  const started = performance.now();
  const { stdout, stderr } = await guest.run(
    ...["python3", "-u", "-c"],
    `${PROGRAM}
c = socket.create_connection(("${FAR_ADDRESS}", ${PORT}))
send(c, 1); compare(c, 2); print("whole")`,
  );
  if (stdout !== "whole\n") throw new Error(`the guest: ${stdout}${stderr}`);
  const heard = await new Response(server.stdout).text();
  if (heard !== "whole\n")
    throw new Error(`the server: ${heard}${await new Response(server.stderr).text()}`);
  const seconds = (performance.now() - started) / 1000;
  say(
    `${ROUNDS} MiB (${ROUNDS * 2 ** 20} octets) each way on one connection, every octet compared, in ${seconds.toFixed(0)} s`,
  );
} catch (error) {
  failed = true;
  complain(`FAIL: ${(error as Error).stack}\n${lab.log.slice(-2000)}`);
} finally {
  await lab.close();
}
process.exit(failed ? 1 : 0);
