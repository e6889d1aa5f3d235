/** Is the home folder usable: paths of sockets that the system takes, files that are this user's, YAML that can be read. */
import { SOCKET_PATH_LIMIT } from "../config/paths.ts";
import type { Check } from "./finding.ts";

export interface HomeFacts {
  system: "darwin" | "linux";
  home: string;
  user: string;
  /** the longest socket of an instance with the shortest name, of each instance that is there, and of each network */
  sockets: readonly { of: string; path: string; kind: "any" | "instance" | "network" }[];
  /** the folder in which the home folder would have to be made, and cannot */
  unmakeableIn?: { path: string; owner: string };
  /** files and folders that this user cannot write, and who owns them */
  foreign: readonly { path: string; owner: string }[];
  /** what is wrong with networks.yaml and with each instance's lima.yaml, sentences */
  unreadable: readonly { file: string; why: string }[];
}

const octets = (text: string): number => new TextEncoder().encode(text).length;
const isTooLong = (path: string, system: HomeFacts["system"]): boolean =>
  octets(path) >= SOCKET_PATH_LIMIT[system];

export const homeChecks: readonly Check<HomeFacts>[] = [
  {
    id: "home-path-too-long",
    severity: "fault",
    find: ({ system, home, sockets }) => {
      const shortest = sockets.find(({ kind }) => kind === "any");
      if (shortest === undefined || !isTooLong(shortest.path, system)) return undefined;
      return {
        problem: `No instance can start: the home folder ${home} is so long that even the sockets of an instance with a name of one letter have ${octets(shortest.path)} octets, and the system takes ${SOCKET_PATH_LIMIT[system] - 1}`,
        fix: ["export LIMANET_HOME=$HOME/.l (or another short path; move the folder there)"],
      };
    },
  },
  {
    id: "socket-path-too-long",
    severity: "fault",
    find: ({ system, sockets }) =>
      sockets
        .filter(({ kind, path }) => kind !== "any" && isTooLong(path, system))
        .map(({ kind, of, path }) => ({
          problem: `The ${kind} ${of} cannot start: its socket ${path} has ${octets(path)} octets, and the system takes ${SOCKET_PATH_LIMIT[system] - 1}`,
          fix: [`give the ${kind} a shorter name, or LIMANET_HOME a shorter path`],
        })),
  },
  {
    id: "home-not-makeable",
    severity: "fault",
    find: ({ home, user, unmakeableIn }) =>
      unmakeableIn === undefined
        ? undefined
        : {
            problem: `The home folder ${home} is not there, and ${user} cannot make it: ${unmakeableIn.path} belongs to ${unmakeableIn.owner}`,
            fix: ["export LIMANET_HOME=$HOME/.lima (or another folder of yours)"],
          },
  },
  {
    id: "home-not-writable",
    severity: "fault",
    find: ({ user, foreign }) =>
      foreign.map(({ path, owner }) => ({
        problem: `${user} cannot write ${path}, which belongs to ${owner} (was limanet run with sudo once?)`,
        fix: [`sudo chown -R ${user} ${path}`],
      })),
  },
  {
    id: "file-unreadable",
    severity: "fault",
    find: ({ unreadable }) =>
      unreadable.map(({ file, why }) => ({
        problem: `${file} cannot be used: ${why}`,
        fix: [`correct ${file}`],
      })),
  },
];
