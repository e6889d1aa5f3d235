/** What system_profiler tells, in the forms it has been seen in; no Mac is needed to read it. */
import { describe, expect, test } from "bun:test";
import { NO_PROFILE, parseMacProfile } from "../../lib/guest/mac-network-profile.ts";

const service = (order: number, more: object = {}, addresses = ["192.0.2.7"]) => ({
  _name: `service ${order}`,
  IPv4: { Addresses: addresses },
  spnetwork_service_order: order,
  ...more,
});
const profile = (...services: unknown[]) =>
  parseMacProfile(JSON.stringify({ SPNetworkDataType: services }));
const proxiesOf = (Proxies: object) => profile(service(0, { Proxies })).proxies;

describe("parseMacProfile()", () => {
  test("the first service in service order that has an IPv4 address counts", () => {
    const dns = (address: string) => ({ DNS: { ServerAddresses: [address] } });
    expect(
      profile(
        service(2, dns("203.0.113.2")),
        service(0, dns("203.0.113.9"), []),
        service(1, dns("203.0.113.1")),
        { _name: "no IPv4 at all", spnetwork_service_order: 0, ...dns("203.0.113.8") },
      ).dns,
    ).toEqual(["203.0.113.1"]);
  });

  const ROWS: [what: string, proxies: object, expected: Record<string, string>][] = [
    ["nothing", {}, {}],
    [
      "enabled",
      { HTTPEnable: "yes", HTTPProxy: "p.test", HTTPPort: 3128 },
      { http_proxy: "http://p.test:3128" },
    ],
    [
      "a port as text",
      { FTPEnable: "yes", FTPProxy: "p.test", FTPPort: "21" },
      { ftp_proxy: "http://p.test:21" },
    ],
    ["no port", { HTTPSEnable: "yes", HTTPSProxy: "p.test" }, { https_proxy: "http://p.test" }],
    [
      "a scheme that is there stays",
      { HTTPSEnable: "yes", HTTPSProxy: "https://p.test", HTTPSPort: 1 },
      { https_proxy: "https://p.test:1" },
    ],
    ["not enabled", { HTTPEnable: "no", HTTPProxy: "p.test", HTTPPort: 3128 }, {}],
    ["enabled without a host", { HTTPEnable: "yes" }, {}],
    [
      "one that wants a user's name",
      { HTTPEnable: "yes", HTTPProxy: "p.test", HTTPUser: "me" },
      {},
    ],
    ["exceptions never become no_proxy", { ExceptionsList: ["*.local"], FTPPassive: "yes" }, {}],
  ];
  test.each(ROWS)("proxies: %s", (_what, proxies, expected) => {
    expect(proxiesOf(proxies)).toEqual(expected);
  });

  test.each([
    "",
    "no JSON",
    "null",
    "[]",
    '{"SPNetworkDataType":7}',
    '{"SPNetworkDataType":[null,7,{"IPv4":{"Addresses":"x"}}]}',
  ])("what is something else tells nothing: %s", (text) =>
    expect(parseMacProfile(text)).toEqual(NO_PROFILE),
  );
});
