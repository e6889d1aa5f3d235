/** A home folder as a user of Lima has one, and limanet run on it. */
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** A networks.yaml that an older Lima has written and its user has changed. */
export const NETWORKS = `# Path to socket_vmnet executable. Because socket_vmnet is invoked via sudo it should be
# installed where only root can modify/replace it.
paths:
  socketVMNet: "/opt/socket_vmnet/bin/socket_vmnet"
  vdeSwitch: /opt/vde/bin/vde_switch # before 0.22
  varRun: /private/var/run/lima
  sudoers: /private/etc/sudoers.d/lima

group: everyone

networks:
  user-v2:
    mode: user-v2
    gateway: 192.168.104.1
    netmask: 255.255.255.0
    # user-v2 network is experimental
  shared:
    mode: shared
    gateway: 192.168.105.1
    dhcpEnd: 192.168.105.254
    netmask: 255.255.255.0
  bridged:
    mode: bridged
    interface: en0
  lab: # mine
    mode: host
    gateway: 10.77.0.1
`;

/** as Lima's templates list them: an image for each architecture, and much that is not about networks */
const IMAGES = `images:
- location: "https://images.example.test/amd64.img"
  arch: "x86_64"
  digest: "sha256:${"0".repeat(64)}"
- location: "https://images.example.test/arm64.img"
  arch: "aarch64"
- location: "https://images.example.test/riscv64.img"
  arch: "riscv64"
mounts:
- location: "~"
- location: "/tmp/lima"
  writable: true
containerd:
  system: false
  user: false
provision:
- mode: dependency
  script: |
    #!/bin/sh
    true
- mode: system
  script: |
    #!/bin/sh
    true
`;

/** path below the home folder → content */
const FILES: Record<string, string> = {
  "_config/networks.yaml": NETWORKS,
  "_config/default.yaml":
    "# for all\ncpus: 3\ndns: []\nnetworks:\n- interface: lab0\n  lima: lab\n  metric: 300\n",
  "_config/override.yaml":
    "env:\n  COMPANY: example\nnetworks:\n- interface: lab0\n  macAddress: 52:55:55:00:00:07\n",
  "default/lima.yaml": `# written by limactl create\n${IMAGES}networks:\n- lima: user-v2\n- lima: shared\n  interface: vmnet0\n`,
  "default/lima-version": "1.0.4",
  "default/ssh.config": "Host lima-default\n  Port 60022\n",
  "docker/lima.yaml": `vmType: qemu\n${IMAGES}portForwards:\n- guestSocket: /run/docker.sock\n  hostSocket: "{{.Dir}}/sock/docker.sock"\nnetworks:\n- socket: /run/nobody.sock\n- interface: lab0\n  lima: user-v2\n`,
  "docker/lima-version": "2.0.1",
};

export interface Said {
  code: number;
  out: string;
  error: string;
}

export class LimaHome {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), "limanet-home-")));

  constructor(files: Record<string, string> = FILES) {
    for (const [name, text] of Object.entries(files)) this.write(name, text);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): string {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  /** Runs limanet in this folder's place; its own path is written as HOME in what it says. */
  run(
    words: readonly string[],
    environment: Record<string, string> = {},
    runtime: readonly string[] = [process.execPath],
  ): Said {
    const child = Bun.spawnSync([...runtime, MAIN, ...words], {
      env: { ...process.env, LIMANET_HOME: this.folder, HOME: this.folder, ...environment },
      cwd: this.folder,
      stdin: "ignore",
    });
    const told = (octets: Uint8Array) =>
      new TextDecoder().decode(octets).replaceAll(this.folder, "HOME");
    return { code: child.exitCode, out: told(child.stdout), error: told(child.stderr) };
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
