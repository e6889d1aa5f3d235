/**
 * Names that a network knows itself: the zones of the control API (specification 8.8, 8.11) and what they answer. Unlike
 * gvproxy's, names are compared without regard to case, the longest zone that has an answer wins, and a zone owns only the
 * names it lists: everything else in it is still asked of the host's resolver.
 */
import { parseIpv4 } from "../../addr/ipv4.ts";
import { canonicalName } from "./message.ts";

export interface ZoneRecord {
  /** the part of the name in front of the zone's */
  Name: string;
  IP: string;
  /** matches that part instead of Name */
  Regexp?: string;
}

/** As it stands in the API's JSON. */
export interface Zone {
  Name: string;
  Records: ZoneRecord[];
  /** answers every name of the zone that no record has */
  DefaultIP?: string;
}

export type ZoneAnswer =
  | { kind: "address"; ip: string }
  /** not ours: ask the host */
  | { kind: "elsewhere" };

export class DnsZones {
  #zones: Zone[] = [];
  #revision = 0;

  /** grows with every change */
  get revision(): number {
    return this.#revision;
  }

  /** Adds a zone; of one that is there already the new records come first and the old ones stay (spec 8.8). */
  add(zone: Zone): void {
    this.#revision++;
    const at = this.#zones.findIndex(
      (other) => canonicalName(other.Name) === canonicalName(zone.Name),
    );
    if (at < 0) {
      this.#zones.push({ ...zone, Records: [...zone.Records] });
      return;
    }
    const old = this.#zones[at]!.Records.filter(
      (record) =>
        !zone.Records.some((other) => other.Name === record.Name && other.IP === record.IP),
    );
    this.#zones[at] = { ...zone, Records: [...zone.Records, ...old] };
  }

  /** as the API shows them */
  all(): Zone[] {
    return this.#zones.map((zone) => ({
      Name: zone.Name,
      Records: zone.Records,
      DefaultIP: zone.DefaultIP ?? "",
    }));
  }

  /** What the zones say about an address record of a name. */
  lookup(name: string): ZoneAnswer {
    const wanted = canonicalName(name);
    let best: { zone: string; answer: ZoneAnswer } | undefined;
    for (const zone of this.#zones) {
      const zoneName = canonicalName(zone.Name);
      const answer = answerOf(zone, zoneName, wanted);
      if (answer !== undefined && (best === undefined || zoneName.length > best.zone.length))
        best = { zone: zoneName, answer };
    }
    return best?.answer ?? { kind: "elsewhere" };
  }

  /** the names that lead to an address, for PTR */
  namesOf(ip: string): string[] {
    const names: string[] = [];
    for (const zone of this.#zones) {
      for (const record of zone.Records) {
        if (record.IP === ip && record.Regexp === undefined) {
          names.push(
            record.Name === ""
              ? canonicalName(zone.Name)
              : `${record.Name}.${canonicalName(zone.Name)}`,
          );
        }
      }
    }
    return [...new Set(names)];
  }
}

function answerOf(zone: Zone, zoneName: string, wanted: string): ZoneAnswer | undefined {
  const apex = wanted === zoneName;
  if (!apex && !wanted.endsWith(`.${zoneName}`)) return undefined;
  const label = apex ? "" : wanted.slice(0, -zoneName.length - 1);
  for (const record of zone.Records) {
    const matches =
      record.Regexp === undefined
        ? record.Name.toLowerCase() === label
        : matchesRegexp(record.Regexp, label);
    if (matches) return { kind: "address", ip: record.IP };
  }
  if (zone.DefaultIP !== undefined && zone.DefaultIP !== "")
    return { kind: "address", ip: zone.DefaultIP };
  return undefined;
}

function matchesRegexp(pattern: string, label: string): boolean {
  try {
    return new RegExp(pattern).test(label);
  } catch {
    // a pattern that this engine cannot read matches nothing
    return false;
  }
}

/**
 * The zones of a table of static hosts (spec 8.11), in the form gvproxy's clients send them: the part behind the last
 * dot is the zone. Aliases are followed inside the table; those that lead out of it are left out of the result.
 */
export function zonesOfHosts(hosts: Readonly<Record<string, string>>): Zone[] {
  const zones = new Map<string, Zone>();
  const targets = new Map(
    Object.entries(hosts).map(([name, target]) => [canonicalName(name), target]),
  );
  for (const name of Object.keys(hosts)) {
    const ip = followAliases(targets, name);
    if (ip === undefined || name.startsWith("*.")) continue;
    const canonical = canonicalName(name);
    const dot = canonical.lastIndexOf(".");
    if (dot < 0) {
      zones.set(canonical, { Name: canonical, Records: [], DefaultIP: ip });
      continue;
    }
    const zoneName = `${canonical.slice(dot + 1)}.`;
    const zone = zones.get(zoneName) ?? { Name: zoneName, Records: [] };
    zone.Records.push({ Name: canonical.slice(0, dot), IP: ip });
    zones.set(zoneName, zone);
  }
  return [...zones.values()];
}

/** The hosts that no zone can say: patterns, IPv6 addresses and names elsewhere, and what leads to them. */
export function hostsBeyondZones(hosts: Readonly<Record<string, string>>): Record<string, string> {
  const targets = new Map(
    Object.entries(hosts).map(([name, target]) => [canonicalName(name), target]),
  );
  const isBeyond = (name: string) =>
    name.startsWith("*.") || followAliases(targets, name) === undefined;
  return Object.fromEntries(Object.entries(hosts).filter(([name]) => isBeyond(name)));
}

/** The address a name leads to; undefined when it leads out of the table or in a circle. */
function followAliases(targets: ReadonlyMap<string, string>, name: string): string | undefined {
  const seen = new Set<string>();
  for (let at = canonicalName(name); !seen.has(at);) {
    seen.add(at);
    const target = targets.get(at);
    if (target === undefined) return undefined;
    if (parseIpv4(target) !== undefined) return target;
    at = canonicalName(target);
  }
  return undefined;
}
