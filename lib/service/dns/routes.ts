/** Which name servers a name is asked of: those of the longest domain above it, else the general ones (split DNS). */
import { canonicalName } from "./message.ts";

export interface NameServer {
  address: string;
  port: number;
}

export interface ServerGroup {
  servers: readonly NameServer[];
  /** where this was found, e.g. "/etc/resolv.conf" */
  origin: string;
}

export interface DomainRoute extends ServerGroup {
  /** "" is every name */
  domain: string;
}

export interface Route extends ServerGroup {
  /** undefined: no domain has servers of its own for this name */
  domain: string | undefined;
}

export class Routes {
  readonly #byDomain = new Map<string, DomainRoute>();
  readonly #general: ServerGroup;

  /** Of two routes for one domain the first counts. */
  constructor(general: ServerGroup, domains: readonly DomainRoute[] = []) {
    this.#general = general;
    for (const route of domains) {
      const domain = canonicalName(route.domain);
      if (route.servers.length > 0 && !this.#byDomain.has(domain))
        this.#byDomain.set(domain, { ...route, domain });
    }
  }

  for(name: string): Route {
    if (this.#byDomain.size > 0) {
      for (let domain = canonicalName(name); ; domain = domain.slice(domain.indexOf(".") + 1)) {
        const route = this.#byDomain.get(domain);
        if (route !== undefined) return route;
        if (!domain.includes(".")) break;
      }
      const all = this.#byDomain.get("");
      if (all !== undefined) return all;
    }
    return { ...this.#general, domain: undefined };
  }

  /** every server once, for people */
  all(): Route[] {
    return [{ ...this.#general, domain: undefined }, ...this.#byDomain.values()];
  }
}
