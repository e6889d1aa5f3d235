/**
 * Names that a person has given: `hostResolver.hosts` of lima.yaml and the network's own (specification 3.4, 10.1, 10.3).
 * A name is matched exactly and without regard to case; `*.name` matches what is below a name, the longest first.
 * Nothing else of a zone is touched: `db.example.com` says nothing about `www.example.com`.
 */
import { canonicalIp } from "../../addr/ip-text.ts";
import { canonicalName } from "./message.ts";

export type StaticAnswer =
  | { kind: "address"; ip: string; family: 4 | 6; entry: string; target: string }
  /** leads to a name that is not in the table */
  | { kind: "alias"; target: string; entry: string }
  /** the aliases lead in a circle */
  | { kind: "circle"; entry: string };

export type HostTable = Readonly<Record<string, string>>;

export class StaticHosts {
  readonly #tables = new Map<string, HostTable>();
  #targets = new Map<string, string>();
  #revision = 0;

  /** Replaces all names of one owner, such as an instance; an empty table forgets them. */
  set(owner: string, table: HostTable): void {
    this.#tables.delete(owner);
    if (Object.keys(table).length > 0) this.#tables.set(owner, { ...table });
    this.#targets = new Map(
      [...this.#tables.values()].flatMap((names) =>
        Object.entries(names).map(([name, target]) => [canonicalName(name), target] as const),
      ),
    );
    this.#revision++;
  }

  /** grows with every change */
  get revision(): number {
    return this.#revision;
  }

  /** all names as they count: of two with the same name the one that came last */
  all(): HostTable {
    return Object.fromEntries(this.#targets);
  }

  /** What the table says about exactly this name. */
  exact(name: string): StaticAnswer | undefined {
    const wanted = canonicalName(name);
    return this.#targets.has(wanted) ? this.#follow(wanted) : undefined;
  }

  /** What the longest `*.name` above this name says. */
  wildcard(name: string): StaticAnswer | undefined {
    const labels = canonicalName(name).split(".");
    for (let skip = 1; skip < labels.length; skip++) {
      const pattern = `*.${labels.slice(skip).join(".")}`;
      if (this.#targets.has(pattern)) return this.#follow(pattern);
    }
    return undefined;
  }

  #follow(entry: string): StaticAnswer {
    const seen = new Set<string>();
    for (let at = entry; !seen.has(at);) {
      seen.add(at);
      const text = this.#targets.get(at);
      if (text === undefined) return { kind: "alias", target: at, entry };
      const family = addressFamily(text);
      if (family !== undefined) return { kind: "address", ip: text, family, entry, target: at };
      at = canonicalName(text);
    }
    return { kind: "circle", entry };
  }

  /** the names that lead to an address, for PTR: those written first come first, aliases and patterns do not count */
  namesOf(ip: string): string[] {
    return [...this.#targets].flatMap(([name, target]) =>
      target === ip && !name.startsWith("*.") ? [name] : [],
    );
  }
}

/** 4 or 6 for an address, undefined for anything else */
export function addressFamily(text: string): 4 | 6 | undefined {
  const address = canonicalIp(text);
  if (address === undefined) return undefined;
  return address.includes(":") ? 6 : 4;
}
