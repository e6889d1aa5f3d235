/**
 * Folders that root owns and the tests may change: /etc/sudoers.d, /run and /opt in a mount namespace of its own, so
 * that real sudo reads what the tests install and the machine's own files stay as they are.
 */
import type { Outcome } from "./lab.ts";

/** Mount namespaces need root, and the checks need sudo; without them these tests do not run, and that is said. */
export const canUseSudo = process.getuid?.() === 0 && Bun.which("sudo") !== null;
if (!canUseSudo)
  process.stderr.write("skipped: tests of what sudo lets run (they need root and sudo)\n");

const SET_UP = `
mount --make-rprivate / &&
for folder in /etc/sudoers.d /run /opt; do mount -t tmpfs -o mode=755 tmpfs $folder || exit 1; done
`;
const HOLD = `
echo ready
exec sleep infinity`;

export class PrivateEtc {
  readonly #holder;
  readonly #kinds: readonly string[];

  /** `hasNetwork`: a network namespace of its own, too; `more`: shell commands that make further changes */
  constructor({ hasNetwork = false, more = "" } = {}) {
    this.#kinds = ["--mount", ...(hasNetwork ? ["--net"] : [])];
    this.#holder = Bun.spawn(["unshare", ...this.#kinds, "sh", "-ec", SET_UP + more + HOLD], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
  }

  async open(): Promise<void> {
    const reader = this.#holder.stdout.getReader();
    const { value } = await reader.read();
    if (value === undefined || !new TextDecoder().decode(value).includes("ready"))
      throw new Error("there is no private mount namespace");
    reader.releaseLock();
  }

  /** runs a command in the namespace */
  get enter(): string[] {
    return ["nsenter", ...this.#kinds, `--target=${this.#holder.pid}`];
  }

  /** makes pgrep look at the processes of the namespace only */
  get here(): string[] {
    return ["--nslist=mnt", `--ns=${this.#holder.pid}`];
  }

  /** Runs a command as root; its standard input is `input`. */
  async root(command: readonly string[], input = ""): Promise<Outcome> {
    const child = Bun.spawn([...this.enter, ...command], {
      stdin: new Blob([input]),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  /** Runs a command as root that must not fail; what it printed. */
  async must(command: readonly string[], input = ""): Promise<string> {
    const { code, stdout, stderr } = await this.root(command, input);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  /** Makes a file that belongs to root, with its folders. */
  async write(path: string, text: string, mode = "644"): Promise<void> {
    await this.must(["install", "-D", "-o", "root", "-m", mode, "/dev/stdin", path], text);
  }

  async close(): Promise<void> {
    this.#holder.kill("SIGKILL");
    await this.#holder.exited;
  }
}
