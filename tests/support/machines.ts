/**
 * A home folder of an ordinary user who has nothing but the executable and guest images, for tests with real virtual
 * machines. Where the tests run as root, the user is "nobody".
 */
import {
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Outcome } from "./lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
/** becomes the ordinary user */
const AS_USER = isRoot
  ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]
  : [];

export interface ListedInstance {
  name: string;
  status: string;
  dir: string;
  sshLocalPort: number;
  hostAgentPID: number;
}

export class Home {
  /** everything the user has */
  readonly folder = mkdtempSync(join(tmpdir(), "lima-"));
  readonly limanetHome = join(this.folder, "home");

  readonly #enter: readonly string[];
  readonly #asUser: readonly string[];

  /**
   * images: folder with the guest's files, which are copied to where the user can read them. `enter`: command that runs
   * others elsewhere, such as in a private mount namespace; `capabilities`: what the user may do, as setpriv(1) names it
   */
  constructor(
    images: string,
    names: readonly string[],
    enter: readonly string[] = [],
    capabilities: readonly string[] = [],
  ) {
    this.#enter = enter;
    const all = capabilities.map((name) => `+${name}`).join(",");
    this.#asUser =
      all === "" ? AS_USER : [...AS_USER, `--inh-caps=${all}`, `--ambient-caps=${all}`];
    for (const name of names) this.add(name, join(ROOT, images, name));
    this.add("limanet", join(ROOT, "dist/limanet"));
    if (isRoot) chownSync(this.folder, NOBODY, NOBODY);
  }

  add(name: string, source: string): void {
    copyFileSync(source, join(this.folder, name));
    if (isRoot) chownSync(join(this.folder, name), NOBODY, NOBODY);
  }

  /** Writes a lima.yaml and gives its path. */
  template(name: string, text: string): string {
    const path = join(this.folder, `${name}.yaml`);
    writeFileSync(path, text);
    return path;
  }

  /** Writes networks.yaml. */
  networks(text: string): void {
    const folder = join(this.limanetHome, "_config");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "networks.yaml"), text);
    if (isRoot) for (const path of [this.limanetHome, folder]) chownSync(path, NOBODY, NOBODY);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  spawn(command: readonly string[], environment: Record<string, string> = {}) {
    return Bun.spawn([...this.#enter, ...this.#asUser, ...command], {
      cwd: this.folder,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        HOME: this.folder,
        LIMANET_HOME: this.limanetHome,
        XDG_CACHE_HOME: join(this.folder, "cache"),
        ...environment,
      },
    });
  }

  /** Runs a command as the user, to its end. */
  async run(command: readonly string[], environment?: Record<string, string>): Promise<Outcome> {
    const child = this.spawn(command, environment);
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  limanet(...words: string[]): Promise<Outcome> {
    return this.run([join(this.folder, "limanet"), ...words]);
  }

  /** Runs limanet and throws what it says when that fails. */
  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.limanet(...words);
    if (code !== 0) {
      const console = words[0] === "start" ? `\n${this.consoles()}` : "";
      throw new Error(
        `limanet ${words.join(" ")} ended with ${code}:\n${stdout}${stderr}${console}`,
      );
    }
    return stdout;
  }

  async list(): Promise<ListedInstance[]> {
    const text = await this.must("list", "--json");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as ListedInstance);
  }

  /** what the machines' consoles showed last */
  consoles(): string {
    const glob = new Bun.Glob("*/serial.log");
    if (!existsSync(this.limanetHome)) return "";
    return [...glob.scanSync(this.limanetHome)]
      .map((name) => readFileSync(join(this.limanetHome, name), "utf8").slice(-3000))
      .join("\n");
  }

  /** command lines of the processes that have to do with this home */
  async processes(): Promise<string[]> {
    const { stdout } = await this.run(["pgrep", "-af", this.folder]);
    return stdout.split("\n").filter((line) => line !== "" && !line.includes("pgrep"));
  }

  /** processes that have to do with this home, by their ids */
  pids(): Map<number, string> {
    const found = new Map<number, string>();
    for (const entry of readdirSync("/proc")) {
      if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
      try {
        const command = readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        if (command.includes(this.folder)) found.set(Number(entry), command);
      } catch {
        // it has ended meanwhile
      }
    }
    return found;
  }

  /** Ends and removes everything. */
  async close(): Promise<void> {
    if (existsSync(this.limanetHome)) {
      const names = (await this.list()).map(({ name }) => name);
      if (names.length > 0) await this.limanet("delete", "--force", ...names);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** lima.yaml of the small guest, whose files the home has. */
export const guestYaml = (home: Home, more = ""): string => `
images:
  - arch: x86_64
    kernel: { location: ${home.path("vmlinuz")}, cmdline: console=ttyS0 quiet }
    initrd: { location: ${home.path("initrd")} }
cpus: 1
memory: 256MiB
${more}`;
