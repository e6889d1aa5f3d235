/**
 * DNS as a guest's own resolvers see it (BusyBox's and glibc's), on limanet's stack and through QEMU's network with the
 * redirection in the guest, while the host changes its name servers. The host is a namespace with two name servers.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { canMakeNamespaces, Space } from "../support/lab.ts";
import { guestYaml, Home } from "../support/machines.ts";

const NAME_SERVER = join(import.meta.dir, "../support/name-server.ts");
const LIMIT = 90_000;

describe.skipIf(!canMakeNamespaces)("the host's DNS in a running guest", () => {
  const space = new Space(`vmdns${process.pid}`);
  let home: Home;
  const useServer = (address: string) =>
    writeFileSync(`/etc/netns/${space.name}/resolv.conf`, `nameserver ${address}\n`);

  beforeAll(async () => {
    await space.open({
      "resolv.conf": "nameserver 127.0.0.1\n",
      hosts: "127.0.0.1 localhost\n192.0.2.70 only-in-hosts.test\n",
      "nsswitch.conf": "hosts: files dns\n",
    });
    for (const tag of ["1", "2"])
      await space.serve("tcp", 53, process.execPath, NAME_SERVER, `127.0.0.${tag}`, "53", tag);
    home = new Home(".cache/guest", ["vmlinuz", "initrd"], ["ip", "netns", "exec", space.name]);
  });
  afterAll(async () => {
    await home?.close();
    await space.close();
  }, LIMIT);

  describe.each([
    ["own", "own stack", []],
    ["slirp", "QEMU's network, redirected in the guest", ["--slirp", "qemu"]],
    ["v2", "user-v2", ["--network", "lima:user-v2"]],
  ])("%s: %s", (name, _way, flags) => {
    const yaml = () => guestYaml(home, "hostResolver: { hosts: { printer.test: 203.0.113.5 } }\n");
    beforeAll(async () => {
      useServer("127.0.0.1");
      await home.must("start", "--name", name, ...flags, home.template(name, yaml()));
    }, LIMIT);
    afterAll(() => home.limanet("delete", "--force", name), LIMIT);

    const shell = (...words: string[]) => home.must("shell", name, ...words);
    const resolvers: [string, (host: string) => Promise<string>][] = [
      ["BusyBox", (host) => shell("nslookup", host)],
      ["glibc", (host) => shell("getent", "ahostsv4", host)],
      ["glibc over TCP", (host) => shell("env", "RES_OPTIONS=use-vc", "getent", "ahostsv4", host)],
    ];

    test.each(resolvers)(
      "%s finds static names, the host's hosts file and its name server",
      async (_who, find) => {
        expect(await find("printer.test")).toContain("203.0.113.5");
        expect(await find("only-in-hosts.test")).toContain("192.0.2.70");
        expect(await find("a.test")).toContain("192.0.2.1");
        expect(await find(`lima-${name}.internal`)).toMatch(/192\.168\.(5|104)\.\d+/);
      },
      LIMIT,
    );

    test(
      "another name server of the host counts a second later, and back",
      async () => {
        for (const [server, address] of [
          ["127.0.0.2", "192.0.2.2"],
          ["127.0.0.1", "192.0.2.1"],
        ] as const) {
          useServer(server);
          await Bun.sleep(1000);
          for (const [, find] of resolvers) expect(await find("a.test")).toContain(address);
        }
      },
      LIMIT,
    );

    test("dns query and dns explain ask whom the guest asks", async () => {
      const whom = name === "v2" ? ["--network", "user-v2"] : ["--instance", name];
      const explained = await home.must("dns", "explain", ...whom, "printer.test", "--json");
      expect(JSON.parse(explained)).toMatchObject({
        source: "static",
        status: "NOERROR",
        answers: [expect.stringContaining("203.0.113.5")],
      });
      const text = await home.must("dns", "explain", ...whom, "a.test", "HINFO");
      expect(text).toMatch(
        /^a\.test\.? HINFO: NOERROR\nsource: upstream \(.*\)\nservers: 127\.0\.0\.1\n/,
      );
      expect(await home.must("dns", "query", ...whom, "a.test", "MX")).toContain(
        "MX 1 mail.example.test",
      );
      const json = await home.must("dns", "query", ...whom, "--tcp", "--json", "a.test");
      expect(JSON.parse(json)).toMatchObject({ status: "NOERROR", truncated: false });
    });

    test(
      "static hosts are edited under the running machine; nothing else is",
      async () => {
        const changed = { "scanner.test": "203.0.113.6", "*.apps.test": "203.0.113.7" };
        await home.must("edit", name, "--set", `.hostResolver.hosts = ${JSON.stringify(changed)}`);
        await Bun.sleep(2000);
        for (const [, find] of resolvers) {
          expect(await find("scanner.test")).toContain("203.0.113.6");
          expect(await find("deep.in.apps.test")).toContain("203.0.113.7");
          expect(await find("a.test")).toContain("192.0.2.1");
        }
        // no static host any more: the host's name server is asked, which knows every name
        expect(await shell("getent", "ahostsv4", "printer.test")).toContain("192.0.2.1");
        expect(await shell("getent", "ahostsv4", `lima-${name}.internal`)).toContain("192.168.");
        const { code, stderr } = await home.limanet("edit", name, "--cpus", "2");
        expect(code).toBe(1);
        expect(stderr).toContain("only hostResolver.hosts changes under a running one");
      },
      LIMIT,
    );
  });
});
