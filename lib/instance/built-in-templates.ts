/**
 * The templates that limanet brings along. Locations are the distributions' own; those that are always the newest image have
 * no digest, since it changes with the image. Digests are those that Lima's templates publish for the same files.
 */
import { guestFolder } from "../host/machine.ts";

const DEBIAN = `# Debian 13, with cloud-init
images:
- location: https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-amd64.qcow2
  arch: x86_64
- location: https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-arm64.qcow2
  arch: aarch64
cpus: 2
memory: 2GiB
disk: 20GiB
`;

const UBUNTU = `# Ubuntu 24.04 LTS, with cloud-init
images:
- location: https://cloud-images.ubuntu.com/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img
  arch: x86_64
- location: https://cloud-images.ubuntu.com/releases/noble/release/ubuntu-24.04-server-cloudimg-arm64.img
  arch: aarch64
cpus: 2
memory: 2GiB
disk: 20GiB
`;

const FEDORA = `# Fedora 43, with cloud-init
images:
- location: https://download.fedoraproject.org/pub/fedora/linux/releases/43/Cloud/x86_64/images/Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2
  arch: x86_64
  digest: sha256:846574c8a97cd2d8dc1f231062d73107cc85cbbbda56335e264a46e3a6c8ab2f
- location: https://download.fedoraproject.org/pub/fedora/linux/releases/43/Cloud/aarch64/images/Fedora-Cloud-Base-Generic-43-1.6.aarch64.qcow2
  arch: aarch64
  digest: sha256:66031aea9ec61e6d0d5bba12b9454e80ca94e8a79c913d37ded4c60311705b8b
cpus: 2
memory: 2GiB
disk: 20GiB
`;

const ALPINE = `# Alpine 3.23, with cloud-init
images:
- location: https://dl-cdn.alpinelinux.org/alpine/v3.23/releases/cloud/nocloud_alpine-3.23.4-x86_64-bios-cloudinit-r0.qcow2
  arch: x86_64
- location: https://dl-cdn.alpinelinux.org/alpine/v3.23/releases/cloud/nocloud_alpine-3.23.4-aarch64-uefi-cloudinit-r0.qcow2
  arch: aarch64
  digest: sha512:737b0eb365944ffcf6da477c059c105bbde222942fd5a8380c07db088365b18dbc60a0f2824ea9a3904d57e194e0d05a7074302c3ebc104d0aecb6ddc6ffd91c
cpus: 1
memory: 512MiB
disk: 4GiB
`;

/** the small guest that scripts/guest-image builds: a kernel and an initramfs, nothing to fetch */
function demo(): string {
  const folder = guestFolder();
  if (folder === undefined)
    throw new Error(
      "Cannot use template:demo: its guest is not on this machine (scripts/guest-image builds it; its vmlinuz and initrd belong into ../share/limanet/guest beside this executable, or into the folder that LIMANET_GUEST names)",
    );
  return `# limanet's own small guest, which needs no download
images:
- arch: x86_64
  kernel:
    location: ${JSON.stringify(`${folder}/vmlinuz`)}
    cmdline: console=ttyS0 quiet
  initrd:
    location: ${JSON.stringify(`${folder}/initrd`)}
cpus: 1
memory: 256MiB
`;
}

/** name → text */
export const BUILT_IN_TEMPLATES: ReadonlyMap<string, () => string> = new Map([
  ["default", () => DEBIAN],
  ["debian", () => DEBIAN],
  ["ubuntu", () => UBUNTU],
  ["fedora", () => FEDORA],
  ["alpine", () => ALPINE],
  ["demo", demo],
]);
