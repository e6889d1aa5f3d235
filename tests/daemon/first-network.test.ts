import { expect, test } from "bun:test";
import { addressLimitMs } from "../../lib/daemon/first-network.ts";

test.each([
  [undefined, 2],
  ["", 2],
  ["1", 1],
  ["10", 10],
  ["0", 2],
  ["-1", 2],
  ["1.5", 2],
  ["soon", 2],
])(
  "LIMA_USERNET_RESOLVE_IP_ADDRESS_TIMEOUT=%p makes a guest's address wait %d min",
  (text, minutes) => {
    const name = "LIMA_USERNET_RESOLVE_IP_ADDRESS_TIMEOUT";
    expect(addressLimitMs({ [name]: text })).toBe(minutes * 60_000);
  },
);
