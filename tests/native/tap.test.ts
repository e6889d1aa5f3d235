/** The TAP back end of the native library with the kernel's own ARP and ping at the other end. */
import { expect, test } from "bun:test";
import { canMakeNamespaces } from "../support/lab.ts";

const ANSWERER = new URL("tap-answerer.ts", import.meta.url).pathname;
const SETUP = `set -e
"$0" "$1" "$2" "$3" >"$4" & answerer=$!
trap 'kill $answerer; rm -f "$4"' EXIT
until grep -q ready "$4" 2>/dev/null; do kill -0 $answerer; sleep 0.05; done
cat "$4"
ip addr add 10.77.0.1/24 dev vt0
ip link set vt0 up
ping -q -f -c 2000 -s 1000 10.77.0.9`;

test.skipIf(!canMakeNamespaces).each([
  ["frames without a header", 1 << 18, "plain", 0],
  ["frames with a virtio header", 1 << 18, "offload", 12],
  ["rings that wrap every third frame", 4096, "plain", 0],
] as const)("TAP: ping is answered through the rings: %s", async (_, size, offload, header) => {
  const out = `/tmp/limanet-tap-${process.pid}-${size}-${offload}`;
  const child = Bun.spawn(
    ["unshare", "-n", "sh", "-c", SETUP, process.execPath, ANSWERER, String(size), offload, out],
    { stdout: "pipe", stderr: "pipe" },
  );
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(errors).toBe("");
  expect(text).toContain(`ready ${header}\n`);
  expect(text).toContain("2000 packets transmitted, 2000 received, 0% packet loss");
});
