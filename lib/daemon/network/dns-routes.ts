/** The part of the control API that is about DNS: gvproxy's zones (specification, section 8.8), and routes of our own. */
import { parseIpv4 } from "../../addr/ipv4.ts";
import { typeOf } from "../../service/dns/message.ts";
import { zonesOfHosts, type Zone } from "../../service/dns/zones.ts";
import { post, type Routes } from "./api-routes.ts";
import type { HostResponder } from "./host-responder.ts";

export const DNS_ROUTES: Routes<{ dns: HostResponder }> = {
  "/services/dns/all": async ({ dns }) => ({
    status: 200,
    json: [...dns.zones.all(), ...zonesOfHosts(dns.hosts.all())],
  }),
  "/services/dns/add": post(async ({ dns }, body) => {
    const zone = zoneOf(body);
    if (typeof zone === "string") return { status: 400, text: `${zone}\n` };
    dns.zones.add(zone);
    return { status: 200, text: "" };
  }),
  // ours: one owner's static hosts, in place of those it had; unlike a zone they may stand for names elsewhere
  "/limanet/dns/hosts": post(async ({ dns }, body) => {
    const { owner, hosts } = body;
    if (typeof owner !== "string" || owner === "" || !isTextMap(hosts))
      return { status: 400, text: "owner and hosts, an object of texts, are needed\n" };
    dns.hosts.set(owner, hosts);
    return { status: 200, text: "" };
  }),
  // ours: a query as a guest would send it, in hexadecimal digits
  "/limanet/dns/query": post(async ({ dns }, { query, transport }) => {
    if (typeof query !== "string" || !/^([0-9a-f]{2})+$/i.test(query))
      return { status: 400, text: "query, a message in hexadecimal digits, is needed\n" };
    const octets = Uint8Array.fromHex(query);
    const reply = await dns.responder.answer(
      octets,
      transport === "tcp" ? "tcp" : "udp",
      "control",
    );
    return { status: 200, json: { reply: reply === undefined ? null : reply.toHex() } };
  }),
  // ours: which source answers a name, and why
  "/limanet/dns/explain": async ({ dns }, { query }) => {
    const type = typeOf(query.get("type") ?? "A");
    if (type === undefined)
      return { status: 400, text: `type: no DNS type: ${query.get("type")}\n` };
    try {
      return { status: 200, json: await dns.responder.explain(query.get("name") ?? "", type) };
    } catch (error) {
      return { status: 400, text: `name: ${(error as Error).message}\n` };
    }
  },
};

const isTextMap = (value: unknown): value is Record<string, string> =>
  typeof value === "object" &&
  value !== null &&
  Object.values(value).every((text) => typeof text === "string");

function zoneOf(body: Record<string, unknown>): Zone | string {
  const { Name: name, Records: records, DefaultIP: defaultIp } = body;
  if (typeof name !== "string" || name === "") return "Name is needed";
  if (records !== undefined && records !== null && !Array.isArray(records))
    return "Records: a list is needed";
  const zone: Zone = { Name: name, Records: [] };
  for (const record of (records ?? []) as unknown[]) {
    const { Name, IP, Regexp } = (record ?? {}) as Record<string, unknown>;
    if (typeof IP !== "string" || parseIpv4(IP) === undefined)
      return `Records: not an IPv4 address: ${String(IP)}`;
    zone.Records.push({
      Name: typeof Name === "string" ? Name : "",
      IP,
      ...(typeof Regexp === "string" && Regexp !== "" ? { Regexp } : {}),
    });
  }
  if (typeof defaultIp === "string" && defaultIp !== "") {
    if (parseIpv4(defaultIp) === undefined) return `DefaultIP: not an IPv4 address: ${defaultIp}`;
    zone.DefaultIP = defaultIp;
  }
  return zone;
}
