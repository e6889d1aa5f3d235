/** A text as one word of a POSIX shell (2.2.2), whatever characters it has. */
export const shellWord = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
