/** `images` of lima.yaml: the disks, kernels and initrds that an instance may boot from, one for each architecture. */
import type { Node } from "yaml";
import type { YamlReader } from "./document.ts";

/** those that Lima's templates have images for */
export const ARCHITECTURES = [
  "x86_64",
  "aarch64",
  "armv7l",
  "ppc64le",
  "riscv64",
  "s390x",
] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

export interface ImageFile {
  /** path or URL */
  location: string;
  /** "sha256:…" or "sha512:…" */
  digest?: string;
}

export interface Image {
  arch: Architecture;
  /** undefined: a guest without a disk, which boots from kernel and initrd alone (our extension) */
  disk?: ImageFile;
  kernel?: ImageFile & { cmdline?: string };
  initrd?: ImageFile;
}

/** Reads one entry; `arch` is what it is for when it does not say. */
export function readImage(reader: YamlReader, node: Node, path: string, arch: Architecture): Image {
  const image: Image = { arch };
  const digestOf = (value: Node, at: string): string | undefined => {
    const digest = reader.string(value, at);
    if (digest !== undefined && !/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(digest)) {
      reader.error(value, at, "sha256: with 64 or sha512: with 128 hexadecimal digits is needed");
    }
    return digest;
  };
  const readFile = (
    value: Node,
    at: string,
    more: Record<string, (node: Node, path: string) => void> = {},
  ) => {
    const file: { location?: string; digest?: string } = {};
    reader.map(value, at, {
      location: (item, where) => {
        const location = reader.string(item, where);
        if (location !== undefined) file.location = location;
      },
      digest: (item, where) => {
        const digest = digestOf(item, where);
        if (digest !== undefined) file.digest = digest;
      },
      ...more,
    });
    if (file.location === undefined)
      reader.error(value, `${at}.location`, "a path or URL is needed");
    return { ...file, location: file.location ?? "" };
  };
  let location: string | undefined;
  let digest: string | undefined;
  reader.map(node, path, {
    location: (value, at) => {
      location = reader.string(value, at);
    },
    arch: (value, at) => {
      image.arch = reader.oneOf(value, at, ARCHITECTURES) ?? arch;
    },
    digest: (value, at) => {
      digest = digestOf(value, at);
    },
    kernel: (value, at) => {
      let cmdline: string | undefined;
      const kernel = readFile(value, at, {
        cmdline: (item, where) => {
          cmdline = reader.string(item, where);
        },
      });
      image.kernel = { ...kernel, ...(cmdline === undefined ? {} : { cmdline }) };
    },
    initrd: (value, at) => {
      image.initrd = readFile(value, at);
    },
  });
  if (location !== undefined)
    image.disk = { location, ...(digest === undefined ? {} : { digest }) };
  else if (image.kernel === undefined || image.initrd === undefined) {
    reader.error(
      node,
      `${path}.location`,
      "a path or URL is needed (only a guest with kernel and initrd may do without)",
    );
  }
  return image;
}
