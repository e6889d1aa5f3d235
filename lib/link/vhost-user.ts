/**
 * The messages by which a virtual machine (the front-end) gives us its memory and its queues (the vhost-user protocol of
 * QEMU's documentation, docs/interop/vhost-user): a head of three little-endian words, request, flags and length, and a body.
 */
export const VHOST_HEAD_LENGTH = 12;
/** of the longest body we take, a memory table of MAX_REGIONS */
export const VHOST_MAX_BODY = 8 + 8 * 32;
/** each comes with a descriptor, and no other message has as many */
export const MAX_REGIONS = 8;

export const GET_FEATURES = 1;
export const SET_FEATURES = 2;
export const SET_OWNER = 3;
export const RESET_OWNER = 4;
export const SET_MEM_TABLE = 5;
export const SET_VRING_NUM = 8;
export const SET_VRING_ADDR = 9;
export const SET_VRING_BASE = 10;
export const GET_VRING_BASE = 11;
export const SET_VRING_KICK = 12;
export const SET_VRING_CALL = 13;
export const SET_VRING_ERR = 14;
export const GET_PROTOCOL_FEATURES = 15;
export const SET_PROTOCOL_FEATURES = 16;
export const SET_VRING_ENABLE = 18;

const VERSION = 1;
const VERSION_MASK = 3;
const REPLY = 4;
const NEEDS_REPLY = 8;

/** bits of SET_VRING_KICK and its like: the queue, and that no descriptor comes */
const QUEUE_MASK = 0xff;
const NO_DESCRIPTOR = 0x100;

// features (OASIS virtio 1.2, sections 5.1.3 and 6): the low word and the high one of 64 bits
const CHECKSUM_LOW = 1 << 0;
const GUEST_CHECKSUM_LOW = 1 << 1;
const GUEST_LARGE_TCP4_LOW = 1 << 7;
const LARGE_TCP4_LOW = 1 << 11;
const LARGE_TCP6_LOW = 1 << 12;
const MERGED_BUFFERS_LOW = 1 << 15;
const EVENT_INDEX_LOW = 1 << 29;
const PROTOCOL_FEATURES_LOW = 1 << 30;
const VERSION_1_HIGH = 1 << 0;
/** VHOST_USER_PROTOCOL_F_REPLY_ACK */
const REPLY_ACK_LOW = 1 << 3;

/** what a front-end has chosen of what we offer */
export interface Features {
  /** frames for the guest may fill several chains */
  mergesBuffers: boolean;
  /** the guest may be told that a frame's checksum has been looked at */
  believesChecksums: boolean;
  /** the guest takes TCP segments over IPv4 that are larger than the link's MTU */
  takesLarge: boolean;
  /** octets of the virtio header in front of a frame */
  headerLength: number;
  /** both sides are woken at an index that they name */
  wakesByIndex: boolean;
  /** queues wait for SET_VRING_ENABLE */
  enablesQueues: boolean;
}

export const NO_FEATURES: Features = {
  mergesBuffers: false,
  believesChecksums: false,
  takesLarge: false,
  headerLength: 10,
  wakesByIndex: false,
  enablesQueues: false,
};

export interface Region {
  /** the guest's address, and the front-end's own */
  guest: number;
  user: number;
  size: number;
  /** where in the descriptor's file it begins */
  offset: number;
}

export type VhostMessage =
  | { type: "get-features" }
  | { type: "set-features"; features: Features }
  | { type: "get-protocol-features" }
  | { type: "memory"; regions: Region[] }
  | { type: "queue-size"; queue: number; size: number }
  | { type: "queue-areas"; queue: number; descriptors: number; used: number; available: number }
  | { type: "queue-start"; queue: number; next: number }
  | { type: "queue-stop"; queue: number }
  | { type: "kick" | "call"; queue: number; withDescriptor: boolean }
  | { type: "queue-enable"; queue: number; isEnabled: boolean }
  /** nothing follows from it */
  | { type: "noted" };

/** The length of the body that follows a head; undefined: it is no message of this protocol, or one that is too long. */
export function bodyLength(view: DataView): number | undefined {
  const length = view.getUint32(8, true);
  const isOfVersion = (view.getUint32(4, true) & VERSION_MASK) === VERSION;
  return isOfVersion && length <= VHOST_MAX_BODY ? length : undefined;
}

