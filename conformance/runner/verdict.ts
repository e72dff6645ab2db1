/**
 * The verdicts of the kit. A skipped check says why, and a requirement that was not observed never
 * counts as passed.
 */

/** The role under test. */
export type Role = 'server' | 'client' | 'receiver';

export type Verdict =
  /** Observed to hold. */
  | 'passed'
  /** Seen not to hold, or not to be decided because something before it went wrong. */
  | 'violated'
  /** A recommendation that does not hold. */
  | 'warned'
  /** It takes a control verb that the implementation does not offer. */
  | 'not shown'
  /** It is about a feature that the implementation does not claim. */
  | 'not applicable';

/** The verdict on one requirement over all its observations. */
export interface CheckResult {
  /** As in the requirements file, for example `sep-0000-log-contiguous`. */
  readonly id: string;
  readonly text: string;
  /** Address of the requirement. */
  readonly url: string;
  readonly verdict: Verdict;
  /** The observations and their deviations, one line each. */
  readonly reasons: readonly string[];
  /** The scenarios that observed it. */
  readonly scenarios: readonly string[];
}

/** The result of a run. */
export interface Outcome {
  readonly role: Role;
  /** The name of the peer: a URL without its query, or a command. */
  readonly subject: string;
  readonly results: readonly CheckResult[];
  readonly durationMs: number;
}

/** One observation of a requirement. */
export interface Observation {
  readonly check: string;
  readonly scenario: string;
  readonly what: string;
  readonly outcome: 'held' | 'broken' | 'not shown' | 'not applicable';
  /** Why it did not hold. */
  readonly reason?: string;
}

/** The first of these outcomes among all observations decides the verdict. */
const WEIGHT: readonly Observation['outcome'][] = ['broken', 'held', 'not shown', 'not applicable'];

/** The verdict over all observations; `recommended` = the requirement says SHOULD. */
export function verdictOf(observations: readonly Observation[], recommended: boolean): Verdict {
  const heaviest = WEIGHT.find((outcome) =>
    observations.some((assertion) => assertion.outcome === outcome),
  );
  switch (heaviest) {
    case 'held':
      return 'passed';
    case 'not shown':
      return 'not shown';
    case 'not applicable':
      return 'not applicable';
    default:
      return recommended ? 'warned' : 'violated';
  }
}
