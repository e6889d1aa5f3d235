/** The environment a guest gets (specification, section 18), a row for each rule. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { guestEnvironment, withReachableProxies } from "../../lib/guest/proxy-environment.ts";

const GATEWAY = "192.168.5.2";
/** the host's names, as its /etc/hosts and its resolver have them */
const NAMES: Record<string, string[]> = {
  "proxy.test": ["203.0.113.8", "2001:db8::8"],
  "here.test": ["127.0.1.1"],
  "both.test": ["203.0.113.8", "127.0.0.1"],
  "here6.test": ["::1"],
};
function host() {
  const said: string[] = [];
  const through = {
    gateway: GATEWAY,
    resolve: async (name: string) => (Object.hasOwn(NAMES, name) ? NAMES[name]! : []),
    warn: (sentence: string) => void said.push(sentence),
  };
  return { through, said };
}
const sources = { system: {}, env: {}, host: undefined };

describe("where a proxy leads", () => {
  const ROWS: [what: string, value: string, expected: string][] = [
    ["another host by address", "http://203.0.113.8:3128", "http://203.0.113.8:3128"],
    ["another host by name", "http://proxy.test:3128/", "http://proxy.test:3128/"],
    ["a name that nobody knows", "http://nobody.test:1", "http://nobody.test:1"],
    ["the loopback address", "http://127.0.0.1:3128", `http://${GATEWAY}:3128`],
    ["any address of 127.0.0.0/8", "http://127.9.8.7", `http://${GATEWAY}`],
    ["the loopback of IPv6", "http://[::1]:3128/x", `http://${GATEWAY}:3128/x`],
    ["the same, written out", "http://[0:0:0:0:0:0:0:1]:1", `http://${GATEWAY}:1`],
    ["the same, mapped", "http://[::ffff:127.0.0.1]:1", `http://${GATEWAY}:1`],
    ["another address of IPv6", "http://[2001:db8::1]:1", "http://[2001:db8::1]:1"],
    ["an address that ends like it", "http://[2001:db8::1:1]:1", "http://[2001:db8::1:1]:1"],
    ["localhost, which needs no resolver", "http://localhost:1", `http://${GATEWAY}:1`],
    ["a name below it (RFC 6761)", "http://x.LOCALHOST.:1", `http://${GATEWAY}:1`],
    ["a name of /etc/hosts", "https://here.test:8443", `https://${GATEWAY}:8443`],
    ["a name with one loopback address", "http://both.test", `http://${GATEWAY}`],
    ["a name with only that of IPv6", "http://here6.test:1", `http://${GATEWAY}:1`],
    [
      "user, port, path and query stay",
      "http://me:p%40w@127.0.0.1:8/a/b?c#d",
      `http://me:p%40w@${GATEWAY}:8/a/b?c#d`,
    ],
    [
      "a password with the host's name in it",
      "http://u:127.0.0.1@localhost:8/localhost",
      `http://u:127.0.0.1@${GATEWAY}:8/localhost`,
    ],
    [
      "an at-sign in the user's name",
      "http://a@127.0.0.1@proxy.test:8",
      "http://a@127.0.0.1@proxy.test:8",
    ],
    ["other schemes", "socks5h://127.0.0.1:1080", `socks5h://${GATEWAY}:1080`],
    ["no scheme: left alone", "127.0.0.1:3128", "127.0.0.1:3128"],
    ["no scheme: left alone", "localhost:3128", "localhost:3128"],
  ];
  test.each(ROWS)("%s: %s", async (_what, value, expected) => {
    const { through, said } = host();
    const result = await guestEnvironment({ ...sources, env: { https_proxy: value } }, through);
    expect(result).toEqual({ https_proxy: expected, HTTPS_PROXY: expected });
    expect(said).toEqual([]);
  });

  test.each(["http://", "http://127.0.0.1:99999", "http://[::1", "http://a b:1", "://127.0.0.1"])(
    "what is no URL is warned about and left as it is: %s",
    async (value) => {
      const { through, said } = host();
      const result = await guestEnvironment({ ...sources, env: { http_proxy: value } }, through);
      expect(result["http_proxy"]).toBe(value);
      expect(said).toEqual([
        "the proxy of http_proxy is left as it is: it is not a URL with a host",
      ]);
    },
  );
});

