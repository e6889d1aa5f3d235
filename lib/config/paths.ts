/** Where everything lies below the home folder (specification, section 2). Pure: paths in, paths out. */

/** octets of a unix socket's path with its final zero octet (specification, section 1) */
export const SOCKET_PATH_LIMIT = { darwin: 104, linux: 108 } as const;

/** what counts for all instances */
export const configFolder = (home: string): string => `${home}/_config`;
export const networksFile = (home: string): string => `${home}/_config/networks.yaml`;
/** settings that count for all instances, below and above what their own lima.yaml says */
export const defaultsFile = (home: string): string => `${home}/_config/default.yaml`;
export const overrideFile = (home: string): string => `${home}/_config/override.yaml`;
/** a template that every new instance builds on */
export const baseFile = (home: string): string => `${home}/_config/base.yaml`;
export const identityFile = (home: string): string => `${home}/_config/user`;

export interface InstancePaths {
  dir: string;
  config: string;
  limaVersion: string;
  /** marks an instance of Lima's that limanet has taken over */
  adopted: string;
  cidata: string;
  disk: string;
  /** the disk of an instance that Lima has made */
  limaDisk: string;
  hostAgentPid: string;
  hostAgentSocket: string;
  hostAgentOut: string;
  hostAgentErr: string;
  sshConfig: string;
  sshControl: string;
  qemuPid: string;
  /** pid of the process that a machine of Virtualization.framework lives in */
  vzPid: string;
  /** EFI's variables and the machine's identifier, which a machine of Virtualization.framework keeps */
  vzEfi: string;
  vzIdentifier: string;
  /** locked as long as the virtual machine lives */
  machineLock: string;
  qmp: string;
  serialLog: string;
  endpoint: string;
  guestSocket: string;
  descriptorSocket: string;
  vhostSocket: string;
  dnsSocket: string;
  leases: string;
}

export function instancePaths(home: string, name: string): InstancePaths {
  const dir = `${home}/${name}`;
  return {
    dir,
    config: `${dir}/lima.yaml`,
    limaVersion: `${dir}/lima-version`,
    adopted: `${dir}/limanet-version`,
    cidata: `${dir}/cidata.iso`,
    disk: `${dir}/disk`,
    limaDisk: `${dir}/diffdisk`,
    hostAgentPid: `${dir}/ha.pid`,
    hostAgentSocket: `${dir}/ha.sock`,
    hostAgentOut: `${dir}/ha.stdout.log`,
    hostAgentErr: `${dir}/ha.stderr.log`,
    sshConfig: `${dir}/ssh.config`,
    sshControl: `${dir}/ssh.sock`,
    qemuPid: `${dir}/qemu.pid`,
    vzPid: `${dir}/vz.pid`,
    vzEfi: `${dir}/vz-efi`,
    vzIdentifier: `${dir}/vz-identifier`,
    machineLock: `${dir}/machine.lock`,
    qmp: `${dir}/qmp.sock`,
    serialLog: `${dir}/serial.log`,
    endpoint: `${dir}/default_ep.sock`,
    guestSocket: `${dir}/default_qemu.sock`,
    descriptorSocket: `${dir}/default_fd.sock`,
    vhostSocket: `${dir}/default_vu.sock`,
    dnsSocket: `${dir}/default_dns.sock`,
    leases: `${dir}/leases-limanet.json`,
  };
}

/** The longest path of an instance's sockets; ssh makes its own under a name with 17 more octets first. */
export function longestSocket(paths: InstancePaths): string {
  const { guestSocket, descriptorSocket, dnsSocket, endpoint, sshControl } = paths;
  return [
    guestSocket,
    descriptorSocket,
    dnsSocket,
    endpoint,
    `${sshControl}.0123456789abcdef`,
  ].toSorted((a, b) => b.length - a.length)[0]!;
}

export interface NetworkPaths {
  dir: string;
  pid: string;
  endpoint: string;
  qemu: string;
  vhostUser: string;
  descriptor: string;
  leases: string;
  ownLeases: string;
  stdout: string;
  stderr: string;
}

export function networkPaths(home: string, network: string): NetworkPaths {
  const dir = `${home}/_networks/${network}`;
  return {
    dir,
    pid: `${dir}/usernet_${network}.pid`,
    endpoint: `${dir}/${network}_ep.sock`,
    qemu: `${dir}/${network}_qemu.sock`,
    vhostUser: `${dir}/${network}_vu.sock`,
    descriptor: `${dir}/${network}_fd.sock`,
    leases: `${dir}/leases.json`,
    ownLeases: `${dir}/leases-limanet.json`,
    stdout: `${dir}/usernet.${network}.stdout.log`,
    stderr: `${dir}/usernet.${network}.stderr.log`,
  };
}

/** what a home folder keeps of a network that a daemon of root's serves */
export interface ManagedPaths {
  folder: string;
  stdout: string;
  stderr: string;
  /** notes the pid of a daemon that limanet has started */
  started: string;
}

export function managedPaths(home: string, network: string): ManagedPaths {
  const folder = `${home}/_networks`;
  return {
    folder,
    stdout: `${folder}/${network}_socket_vmnet.stdout.log`,
    stderr: `${folder}/${network}_socket_vmnet.stderr.log`,
    started: `${folder}/${network}_socket_vmnet.started`,
  };
}