/** The front-end waits for a word after this message, whatever it is about. */
export const needsReply = (view: DataView): boolean =>
  (view.getUint32(4, true) & NEEDS_REPLY) !== 0;

/** 64 bits; more than 2^53 is no address of anything. */
const number64 = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;

/** A whole message; undefined: its body is too short, or it is not known. */
export function parseVhostMessage(view: DataView, length: number): VhostMessage | undefined {
  const request = view.getUint32(0, true);
  const body = VHOST_HEAD_LENGTH;
  switch (request) {
    case GET_FEATURES:
      return { type: "get-features" };
    case GET_PROTOCOL_FEATURES:
      return { type: "get-protocol-features" };
    case SET_OWNER:
    case RESET_OWNER:
    case SET_VRING_ERR:
    case SET_PROTOCOL_FEATURES:
      return { type: "noted" };
    default:
  }
  if (length < 8) return undefined;
  const low = view.getUint32(body, true);
  const high = view.getUint32(body + 4, true);
  switch (request) {
    case SET_FEATURES: {
      const has = (bit: number): boolean => (low & bit) !== 0;
      const mergesBuffers = has(MERGED_BUFFERS_LOW);
      const features = {
        mergesBuffers,
        believesChecksums: has(GUEST_CHECKSUM_LOW),
        takesLarge: has(GUEST_CHECKSUM_LOW) && has(GUEST_LARGE_TCP4_LOW),
        headerLength: mergesBuffers || (high & VERSION_1_HIGH) !== 0 ? 12 : 10,
        wakesByIndex: has(EVENT_INDEX_LOW),
        enablesQueues: has(PROTOCOL_FEATURES_LOW),
      };
      return { type: "set-features", features };
    }
    case SET_MEM_TABLE:
      return parseMemory(view, length, low);
    case SET_VRING_NUM:
      return { type: "queue-size", queue: low, size: high };
    case SET_VRING_BASE:
      return { type: "queue-start", queue: low, next: high };
    case GET_VRING_BASE:
      return { type: "queue-stop", queue: low };
    case SET_VRING_ENABLE:
      return { type: "queue-enable", queue: low, isEnabled: high !== 0 };
    case SET_VRING_KICK:
    case SET_VRING_CALL:
      return {
        type: request === SET_VRING_KICK ? "kick" : "call",
        queue: low & QUEUE_MASK,
        withDescriptor: (low & NO_DESCRIPTOR) === 0,
      };
    case SET_VRING_ADDR:
      if (length < 40) return undefined;
      return {
        type: "queue-areas",
        queue: low,
        descriptors: number64(view, body + 8),
        used: number64(view, body + 16),
        available: number64(view, body + 24),
      };
    default:
      return undefined;
  }
}

function parseMemory(view: DataView, length: number, count: number): VhostMessage | undefined {
  if (count > MAX_REGIONS || length < 8 + count * 32) return undefined;
  const regions = Array.from({ length: count }, (_, i) => {
    const at = VHOST_HEAD_LENGTH + 8 + i * 32;
    return {
      guest: number64(view, at),
      size: number64(view, at + 8),
      user: number64(view, at + 16),
      offset: number64(view, at + 24),
    };
  });
  return { type: "memory", regions };
}

/** The answer to the request in `view`, of 64 bits as two words. */
export function vhostReply(view: DataView, low: number, high: number): Uint8Array {
  const reply = new DataView(new ArrayBuffer(VHOST_HEAD_LENGTH + 8));
  reply.setUint32(0, view.getUint32(0, true), true);
  reply.setUint32(4, VERSION | REPLY, true);
  reply.setUint32(8, 8, true);
  reply.setUint32(12, low, true);
  reply.setUint32(16, high, true);
  return new Uint8Array(reply.buffer);
}

export const featuresReply = (view: DataView): Uint8Array =>
  vhostReply(
    view,
    CHECKSUM_LOW |
      GUEST_CHECKSUM_LOW |
      GUEST_LARGE_TCP4_LOW |
      LARGE_TCP4_LOW |
      LARGE_TCP6_LOW |
      MERGED_BUFFERS_LOW |
      EVENT_INDEX_LOW |
      PROTOCOL_FEATURES_LOW,
    VERSION_1_HIGH,
  );

export const protocolFeaturesReply = (view: DataView): Uint8Array =>
  vhostReply(view, REPLY_ACK_LOW, 0);
