/** Facts for `limanet doctor`: who answers for this host. */
import type { DnsFacts } from "../../doctor/dns.ts";
import { random32 } from "../../host/clock.ts";
import { NameServerUpstream, UPSTREAM_LIMIT_MS } from "../../host/dns-upstream.ts";
import { linkTarget } from "../../host/files.ts";
import { WatchedHostNaming } from "../../host/host-naming.ts";
import { hostPlatform } from "../../host/machine.ts";
import { queryOctets, TYPE } from "../../service/dns/message.ts";

const RESOLV_CONF = "/etc/resolv.conf";

export async function dnsFacts(): Promise<DnsFacts> {
  const system = hostPlatform();
  const upstream = new NameServerUpstream();
  const { servers } = new WatchedHostNaming(false).route(".");
  try {
    return {
      system,
      ...(system === "linux" ? resolvConfFacts() : {}),
      servers: await Promise.all(
        servers.map(async (server) => {
          // every name server can say something about the root
          const query = queryOctets(random32() & 0xffff, ".", TYPE.NS);
          const route = { servers: [server], origin: RESOLV_CONF, domain: undefined };
          return { ...server, answers: (await upstream.relay(query, route)) !== undefined };
        }),
      ),
      waitedMs: UPSTREAM_LIMIT_MS,
    };
  } finally {
    upstream.close();
  }
}

function resolvConfFacts(): Pick<DnsFacts, "resolvConf"> {
  const target = linkTarget(RESOLV_CONF);
  if (target === "there") return {};
  return { resolvConf: target === "absent" ? "absent" : { leadsTo: target.leadsTo } };
}
