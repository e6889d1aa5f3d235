/**
 * What root does for shared, host and bridged networks is the same on both systems (specification, sections 4.5 and 6);
 * this is where they differ. On macOS everything is as Lima has it. On Linux, where Lima has no such networks:
 *
 * - root's own group is `root`; there is no `wheel` that every distribution has.
 * - `/bin/mkdir` and `/usr/bin/pkill` are the paths, as on macOS: both are there with a merged /usr and without.
 * - varRun is `/run/limanet`: `/var/run` is a symbolic link, which the checks refuse. `/run` is emptied at every boot, so
 *   the folder is made anew by the command of the sudoers file.
 * - sudoers is `/etc/sudoers.d/limanet`, which leaves alone a file that Lima's own tools might write.
 * - The group `daemon` may hold varRun where there is one (Debian has it, others may not). The daemon is root and can
 *   write there whatever the folder's mode, so that varRun need not be writable by a group.
 * - Many distributions keep ordinary users from looking into /etc/sudoers.d; sudo itself is asked then.
 */
export interface Platform {
  /** root's primary group, by which sudo is told to run */
  rootGroup: string;
  /** who may use the networks when networks.yaml does not say it (specification, section 21) */
  group: string;
  varRun: string;
  sudoers: string;
  /** where the program of the networks is expected when it is found nowhere */
  socketVMNet: string;
  bridgedInterface: string;
  /** must the group of varRun be able to write, and be `daemon`'s? */
  daemonWritesByGroup: boolean;
}

/** the user's primary group matters on Linux only, where no group stands for those who administer the machine */
export function platformFacts(system: "darwin" | "linux", userGroup: string): Platform {
  return system === "darwin"
    ? {
        rootGroup: "wheel",
        group: "admin",
        varRun: "/private/var/run/lima",
        sudoers: "/private/etc/sudoers.d/lima",
        socketVMNet: "/opt/socket_vmnet/bin/socket_vmnet",
        bridgedInterface: "en0",
        daemonWritesByGroup: true,
      }
    : {
        rootGroup: "root",
        group: userGroup,
        varRun: "/run/limanet",
        sudoers: "/etc/sudoers.d/limanet",
        socketVMNet: "/opt/limanet/bin/socket_vmnet",
        bridgedInterface: "eth0",
        daemonWritesByGroup: false,
      };
}
