/** A wire between two sockets on which frames get lost, come twice, overtake each other, or arrive with a bit that is wrong. */
import { mulberry } from "./mulberry.ts";
import { RawGuest } from "./raw-guest.ts";

/** of frames, 0 to 1 each */
export interface Impairment {
  loss: number;
  duplicate: number;
  reorder: number;
  corrupt: number;
}

/** until when a frame that is overtaken is held back */
const HELD_MS = 3;

/** of both ways */
export interface ImpairedFrames {
  all: number;
  lost: number;
  duplicated: number;
  overtaken: number;
  corrupted: number;
}

/** Joins two ends; what is done to the frames is counted. */
export function impair(
  one: RawGuest,
  other: RawGuest,
  impairment: Impairment,
  seed: number,
): ImpairedFrames {
  const random = mulberry(seed);
  const counts = { all: 0, lost: 0, duplicated: 0, overtaken: 0, corrupted: 0 };
  const carry = (frame: Uint8Array, to: RawGuest): void => {
    counts.all++;
    if (random() < impairment.loss) {
      counts.lost++;
      return;
    }
    if (random() < impairment.corrupt) {
      counts.corrupted++;
      // addresses of cards have no checksum
      const at = 14 + Math.floor(random() * (frame.length - 14));
      frame[at]! ^= 1 << Math.floor(random() * 8);
    }
    if (random() < impairment.duplicate) {
      counts.duplicated++;
      void to.send(frame);
    }
    if (random() < impairment.reorder) {
      counts.overtaken++;
      setTimeout(() => void to.send(frame), HELD_MS);
    } else void to.send(frame);
  };
  one.listeners.push((frame) => carry(frame, other));
  other.listeners.push((frame) => carry(frame, one));
  return counts;
}
