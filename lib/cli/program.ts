/**
 * Every command of limanet in one place: names, arguments, options, help. What a command does is in the module its
 * action imports, which is loaded only when the command runs, so that daemons start quickly.
 */
import {
  Argument,
  Command,
  CommanderError,
  InvalidArgumentError,
  Option,
  type OptionValues,
} from "@commander-js/extra-typings";
import { AREA_NAMES, type Area } from "../doctor/area.ts";
import { isSetIdentity } from "../host/machine.ts";
import { terminationSignal } from "../host/signals.ts";
import { NOT_PERMITTED } from "../privilege/commands.ts";
import { writeError, writeOut } from "../host/terminal.ts";
import { unixMs } from "../host/clock.ts";
import { lineLog, type Level } from "../trace/log.ts";
import type { Generated } from "./reference.ts";
import { commandInfo, type CommandInfo } from "./reference/command-info.ts";
import { SHELLS, type Shell } from "./reference/shell-scripts.ts";
import { VERSION } from "./version.ts";

const WRONG_USAGE = 2;
const FAILED = 1;

/** exit codes of errors that are told apart */
const CODES: Readonly<Record<string, number>> = {
  UsageError: WRONG_USAGE,
  NotPermittedError: NOT_PERMITTED,
};

/** Under the name of the program for which it stands in, the executable has that one's command line and exit codes. */
export async function runAs(name: string, args: string[]): Promise<number> {
  if (isSetIdentity()) {
    writeError(
      "limanet: Cannot run: the executable is setuid or setgid, by which everybody could use its owner's rights (sudo chmod ug-s on it; what needs root is run by sudo)\n",
    );
    return FAILED;
  }
  return name === "socket_vmnet" ? Math.min(await run(["vmnet", ...args]), FAILED) : run(args);
}

/** Runs a command line; the exit code: 0 done, 1 failed, 2 wrong usage. */
async function run(args: string[]): Promise<number> {
  let code = 0;
  const program = commands((result) => {
    code = result;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
    const { name, message } = error as Error;
    writeError(`limanet: ${message}\n`);
    return CODES[name] ?? FAILED;
  }
}

const count = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("a number is needed");
  return Number(text);
};
const list = (text: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  ...text.split(","),
];
const each = (text: string, before: string[] | undefined): string[] => [...(before ?? []), text];

const DNS_IPV6 = ["--dns-ipv6", "answer AAAA queries"] as const;
const NO_PUBLIC_DNS = [
  "--no-public-dns",
  "never ask 8.8.8.8 and 1.1.1.1 where the host names no name server",
] as const;
const DNS_EMPTY_ON_OUTAGE = [
  "--dns-empty-on-outage",
  "when no name server answers say so by an empty answer, as Lima does, not by SERVFAIL",
] as const;

interface DnsFlags {
  dnsIpv6?: true | undefined;
  publicDns: boolean;
  dnsEmptyOnOutage?: true | undefined;
}
const dnsPolicy = (flags: DnsFlags) => ({
  ipv6: flags.dnsIpv6 === true,
  publicFallback: flags.publicDns,
  emptyOnOutage: flags.dnsEmptyOnOutage === true,
});

/** the definitions as data */
export const describeCommands = (): CommandInfo => commandInfo(commands(() => {}));

