/** Which name servers are written into the guest (specification, section 3.4); the first rule that applies counts. */

export interface DnsFacts {
  /** `dns` of lima.yaml */
  configured: readonly string[];
  /** a user-v2 network is attached, or the machine is of type vz */
  onUsernet: boolean;
  hostResolver: boolean;
  /** router of the first network */
  gateway: string;
  /** address of the first network at which DNS is answered */
  networkDns: string;
  /** name servers of the host's settings (macOS) */
  hostDns: readonly string[];
}

/** The addresses; empty: nothing is written and the guest keeps what DHCP says. */
export function guestNameServers(facts: DnsFacts): string[] {
  if (facts.configured.length > 0) return [...facts.configured];
  if (facts.onUsernet) return [facts.gateway];
  if (facts.hostResolver) return [facts.networkDns];
  return [...facts.hostDns];
}
