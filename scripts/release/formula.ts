/**
 * The Homebrew formula of a release: one executable for each platform, from a base address and the sums of SHA256SUMS.
 *
 *   bun scripts/release/formula.ts VERSION BASE-URL <SHA256SUMS
 */
import { readFileSync } from "node:fs";

const [version = "", base = ""] = process.argv.slice(2);
if (version === "" || !/^(https|file):\/\//.test(base)) {
  process.stderr.write(
    "formula: Cannot write a formula: a version and an https address are needed\n",
  );
  process.exit(2);
}
const sums = new Map(
  readFileSync(0, "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, sum, name] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, sum!] as const];
    }),
);

function source(name: string, indent: string): string {
  const sum = sums.get(name);
  if (sum === undefined) throw new Error(`Cannot write a formula: SHA256SUMS has no ${name}`);
  return `${indent}url "${base.replace(/\/$/, "")}/${name}"\n${indent}sha256 "${sum}"`;
}
const platforms = (system: string) =>
  [
    ["arm", "arm64"],
    ["intel", "x64"],
  ]
    .map(
      ([on, name]) => `    on_${on} do\n${source(`limanet-${system}-${name}`, "      ")}\n    end`,
    )
    .join("\n");

process.stdout.write(`class Limanet < Formula
  desc "Networks for Linux virtual machines: one executable, compatible with Lima"
  homepage "${base.replace(/\/$/, "")}"
  version "${version}"
  license "Apache-2.0"

  on_macos do
${platforms("darwin")}
  end
  on_linux do
${platforms("linux")}
  end

  depends_on "qemu" => :recommended

  resource "share" do
${source("limanet-share.tar", "    ")}
  end

  def install
    bin.install Dir["limanet-*"].first => "limanet"
    resource("share").stage do
      bash_completion.install "bash-completion/completions/limanet"
      zsh_completion.install "zsh/site-functions/_limanet"
      fish_completion.install "fish/vendor_completions.d/limanet.fish"
      man1.install Dir["man/man1/*.1"]
      doc.install Dir["doc/limanet/*"]
    end
  end

  def caveats
    <<~EOS
      The default network and user-v2 need no root. For networks of mode shared, host and
      bridged root runs a copy of limanet. Homebrew's folders belong to a user, so it must be
      one that only root can replace:
        sudo mkdir -p /opt/limanet/bin
        sudo install -o root -m 755 #{opt_bin}/limanet /opt/limanet/bin/socket_vmnet
        limanet sudoers >etc_sudoers.d_limanet
        sudo install -o root etc_sudoers.d_limanet /etc/sudoers.d/limanet
      After an upgrade, copy it again.
    EOS
  end

  # a network that no instance starts or stops, for \`socket:\` in lima.yaml
  service do
    run [opt_bin/"limanet", "vmnet", "--vmnet-mode=shared", "--vmnet-gateway=192.168.105.1", var/"run/limanet-vmnet.shared"]
    run_type :immediate
    keep_alive true
    require_root true
    log_path var/"log/limanet-vmnet.log"
    error_log_path var/"log/limanet-vmnet.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/limanet --version")
  end
end
`);
