/** What `limanet doctor` says: each finding has a cause and what to do about it. */

/** "fault": something does not work; "limit": it works, with less speed or fewer abilities */
export type Severity = "fault" | "limit";

/** What a check says when it finds something. */
export interface Diagnosis {
  /** one sentence: what does not work, and why */
  problem: string;
  /** commands, or sentences, by which it is put right; the first that suits is enough unless they say otherwise */
  fix: readonly string[];
  /** the named network that it is about, and no other */
  network?: string;
}

/** One rule: the facts of its area in, what is wrong out. */
export interface Check<Facts> {
  /** for programs and for docs/doctor.md; never changes its meaning */
  id: string;
  severity: Severity;
  find: (facts: Facts) => Diagnosis | readonly Diagnosis[] | undefined;
}

export interface Finding extends Diagnosis {
  id: string;
  severity: Severity;
}

/** Goes through a table of checks; the findings in the table's order. */
export function examine<Facts>(checks: readonly Check<Facts>[], facts: Facts): Finding[] {
  return checks.flatMap(({ id, severity, find }) =>
    [find(facts) ?? []].flat().map((diagnosis) => ({ id, severity, ...diagnosis })),
  );
}