describe("which variables there are", () => {
  const both = (name: string, value: string) => ({ [name]: value, [name.toUpperCase()]: value });
  const ROWS: [
    what: string,
    from: Partial<Parameters<typeof guestEnvironment>[0]>,
    expected: Record<string, string>,
  ][] = [
    ["env as it stands", { env: { A: "1", B: "" } }, { A: "1", B: "" }],
    [
      "the host's settings come first",
      { system: { http_proxy: "http://a" } },
      both("http_proxy", "http://a"),
    ],
    [
      "env wins over them",
      { system: { http_proxy: "http://a" }, env: { http_proxy: "http://b" } },
      both("http_proxy", "http://b"),
    ],
    [
      "the host's environment wins over env",
      { env: { http_proxy: "http://b" }, host: { http_proxy: "http://c" } },
      both("http_proxy", "http://c"),
    ],
    [
      "unless it is not propagated",
      { env: { http_proxy: "http://b" }, host: undefined },
      both("http_proxy", "http://b"),
    ],
    [
      "all four are propagated",
      {
        host: {
          ftp_proxy: "http://f",
          HTTP_PROXY: "http://h",
          https_proxy: "http://s",
          NO_PROXY: "n",
        },
      },
      {
        ...both("ftp_proxy", "http://f"),
        ...both("http_proxy", "http://h"),
        ...both("https_proxy", "http://s"),
        ...both("no_proxy", "n"),
      },
    ],
    [
      "other variables never",
      { host: { all_proxy: "http://a", ALL_PROXY: "http://a", Http_Proxy: "x", PATH: "/bin" } },
      {},
    ],
    [
      "the lower-case name wins",
      { env: { http_proxy: "http://a", HTTP_PROXY: "http://b" } },
      both("http_proxy", "http://a"),
    ],
    [
      "also over the host's upper-case one",
      { env: { http_proxy: "http://a" }, host: { HTTP_PROXY: "http://b" } },
      both("http_proxy", "http://a"),
    ],
    [
      "an upper-case one alone is copied down",
      { env: { FTP_PROXY: "http://a" } },
      both("ftp_proxy", "http://a"),
    ],
    ["an empty proxy is removed", { env: { http_proxy: "" } }, {}],
    [
      "and the other spelling takes its place",
      { env: { http_proxy: "", HTTP_PROXY: "http://b" } },
      both("http_proxy", "http://b"),
    ],
    [
      "an empty one of the host removes that of env",
      { env: { http_proxy: "http://b" }, host: { http_proxy: "" } },
      {},
    ],
    ["an empty no_proxy stays", { env: { no_proxy: "" } }, both("no_proxy", "")],
    [
      "no_proxy is not rewritten",
      { env: { no_proxy: "http://127.0.0.1,localhost" } },
      both("no_proxy", "http://127.0.0.1,localhost"),
    ],
    [
      "nor is any other variable",
      { env: { all_proxy: "http://127.0.0.1", X: "http://localhost" } },
      { all_proxy: "http://127.0.0.1", X: "http://localhost" },
    ],
  ];
  test.each(ROWS)("%s", async (_what, from, expected) => {
    expect(await guestEnvironment({ ...sources, ...from }, host().through)).toEqual(expected);
  });
});

test("an environment that is ready for the guest stays as it is (property)", async () => {
  const name = fc.constantFrom(
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "no_proxy",
    "NO_PROXY",
    "X",
  );
  const hostPart = fc.oneof(
    fc.constantFrom("127.0.0.1", "localhost", "[::1]", "proxy.test", "here.test", "", "a@b"),
    fc.string({ maxLength: 12 }),
  );
  const value = fc
    .tuple(
      fc.constantFrom("", "http://", "http://u:p@", "socks5://"),
      hostPart,
      fc.constantFrom("", ":1", "/x@y"),
    )
    .map((parts) => parts.join(""));
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value), async (environment) => {
      const once = await withReachableProxies(environment, host().through);
      expect(await withReachableProxies(once, host().through)).toEqual(once);
    }),
    { numRuns: 500 },
  );
});
