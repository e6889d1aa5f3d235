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

test.skipIf(!canMakeNamespaces)(
  "TAP: a full ring drops and counts, failures are told, two hundred starts and stops leave nothing",
  async () => {
    const script = new URL("tap-lifetime.ts", import.meta.url).pathname;
    const child = Bun.spawn(["unshare", "-n", process.execPath, script], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [text, errors] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect(errors).toBe("");
    const seen = JSON.parse(text);
    const cannot = (name: string, why: string) =>
      `Cannot make the TAP device ${name}: ${why} (it needs CAP_NET_ADMIN and /dev/net/tun)`;
    expect(seen).toMatchObject({
      taken: cannot("vt0", "interface: EBUSY"),
      long: cannot("a-name-of-sixteen", "name: ENAMETOOLONG"),
      size: cannot("vt1", "rings: EINVAL"),
      stopped: "Cannot stop the host's interface: EBADF",
      capabilities: { backend: "tap", device: "0", max_batch: "1" },
    });
    // 1042 octets a frame: three fit into 4096, besides what the kernel sends of itself
    expect(seen.framesIn).toBeLessThan(46);
    expect(seen.dropped).toBeGreaterThan(40);
    expect(seen.counted).toBe(seen.dropped);
    expect(seen.after.descriptors).toBe(seen.before.descriptors);
    // Bun starts and ends threads of its own meanwhile; one left by each start would be two hundred
    expect(seen.after.threads).toBeLessThan(seen.before.threads + 20);
  },
);
