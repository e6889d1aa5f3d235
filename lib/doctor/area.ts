/**
 * The areas that `limanet doctor` looks at, in order, and the exit code of each. The exit code of a run is that of the first
 * area with a fault; 0, 1 and 2 mean what they mean for every command.
 */
export const AREA_EXIT_CODES = {
  machine: 10,
  home: 11,
  network: 12,
  dns: 13,
  privilege: 14,
  firewall: 15,
  leftovers: 16,
} as const;

export type Area = keyof typeof AREA_EXIT_CODES;

export const AREA_NAMES = Object.keys(AREA_EXIT_CODES) as Area[];
