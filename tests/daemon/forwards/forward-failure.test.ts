/** What is said when a place on the host cannot be had, and how bad it is (specification, section 17.6). */
import { afterAll, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { forwardFailure } from "../../../lib/daemon/forwards/forward-failure.ts";

const home = mkdtempSync(join(tmpdir(), "lima-"));
const server = createServer().listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const { port } = server.address() as AddressInfo;
const datagrams = createSocket("udp4");
/** somebody else may have it already, which is as good here */
await new Promise<void>((resolve) => {
  datagrams.on("error", () => resolve());
  datagrams.bind(5355, "127.0.0.1", resolve);
});
afterAll(() => {
  server.close();
  datagrams.close();
  rmSync(home, { recursive: true });
});

const explain = (protocol: "tcp" | "udp", local: string) =>
  forwardFailure(
    home,
    "one",
    {
      protocol,
      guest: "0.0.0.0:80",
      host: local,
      locals: [local],
      way: { via: "network", remote: "192.168.5.15:80" },
    },
    local,
    new Error("what the carrier says"),
  );

test("a port that is taken is told with its process", async () => {
  const { type, why } = await explain("tcp", `127.0.0.1:${port}`);
  expect(type).toBe("failed");
  expect(why).toMatch(
    new RegExp(
      `^the address is in use by \\S.* \\(process ${process.pid}\\) \\(stop that, or choose another hostPort\\)$`,
    ),
  );
});

test("all addresses are taken when one is", async () => {
  expect((await explain("tcp", `0.0.0.0:${port}`)).why).toContain(`(process ${process.pid})`);
});

test("the host's own services have their ports, which is no failure", async () => {
  const { type, why } = await explain("udp", "127.0.0.1:5355");
  expect(type).toBe("not-forwarding");
  expect(why).toStartWith("the address is in use by ");
});

test("an address that is not this machine's is told", async () => {
  const { type, why } = await explain("tcp", "192.0.2.1:8080");
  expect(type).toBe("failed");
  expect(why).toContain("this machine has no such address");
});

test.each(["127.0.0.1:0", "/tmp/some.sock"])(
  "%s is in nobody's way: the carrier's own words count",
  async (local) => {
    expect(await explain("tcp", local)).toEqual({ type: "failed", why: "what the carrier says" });
  },
);
