export const VERSION = "0.1.0";
/** for manual pages, which must come out the same wherever they are made */
export const RELEASE_DATE = "2026-11-25";
