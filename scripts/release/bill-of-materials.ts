/**
 * What is inside of the executable besides our own code: the packages of package-lock.json that are no development tools,
 * and Bun with what it links. As SPDX 2.3 (JSON) or as a text with everybody's licence.
 *
 *   bun scripts/release/bill-of-materials.ts spdx|licences
 *
 * SOURCE_DATE_EPOCH is the time that SPDX wants; it is that of the commit in scripts/release/make.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

interface Component {
  name: string;
  version: string;
  /** SPDX expression */
  license: string;
  integrity: string | undefined;
}

interface LockedPackage {
  version: string;
  license?: string;
  integrity?: string;
  dev?: boolean;
  optional?: boolean;
}

const lock = JSON.parse(read("package-lock.json")) as {
  version: string;
  packages: Record<string, LockedPackage>;
};

function components(): Component[] {
  const bun = lock.packages["node_modules/bun"]!;
  const packages = Object.entries(lock.packages)
    .filter(([path, { dev, optional }]) => path !== "" && dev !== true && optional !== true)
    .map(([path, { version, license, integrity }]) => ({
      name: path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length),
      version,
      license: license ?? "NOASSERTION",
      integrity,
    }));
  // the runtime around our code; the libraries in it have their own licences, see the text
  return [
    ...packages,
    {
      name: "bun",
      version: bun.version,
      license: "MIT AND LGPL-2.1-or-later",
      integrity: bun.integrity,
    },
  ];
}

function licences(): string {
  const texts = components().map(({ name, version, license }) => {
    const head = `${name} ${version} (${license})`;
    const text =
      name === "bun" ? read("node_modules/bun-types/docs/project/license.mdx") : licenceOf(name);
    return `${head}\n${"-".repeat(head.length)}\n\n${text.trim()}\n`;
  });
  return `limanet ${lock.version} is under the Apache License 2.0. It contains:\n\n${texts.join("\n\n")}`;
}

/** Throws when a package brings no licence: then the executable must not be given to others. */
function licenceOf(name: string): string {
  const folder = `node_modules/${name}`;
  const file = readdirSync(join(ROOT, folder)).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`Cannot list ${name}: it brings no licence file`);
  return read(`${folder}/${file}`);
}

function spdx(): object {
  const seconds = Number(process.env["SOURCE_DATE_EPOCH"] ?? 0);
  const id = (name: string) => `SPDXRef-${name.replaceAll(/[^\w.-]/g, "-").replaceAll("_", "-")}`;
  const parts = components();
  const packages = parts.map(({ name, version, license, integrity }) => ({
    SPDXID: id(name),
    name,
    versionInfo: version,
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: license,
    licenseDeclared: license,
    copyrightText: "NOASSERTION",
    externalRefs: [
      {
        referenceCategory: "PACKAGE-MANAGER",
        referenceType: "purl",
        referenceLocator: `pkg:npm/${name.replace("@", "%40")}@${version}`,
      },
    ],
    ...(integrity === undefined ? {} : { checksums: [checksum(integrity)] }),
  }));
  const own = {
    SPDXID: id("limanet"),
    name: "limanet",
    versionInfo: lock.version,
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "Apache-2.0",
    licenseDeclared: "Apache-2.0",
    copyrightText: "NOASSERTION",
  };
  const digest = createHash("sha256").update(JSON.stringify(packages)).digest("hex").slice(0, 32);
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `limanet-${lock.version}`,
    documentNamespace: `urn:limanet:spdx:${lock.version}:${digest}`,
    creationInfo: {
      created: new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, "Z"),
      creators: ["Tool: limanet-bill-of-materials"],
    },
    packages: [own, ...packages],
    relationships: [
      {
        spdxElementId: "SPDXRef-DOCUMENT",
        relationshipType: "DESCRIBES",
        relatedSpdxElement: own.SPDXID,
      },
      ...packages.map(({ SPDXID }) => ({
        spdxElementId: own.SPDXID,
        relationshipType: "CONTAINS",
        relatedSpdxElement: SPDXID,
      })),
    ],
  };
}

/** npm's "sha512-BASE64" */
function checksum(integrity: string): { algorithm: string; checksumValue: string } {
  const [algorithm = "", base64 = ""] = integrity.split("-", 2);
  return {
    algorithm: algorithm.toUpperCase(),
    checksumValue: Buffer.from(base64, "base64").toString("hex"),
  };
}

const what = process.argv[2];
if (what === "spdx") process.stdout.write(`${JSON.stringify(spdx(), undefined, 2)}\n`);
else if (what === "licences") process.stdout.write(licences());
else {
  process.stderr.write("bill-of-materials: Cannot list that: spdx or licences is needed\n");
  process.exit(2);
}
