/** Counts by word: drops by their reason, episodes by their name. Words come from closed unions in the code, never from a guest. */
export class Counters {
  readonly values: Record<string, number> = {};

  count(word: string, by = 1): void {
    this.values[word] = (this.values[word] ?? 0) + by;
  }
}
