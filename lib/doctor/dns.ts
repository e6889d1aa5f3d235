/** Does this host resolve names: guests get its answers. */
import type { Check } from "./finding.ts";

export interface DnsFacts {
  system: "darwin" | "linux";
  /** undefined: it is there; "absent"; or where its symbolic link leads in vain */
  resolvConf?: "absent" | { leadsTo: string };
  /** the host's general name servers, none of ours: whether each answered at all within the time given */
  servers: readonly { address: string; port: number; answers: boolean }[];
  /** for the sentences */
  waitedMs: number;
}

/** systemd-resolved's two stubs on the loopback (its manual page) */
const STUBS = new Set(["127.0.0.53", "127.0.0.54"]);

const serverText = ({ address, port }: { address: string; port: number }): string =>
  port === 53 ? address : `${address} port ${port}`;

export const dnsChecks: readonly Check<DnsFacts>[] = [
  {
    id: "resolv-conf-broken",
    severity: "fault",
    find: ({ resolvConf }) => {
      if (resolvConf === undefined) return undefined;
      return resolvConf === "absent"
        ? {
            problem:
              "Names are asked of 8.8.8.8 and 1.1.1.1, not of this host's name servers: there is no /etc/resolv.conf",
            fix: ["write /etc/resolv.conf, or let NetworkManager or systemd-resolved do it"],
          }
        : {
            problem: `Names are asked of 8.8.8.8 and 1.1.1.1, not of this host's name servers: /etc/resolv.conf is a link to ${resolvConf.leadsTo}, which is not there`,
            fix: /\/systemd\/resolve\//.test(resolvConf.leadsTo)
              ? ["sudo systemctl enable --now systemd-resolved"]
              : ["make /etc/resolv.conf anew, or start what writes the file it leads to"],
          };
    },
  },
  {
    id: "no-name-server",
    severity: "limit",
    find: ({ resolvConf, servers, system }) =>
      resolvConf === undefined && servers.length === 0
        ? {
            problem: `Names are asked of 8.8.8.8 and 1.1.1.1: ${system === "darwin" ? "macOS (scutil --dns)" : "/etc/resolv.conf"} names no name server`,
            fix: [
              "connect to a network",
              "hostResolver.publicFallback: false in lima.yaml keeps those two from being asked",
            ],
          }
        : undefined,
  },
  {
    id: "resolved-silent",
    severity: "fault",
    find: ({ servers }) =>
      servers
        .filter(({ address, answers }) => STUBS.has(address) && !answers)
        .map(({ address }) => ({
          problem: `Names are not resolved: /etc/resolv.conf names systemd-resolved (${address}), and nothing answers there`,
          fix: ["sudo systemctl restart systemd-resolved"],
        })),
  },
  {
    id: "name-servers-silent",
    severity: "fault",
    find: ({ servers, waitedMs }) => {
      const asked = servers.filter(({ address }) => !STUBS.has(address));
      if (asked.length === 0 || servers.some(({ answers }) => answers)) return undefined;
      return {
        problem: `Names are not resolved: ${asked.map(serverText).join(", ")} ${asked.length === 1 ? "has" : "have"} not answered within ${waitedMs / 1000} s`,
        fix: [
          "connect to the network, or the VPN, that the name servers belong to",
          "correct the name servers (/etc/resolv.conf, resolvectl status, macOS' network settings)",
        ],
      };
    },
  },
  {
    id: "name-server-silent",
    severity: "limit",
    find: ({ servers, waitedMs }) => {
      const silent = servers.filter(({ answers }) => !answers);
      if (silent.length === 0 || silent.length === servers.length) return undefined;
      return {
        problem: `First answers may be late: of the name servers, ${silent.map(serverText).join(", ")} ${silent.length === 1 ? "has" : "have"} not answered within ${waitedMs / 1000} s`,
        fix: ["take it out of the name servers when it is gone for good"],
      };
    },
  },
];
