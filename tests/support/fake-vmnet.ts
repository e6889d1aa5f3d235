/** limanet on the fake of Apple's frameworks (native/fake): a copy of the project whose native library that is. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;

/** Runs a command in the project's folder. */
export async function run(...words: string[]) {
  const child = Bun.spawn(words, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { stdout, stderr, code: await child.exited };
}

export class ProjectOnFake {
  readonly folder = mkdtempSync("/tmp/limanet-fake-");

  async make(): Promise<void> {
    const { stderr, code } = await run("scripts/build-native", "fake");
    if (code !== 0) throw new Error(stderr);
    // for a program that becomes an ordinary user
    chmodSync(this.folder, 0o755);
    for (const part of ["lib", "tests/native/vmnet"])
      cpSync(join(ROOT, part), join(this.folder, part), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(this.folder, "node_modules"));
    mkdirSync(join(this.folder, "dist/native"), { recursive: true });
    cpSync(
      join(ROOT, "dist/native/limanet-fake.so"),
      join(this.folder, `dist/native/limanet-linux-${process.arch}.so`),
    );
  }

  /** Runs a program of the project in the copy. */
  run(program: string, ...words: string[]) {
    return run(process.execPath, join(this.folder, relative(ROOT, program)), ...words);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
