/** May this user have root start shared, host and bridged networks, and is what root trusts root's alone? */
import type { Check } from "./finding.ts";

export interface PrivilegeFacts {
  /** none of the rest counts where no instance uses such a network and no program for them is there */
  isUsed: boolean;
  hasSudo: boolean;
  /** why root may not act on networks.yaml (lib/privilege/validation.ts); a program that is not installed among it */
  unsafe?: string;
  /** what `limanet sudoers --check` says when all is not well */
  sudoers?: string;
  /** sudo was asked about each command of a file that is current, and said no */
  refused?: { file: string; user: string };
  /** the group of networks.yaml when this user is not in it */
  notInGroup?: { user: string; group: string };
  /** folders of the daemons, as they are and as they should be */
  folders: readonly {
    path: string;
    owner: number;
    group: number;
    mode: number;
    /** others may not even look into it */
    isPrivate: boolean;
  }[];
}

const whenUsed =
  (find: Check<PrivilegeFacts>["find"]): Check<PrivilegeFacts>["find"] =>
  (facts) =>
    facts.isUsed ? find(facts) : undefined;

const octal = (mode: number): string => mode.toString(8).padStart(4, "0");

export const privilegeChecks: readonly Check<PrivilegeFacts>[] = [
  {
    id: "sudo-missing",
    severity: "fault",
    find: whenUsed(({ hasSudo }) =>
      hasSudo
        ? undefined
        : {
            problem: "Shared, host and bridged networks cannot start: sudo is not installed",
            fix: ["apt install sudo (as root)"],
          },
    ),
  },
  {
    id: "root-paths",
    severity: "fault",
    find: whenUsed(({ unsafe }) =>
      unsafe === undefined
        ? undefined
        : {
            problem: `Shared, host and bridged networks cannot start: ${unsafe}`,
            fix: ["docs/privileges.md tells what root trusts, and why"],
          },
    ),
  },
  {
    id: "sudoers",
    severity: "fault",
    find: whenUsed(({ sudoers, unsafe, hasSudo }) =>
      sudoers === undefined || unsafe !== undefined || !hasSudo
        ? undefined
        : {
            problem: `Shared, host and bridged networks cannot start: ${sudoers}`,
            fix: ["limanet sudoers --check says when all is well"],
          },
    ),
  },
  {
    id: "sudoers-ignored",
    severity: "fault",
    find: whenUsed(({ refused }) => {
      if (refused === undefined) return undefined;
      const { file, user } = refused;
      const name = file.slice(file.lastIndexOf("/") + 1);
      // sudoers(5): files of an included folder whose names have a dot or end with ~ are skipped
      const isSkipped = name.includes(".") || name.endsWith("~");
      return {
        problem: `Shared, host and bridged networks cannot start: ${file} is current, and sudo still does not let ${user} run its commands${isSkipped ? `: sudo skips files with a dot in their name, or ~ at its end` : ""}`,
        fix: isSkipped
          ? [
              `sudo mv ${file} ${file.slice(0, -name.length)}limanet, and paths.sudoers in networks.yaml likewise`,
            ]
          : [
              "sudo visudo -c tells whether sudo accepts the file (owner root, mode 0440 or 0644)",
              `sudo grep -n includedir /etc/sudoers must name ${file.slice(0, -name.length - 1)} (@includedir, or #includedir)`,
            ],
      };
    }),
  },
  {
    id: "not-in-group",
    severity: "fault",
    find: whenUsed(({ notInGroup }) =>
      notInGroup === undefined
        ? undefined
        : {
            problem: `Shared, host and bridged networks cannot be used by ${notInGroup.user}, who is not in the group ${notInGroup.group} of networks.yaml`,
            fix: [
              `sudo usermod -aG ${notInGroup.group} ${notInGroup.user}, then log in anew (macOS: sudo dseditgroup -o edit -a ${notInGroup.user} -t user ${notInGroup.group})`,
              "or name a group of yours in networks.yaml, and make the sudoers file anew",
            ],
          },
    ),
  },
  {
    id: "daemon-folder",
    severity: "fault",
    find: ({ folders }) =>
      folders.flatMap(({ path, owner, group, mode, isPrivate }) => {
        const allowed = isPrivate ? 0o700 : group === 0 ? 0o775 : 0o755;
        if (owner === 0 && (mode & ~allowed) === 0) return [];
        return {
          problem: `The daemon of shared, host and bridged networks refuses ${path}, to which others than root may write${isPrivate ? " or look" : ""} (owner ${owner}, group ${group}, mode ${octal(mode)})`,
          fix: [`sudo chown root:root ${path} && sudo chmod ${isPrivate ? "700" : "755"} ${path}`],
        };
      }),
  },
];
