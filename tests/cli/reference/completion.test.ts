/** What may stand where on a command line: the rules on the real definitions, and real shells that use them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { describeCommands } from "../../../lib/cli/program.ts";
import { complete } from "../../../lib/cli/reference/completion.ts";
import { LimaHome } from "../../support/lima-home.ts";

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;
const TYPE = new URL("../../support/type-in-shell.py", import.meta.url).pathname;
const root = describeCommands();
const VALUES: Record<string, string[]> = {
  instance: ["alpha", "beta"],
  network: ["user-v2", "shared"],
  "lima:network": ["lima:user-v2", "vzNAT"],
  template: ["template:demo"],
  mode: ["shared", "host"],
};

/** the line up to the cursor, without "limanet "; what is offered, with :files or :folders where names of files are, too */
const ROWS: readonly [string, string[]][] = [
  ["sh", ["shell", "show-ssh"]],
  ["network ", ["list", "create", "delete", "show", "choose"]],
  ["network ls ", ["user-v2", "shared"]],
  ["network show s", ["shared"]],
  ["network create ", []],
  ["network create x --mode ", ["shared", "host"]],
  ["network create x --mode=h", ["--mode=host"]],
  ["network delete user-v2 ", ["user-v2", "shared"]],
  ["show-ssh al", ["alpha"]],
  ["show-ssh alpha ", []],
  ["show-ssh --format ", ["cmd", "args", "options", "config"]],
  ["show-ssh -f c", ["cmd", "config"]],
  ["stop alpha ", ["alpha", "beta"]],
  ["stop --", ["--force", "--help"]],
  ["stop -- ", ["alpha", "beta"]],
  ["start ", ["alpha", "beta", "template:demo", ":files"]],
  ["start --slirp ", ["own", "qemu"]],
  ["start --network ", ["lima:user-v2", "vzNAT"]],
  ["start --network lima:user-v2 --name x a", ["alpha", ":files"]],
  ["start --cpus ", []],
  ["create template:", ["template:demo", ":files"]],
  ["validate ", [":files"]],
  ["shell ", ["alpha", "beta"]],
  ["shell alpha ", [":files"]],
  ["shell alpha ls --", [":files"]],
  ["--log-level ", ["error", "warn", "info", "debug"]],
  ["--log-level warn sud", ["sudoers"]],
  ["dns query --instance ", ["alpha", "beta"]],
  ["dns query --network ", ["user-v2", "shared"]],
  ["doctor d", ["dns"]],
  ["doctor dns home fire", ["firewall"]],
  ["completion ", ["bash", "zsh", "fish"]],
  ["usernet --pidfile ", [":files"]],
  ["nonsense ", []],
];

test.each(ROWS)("limanet %s<Tab>", (line, expected) => {
  const words = line.split(" ");
  const { candidates, files } = complete(root, words.slice(0, -1), words.at(-1)!, (kind) =>
    (VALUES[kind] ?? []).map((word) => ({ word, description: kind })),
  );
  const offered = candidates.map(({ word }) => word);
  expect([...offered, ...(files === "none" ? [] : [`:${files}`])]).toEqual(expected);
});

/** whole lines: what is typed, and what stands there after Tab; one place each where : and = end a word of bash */
const TYPED: readonly [string, string][] = [
  ["limanet sudo", "limanet sudoers"],
  ["limanet network sh", "limanet network show"],
  ["limanet network show us", "limanet network show user-v2"],
  ["limanet shell dock", "limanet shell docker"],
  ["limanet stop --fo", "limanet stop --force"],
  ["limanet start --network lima:us", "limanet start --network lima:user-v2"],
  ["limanet create template:dem", "limanet create template:demo"],
  ["limanet start --slirp=q", "limanet start --slirp=qemu"],
  ["limanet validate only-fi", "limanet validate only-file.yaml"],
  ["limanet network show onl", "limanet network show onl"],
];

describe.each(["bash", "zsh", "fish"] as const)("%s", (shell) => {
  const isThere = Bun.which(shell) !== null && Bun.which("python3") !== null;
  if (!isThere) process.stderr.write(`skipped: completion in ${shell}, which is not installed\n`);
  let home: LimaHome;
  let path: string;
  beforeAll(() => {
    home = new LimaHome();
    home.write("only-file.yaml", "");
    chmodSync(
      home.write("bin/limanet", `#!/bin/sh\nexec ${process.execPath} ${MAIN} "$@"\n`),
      0o755,
    );
    path = `${home.path("bin")}:${process.env["PATH"]}`;
  });
  afterAll(() => home.close());

  const run = (command: string[]): string => {
    const env = { PATH: path, LIMANET_HOME: home.folder, HOME: home.folder, LC_ALL: "C" };
    const child = Bun.spawnSync(command, { cwd: home.folder, env, stdin: "ignore" });
    if (!child.success) throw new Error(child.stderr.toString());
    return child.stdout.toString().trimEnd();
  };
  const SET_UP = {
    bash: 'eval "$(limanet completion bash)"',
    zsh: 'autoload -U compinit; compinit -u -D; eval "$(limanet completion zsh)"',
  };
  const typed = {
    bash: (text: string) =>
      run(["python3", TYPE, "bash", "--norc", "--noprofile", "-i", "--", SET_UP.bash, `${text}\t`]),
    zsh: (text: string) =>
      run(["python3", TYPE, "zsh", "-f", "-i", "-o", "noautomenu", "--", SET_UP.zsh, `${text}\t`]),
    // fish tells what it would offer for the last word
    fish: (text: string) => {
      const offered = run([
        "fish",
        "--no-config",
        "-c",
        `limanet completion fish | source; complete -C '${text}'`,
      ]);
      const [word] = offered.split("\t");
      return word === "" ? text : text.replace(/\S+$/, word!);
    },
  };

  test.skipIf(!isThere).each(TYPED)(
    "%s<Tab>",
    (text, expected) => {
      expect(typed[shell](text)).toBe(expected);
    },
    30_000,
  );

  if (shell !== "zsh") return;
  test.skipIf(!isThere)(
    "a file of $fpath completes from the first time on",
    () => {
      home.write("functions/_limanet", run(["limanet", "completion", "zsh"]));
      const setUp = `fpath=(${home.path("functions")} $fpath); autoload -U compinit; compinit -u -D`;
      const words = ["python3", TYPE, "zsh", "-f", "-i", "--", setUp, "limanet network show us\t"];
      expect(run(words)).toBe("limanet network show user-v2");
    },
    30_000,
  );
});
