/** A network card of an instance, and how its frames get out of the virtual machine. */
export interface Nic {
  mac: string;
  /** octets of the largest IP packet of its network; 1500 when it is not known to be more */
  mtu?: number | undefined;
  backend: NicBackend;
}

export type NicBackend =
  | SwitchBackend
  /** QEMU's own user-mode network, with ssh forwarded to a host port */
  | { kind: "slirp"; sshPort: number }
  /** Virtualization.framework's own network */
  | { kind: "nat" };

/** A switch on unix sockets. */
export interface SwitchBackend {
  kind: "switch";
  /** for people */
  network: string;
  /** stream socket of framed Ethernet, as QEMU and socket_vmnet have it */
  stream: string;
  /** where a QEMU that cannot connect twice listens instead, if the network can connect to it */
  listen?: string | undefined;
  /** socket that takes one end of a pair of datagram sockets */
  descriptors: string;
  /** where a QEMU that shares its guest's memory connects instead (vhost-user) */
  vhostUser?: string | undefined;
  /** how one learns that it was away: it never is, one is told when it is there again, or has to look oneself */
  absence: "never" | "told" | "unnoticed";
}
