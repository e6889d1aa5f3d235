/**
 * `scripts/check-sdk`, with which a Mac compares native/sdk with Apple's headers. Here a copy of native/sdk is in their
 * place: it passes as it is, and each change of it is found.
 */
import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;
const folder = mkdtempSync("/tmp/limanet-sdk-");
afterAll(() => rmSync(folder, { recursive: true }));

cpSync(join(ROOT, "native/sdk"), folder, { recursive: true });
const HEADERS = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".h"),
);
// Apple's headers are read although ours of the same name are read, too
for (const name of HEADERS) {
  const path = join(folder, name);
  const text = readFileSync(path, "utf8").replaceAll(
    /^#(ifndef|define) (\w+_H)$/gm,
    "#$1 APPLE_$2",
  );
  writeFileSync(path, text);
}
// Apple's vmnet.h has the networks, too
const VMNET = join(folder, "frameworks/vmnet/vmnet.h");
const withNetworks = `${readFileSync(VMNET, "utf8")}\n#include <vmnet/network.h>\n`;
writeFileSync(VMNET, withNetworks);

function check(): string {
  const { stderr, exitCode } = Bun.spawnSync([
    join(ROOT, "scripts/check-sdk"),
    "-nostdlibinc",
    "-D__MAC_OS_X_VERSION_MAX_ALLOWED=260000",
    ...["-isystem", join(folder, "darwin"), "-isystem", join(folder, "frameworks")],
  ]);
  return exitCode === 0 ? "same" : stderr.toString();
}

test("check-sdk: headers that say the same pass", () => expect(check()).toBe("same"));

test.each([
  ["darwin/errno.h", "EAGAIN 35", "EAGAIN 11", "EAGAIN"],
  ["darwin/arpa/inet.h", "AF_INET6 30", "AF_INET6 10", "AF_INET6"],
  ["darwin/dlfcn.h", "-2", "0", "rtld_default_is_minus_2"],
  ["darwin/pthread.h", "opaque[56]", "opaque[32]", "sizeof(pthread_mutex_t)"],
  ["darwin/fcntl.h", "int command, ...", "long command, ...", "'fcntl'"],
  ["darwin/string.h", "int strcmp(", "long strcmp(", "'strcmp'"],
  ["frameworks/dispatch/dispatch.h", "intptr_t value", "int value", "'dispatch_semaphore_create'"],
  ["frameworks/dispatch/dispatch.h", "1000000ull", "1000ull", "NSEC_PER_MSEC"],
  ["frameworks/xpc/xpc.h", "bool value", "int value", "'xpc_dictionary_set_bool'"],
  ["frameworks/vmnet/vmnet.h", "int *count", "uint32_t *count", "'vmnet_read'"],
  ["frameworks/vmnet/vmnet.h", "VMNET_SUCCESS = 1000", "VMNET_SUCCESS = 1", "VMNET_SUCCESS"],
  ["frameworks/vmnet/vmnet.h", "size_t vm_pkt_size", "uint32_t vm_pkt_size", "vm_pkt_size"],
  [
    "frameworks/vmnet/vmnet.h",
    "uint32_t vm_flags",
    "uint64_t vm_flags",
    "sizeof(struct vmpktdesc)",
  ],
  ["frameworks/vmnet/vmnet.h", "*const vmnet_mtu_key", "*vmnet_mtu_key", "'vmnet_mtu_key'"],
  [
    "frameworks/vmnet/network.h",
    "uint32_t mtu",
    "uint64_t mtu",
    "'vmnet_network_configuration_set_mtu'",
  ],
])("check-sdk: in %s %s, and %s there, is found", (name, ours, theirs, told) => {
  const path = join(folder, name);
  const before = readFileSync(path, "utf8");
  expect(before).toContain(ours);
  writeFileSync(path, before.replace(ours, theirs));
  const found = check();
  writeFileSync(path, before);
  expect(found).toContain(told);
});