function commands(done: (code: number) => void): Command {
  const program = new Command("limanet")
    .description("Networks for Linux virtual machines, and the machines that use them")
    .version(VERSION)
    .addOption(
      new Option("--log-level <level>", "how much the daemons log")
        .choices(["error", "warn", "info", "debug"])
        .default("info"),
    )
    .addOption(
      new Option("--log-format <format>", "form of log lines")
        .choices(["text", "json"])
        .default("text"),
    )
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut, writeErr: writeError })
    .configureHelp({ showGlobalOptions: true });
  const log = () => {
    const { logLevel, logFormat } = program.opts() as {
      logLevel: Level;
      logFormat: "text" | "json";
    };
    return lineLog(logLevel, logFormat, unixMs, writeError);
  };

  /** for a command whose own words tell what it does */
  const warnings = () => lineLog("warn", "text", unixMs, writeError);

  const settings = <Args extends unknown[], Global extends OptionValues>(
    command: Command<Args, Record<never, never>, Global>,
  ) =>
    command
      .option("--network <lima:network>", "attach to lima:NAME or vzNAT; may be repeated", list)
      .option("--dns <address>", "DNS server for the guest; may be repeated", list)
      .option("--vm-type <type>", "virtual machine driver: qemu")
      .option("--cpus <n>", "processors", count)
      .option("--memory <size>", "memory: GiB, or a size such as 512MiB")
      .option("--disk <size>", "disk: GiB, or a size such as 20GiB")
      .option("--ssh-port <port>", "host port for ssh (0: any)", count)
      .option(
        "--set <expression>",
        "change lima.yaml as yq would: .cpus = 4; may be repeated",
        each,
      )
      .option("--param <key=value>", "set a parameter of the template; may be repeated", each)
      .option("--plain", "nothing but network and ssh inside the guest");
  const newSettings = <Args extends unknown[], Global extends OptionValues>(
    command: Command<Args, Record<never, never>, Global>,
  ) =>
    settings(command)
      .option("--name <name>", "name of the instance")
      .option(
        "--port-forward <host:guest>",
        "forward a host port to a guest port; may be repeated",
        each,
      );

  program
    .command("version")
    .description("print the version, and which native library this is and what it can do here")
    .option("--json", "as one JSON object")
    .option("--licences", "print the licences of all that is in the executable instead")
    .action(async ({ json, licences }) => {
      const { printLicences, printVersion } = await import("./version-facts.ts");
      done(licences === true ? printLicences() : printVersion(json === true));
    });
  newSettings(
    program
      .command("create")
      .argument("<template>", "lima.yaml file, URL, or template:NAME")
      .description("make an instance without starting it"),
  ).action(async (template, options) =>
    done(await (await import("./instance-settings.ts")).create(template, options)),
  );
  newSettings(
    program
      .command("start")
      .argument("[instance|template]", "name of an instance, or what create takes")
      .description("start an instance, making it first if need be"),
  )
    .addOption(
      new Option("--slirp <stack>", "who carries the default network")
        .choices(["own", "qemu"])
        .default("own"),
    )
    .option("--adopt", "take over an instance that Lima has made")
    .option("--timeout <seconds>", "how long to wait until the instance is usable", count, 600)
    .option("--json", "stages as JSON lines on standard output")
    .action(async (instance, options) => {
      // heard from the first moment on, before the rest is loaded
      const ended = terminationSignal();
      const { start } = await import("./instances.ts");
      done(await start(instance, options, ended, log()));
    });
  program
    .command("stop")
    .argument("[instance...]")
    .description("shut instances down")
    .option("-f, --force", "end them at once")
    .action(async (instances, { force }) =>
      done(await (await import("./instances.ts")).stop(instances, force === true, log())),
    );
  program
    .command("delete")
    .alias("rm")
    .argument("<instance...>")
    .description("delete instances with their disks")
    .option("-f, --force", "stop them first")
    .action(async (instances, { force }) =>
      done(
        await (await import("./instances.ts")).deleteInstances(instances, force === true, log()),
      ),
    );
  program
    .command("list")
    .alias("ls")
    .argument("[instance...]")
    .description("list instances")
    .option("--json", "one JSON object a line")
    .option("-q, --quiet", "names only")
    .action(async (instances, options) =>
      done(await (await import("./instances.ts")).list(instances, options)),
    );
  program
    .command("shell")
    .argument("<instance>")
    .argument("[command...]")
    .description("run a shell or a command in an instance")
    .option("--workdir <folder>", "folder of the guest to start in")
    .passThroughOptions()
    .action(async (instance, command, options) =>
      done(await (await import("./instances.ts")).shell(instance, command, options)),
    );
  program
    .command("show-ssh")
    .argument("<instance>")
    .description("print how to reach an instance by ssh")
    .addOption(
      new Option("-f, --format <format>", "what to print")
        .choices(["cmd", "args", "options", "config"])
        .default("cmd"),
    )
    .action(async (instance, { format }) =>
      done(await (await import("./instances.ts")).showSsh(instance, format)),
    );
  program
    .command("tunnel")
    .argument("<instance>")
    .description("serve a SOCKS proxy by which this host reaches the instance's network by name")
    .addOption(
      new Option("--type <type>", "what kind of tunnel").choices(["socks"]).default("socks"),
    )
    .option("--socks-port <port>", "port of 127.0.0.1 (0: always the same one)", count, 0)
    .option("--json", "as one JSON object")
    .action(async (instance, options) =>
      done(await (await import("./tunnel.ts")).tunnel(instance, options)),
    );
  settings(
    program
      .command("edit")
      .argument("<instance>")
      .description(
        "change an instance's lima.yaml by options, or with $EDITOR; kept only when right",
      ),
  )
    .option("--adopt", "take over an instance that Lima has made")
    .action(async (instance, options) =>
      done(await (await import("./instance-settings.ts")).edit(instance, options)),
    );
  program
    .command("validate")
    .argument("<file...>", "lima.yaml files")
    .description("check lima.yaml files")
    .option("--json", "what is wrong as JSON lines on standard output")
    .action(async (files, { json }) =>
      done(await (await import("./validate.ts")).validate(files, json === true)),
    );

  const network = program.command("network").description("list, make and delete named networks");
  network
    .command("list")
    .alias("ls")
    .argument("[network...]")
    .description("list networks")
    .option("--json", "one JSON object a line")
    .action(async (names, options) =>
      done(await (await import("./networks.ts")).listNetworks(names, options)),
    );
  network
    .command("create")
    .argument("<name>")
    .description("add a network to networks.yaml, whose comments stay")
    .option("--mode <mode>", "user-v2, shared, host or bridged", "user-v2")
    .option("--gateway <address>", "ADDRESS, ADDRESS/PREFIX, or auto for a free subnet")
    .option("--interface <name>", "host interface of a bridged network")
    .action(async (name, options) =>
      done(await (await import("./networks.ts")).createNetwork(name, options)),
    );
  network
    .command("delete")
    .alias("remove")
    .alias("rm")
    .argument("<network...>")
    .description("remove networks from networks.yaml and end their daemons")
    .option("-f, --force", "also when instances use them")
    .action(async (names, options) =>
      done(await (await import("./network-daemons.ts")).deleteNetworks(names, options, log())),
    );
  network
    .command("show")
    .argument("<network>")
    .description("addresses, members, leases, forwards and daemon of a network")
    .option("--json", "as one JSON object")
    .action(async (name, options) =>
      done(await (await import("./network-daemons.ts")).showNetwork(name, options)),
    );
  network
    .command("choose")
    .description("which network serves whom: asks on a terminal, or answers for the options")
    .addOption(
      new Option("--from <who>", "who must reach the machine").choices([
        "localhost",
        "host",
        "vms",
        "lan",
      ]),
    )
    .addOption(new Option("--vm-type <type>", "what runs the machine").choices(["vz", "qemu"]))
    .option("--json", "as one JSON object")
    .action(async (options) => done(await (await import("./networks.ts")).chooseForMe(options)));
  program
    .command("sudoers")
    .argument("[file]", "with --check: the file to compare (default: paths.sudoers)")
    .description(
      "print what lets a group start shared, host and bridged networks without a password",
    )
    .option("--check", "compare with the file that is installed, and ask sudo")
    .action(async (file, { check }) =>
      done(await (await import("./sudoers.ts")).sudoers(file, check === true, log())),
    );
  program
    .command("doctor")
    .addArgument(new Argument("[area...]", "what to look at (default: all)").choices(AREA_NAMES))
    .description("look for what is wrong with this machine, and say what to do")
    .option("--json", "as one JSON object")
    .action(async (areas, options) =>
      done(await (await import("./doctor.ts")).doctor(areas as Area[], options, warnings())),
    );
  program
    .command("completion")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .description("print a script by which a shell completes commands, instances and networks")
    .action(async (shell) =>
      done((await import("./reference.ts")).completionScript(shell as Shell)),
    );
  program
    .command("complete", { hidden: true })
    .argument("[words...]")
    .description("what may stand at the end of a command line, for the scripts of completion")
    .action(async (words) =>
      done(await (await import("./reference.ts")).completeWords(describeCommands(), words)),
    );
  program
    .command("generate", { hidden: true })
    .addArgument(new Argument("<what>").choices(["man", "commands"]))
    .argument("<folder>")
    .description("write the manual pages, or docs/commands.md")
    .action(async (what, folder) =>
      done(
        (await import("./reference.ts")).generate(describeCommands(), what as Generated, folder),
      ),
    );
  const dns = program.command("dns").description("the host's DNS as guests get it");
  dns
    .command("serve")
    .description("answer DNS on a loopback address, by itself")
    .option("--listen <address:port>", "where; port 0 takes a free one", "127.0.0.1:5300")
    .option("--host <name=target>", "a static host: address or other name (repeatable)", each)
    .option(...DNS_IPV6)
    .option(...NO_PUBLIC_DNS)
    .option(...DNS_EMPTY_ON_OUTAGE)
    .action(async ({ listen, host, ...options }) =>
      done(await (await import("./dns.ts")).serve({ listen, host, policy: dnsPolicy(options) })),
    );
  dns
    .command("query")
    .argument("<name>")
    .argument("[type]", "A, AAAA, MX, TYPE65 and so on", "A")
    .description("ask for a name as a guest would")
    .addOption(
      new Option("--server <address>", "ask this name server").conflicts(["instance", "network"]),
    )
    .addOption(
      new Option("--instance <instance>", "ask what this instance is told").conflicts("network"),
    )
    .addOption(new Option("--network <network>", "ask what this network's guests are told"))
    .option("--tcp", "as over TCP: nothing is cut")
    .option("--json", "as one JSON object")
    .action(async (name, type, options) =>
      done(await (await import("./dns.ts")).query(name, type, options)),
    );
  dns
    .command("explain")
    .argument("<name>")
    .argument("[type]", "A, AAAA, MX, TYPE65 and so on", "A")
    .description("say which source answers a name, and why")
    .addOption(new Option("--instance <instance>", "as this instance is told").conflicts("network"))
    .addOption(new Option("--network <network>", "as this network's guests are told"))
    .option("--json", "as one JSON object")
    .action(async (name, type, options) =>
      done(await (await import("./dns.ts")).explain(name, type, options)),
    );
  program
    .command("usernet")
    .description("run one user-mode network (a daemon)")
    .option("-p, --pidfile <file>", "where to write the process id")
    .option("-e, --endpoint <socket>", "unix socket of the control API")
    .option("--listen-qemu <socket>", "unix stream socket for QEMU guests")
    .option(
      "--listen-vhost-user <socket>",
      "unix socket for QEMU guests that share their memory (Linux)",
    )
    .option("--listen <socket>", "unix socket on which guests pass a datagram descriptor")
    .option("--listen-vfkit <socket>", "unix datagram socket for one vfkit guest")
    .option("--subnet <cidr>", "addresses of the network", "192.168.5.0/24")
    .option("--mtu <octets>", "largest IP packet, 576 to 65520", count, 1500)
    .option(
      "--host-access <ports>",
      "ports of this machine's loopback that guests reach at the router's address: all, none, or a list",
      "all",
    )
    .option("--link-local-access", "guests reach 169.254.0.0/16, such as metadata services")
    .option("--leases <ip=mac,ip=mac>", "addresses for known guests")
    .option("--lease-file <file>", "where leases are kept between runs")
    .option("--capture <file>", "write all frames to a pcap file")
    .option(...DNS_IPV6)
    .option(...NO_PUBLIC_DNS)
    .option(...DNS_EMPTY_ON_OUTAGE)
    .addOption(new Option("--handed-lock").hideHelp())
    .action(async (options) => {
      const { runUsernet } = await import("../daemon/usernet.ts");
      done(
        await runUsernet(
          {
            pidFile: options.pidfile,
            endpoint: options.endpoint,
            listenQemu: options.listenQemu,
            listenVhostUser: options.listenVhostUser,
            listenDescriptor: options.listen,
            listenVfkit: options.listenVfkit,
            subnet: options.subnet,
            mtu: options.mtu,
            hostAccess: options.hostAccess,
            linkLocalAccess: options.linkLocalAccess === true,
            leases: options.leases,
            leaseFile: options.leaseFile,
            capture: options.capture,
            handedLock: options.handedLock === true,
            dns: dnsPolicy(options),
          },
          log(),
        ),
      );
    });
  program
    .command("vmnet")
    .description(
      "run one shared, host or bridged network (a daemon of root's; socket_vmnet's options)",
    )
    .argument(
      "[socket]",
      "unix socket on which guests attach; SOCKET.datagram is for datagram guests",
    )
    .option("--socket-group <group>", "who may attach; empty: this user alone", "staff")
    .addOption(
      new Option("--vmnet-mode <mode>", "what the network reaches")
        .choices(["shared", "host", "bridged"])
        .default("shared"),
    )
    .option("--vmnet-interface <interface>", "bridged: the host's interface")
    .option("--vmnet-gateway <address>", "the host's address in the network")
    .option("--vmnet-dhcp-end <address>", "last address for guests")
    .option("--vmnet-mask <mask>", "netmask (default: 255.255.255.0)")
    .option("--vmnet-interface-id <uuid>", "macOS: makes the interface's hardware address")
    .option("--vmnet-network-identifier <uuid>", "host: a network without DHCP")
    .option("--vmnet-nat66-prefix <prefix>", "macOS: the shared network's IPv6 prefix")
    .option("--vmnet-disable-dhcp", "no DHCP")
    .option(
      "--mtu <octets>",
      "shared and host: largest IP packet, 576 to 65520 (default: 1500)",
      count,
    )
    .option("--isolate", "guests do not reach each other")
    .option("-p, --pidfile <file>", "written and locked when the network is up")
    .option(
      "--check",
      "only tell whether this user may make networks (exit code 77: root is needed)",
    )
    .option("--cleanup", "put back what networks have changed whose daemons were killed, and end")
    .version(VERSION, "-v, --version")
    .action(async (socket, { socketGroup, pidfile, cleanup, check, ...options }, command) => {
      const { checkVmnet, cleanUpVmnet, runVmnet } =
        await import("../daemon/vmnet/vmnet-daemon.ts");
      if (cleanup === true) done(await cleanUpVmnet(log()));
      else if (check === true) done(await checkVmnet(log()));
      else if (socket === undefined) command.error("error: missing required argument 'socket'");
      else
        done(await runVmnet({ socket, group: socketGroup, pidFile: pidfile, ...options }, log()));
    });
  program
    .command("hostagent", { hidden: true })
    .argument("<instance>")
    .description("run one instance (a daemon)")
    .requiredOption("--pidfile <file>", "where to write the process id")
    .requiredOption("--socket <socket>", "unix socket on which it tells what it does")
    .addOption(
      new Option("--slirp <stack>", "who carries the default network")
        .choices(["own", "qemu"])
        .default("own"),
    )
    .addOption(new Option("--handed-lock").hideHelp())
    .action(async (instance, { pidfile, socket, slirp, handedLock }) => {
      const { runHostAgent } = await import("../daemon/hostagent.ts");
      done(
        await runHostAgent(
          {
            name: instance,
            pidFile: pidfile,
            socket,
            slirp: slirp === "qemu" ? "qemu" : "own",
            handedLock: handedLock === true,
          },
          log(),
        ),
      );
    });
  return program as unknown as Command;
}
