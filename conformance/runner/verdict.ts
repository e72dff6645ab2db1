/**
 * The verdicts of the kit. A skipped check says why, and a requirement that was not observed never
 * counts as passed.
 */

/** The role under test. */
export type Role = 'server' | 'client' | 'receiver';

export type Verdict =
  /** The requirement was observed to hold. */
  | 'passed'
  /** The requirement was observed not to hold, or an earlier failure prevented the observation. */
  | 'violated'
  /** The same for a recommendation. */
  | 'warned'
  /** The implementation offers no way to observe it, such as a control verb. */
  | 'not shown'
  /** The requirement is about a feature that the implementation does not claim. */
  | 'not applicable';

/** The verdict on one requirement over all its observations. */
export interface CheckResult {
  /** As in the requirements file, for example `sep-0000-log-contiguous`. */
  readonly id: string;
  readonly text: string;
  /** Address of the requirement. */
  readonly url: string;
  /** The level that the requirement belongs to; undefined for SEP-3415. */
  readonly level?: string | undefined;
  readonly verdict: Verdict;
  /** The observations and their deviations, one line each. */
  readonly reasons: readonly string[];
  /** The observations that did not hold, with the expected and the seen value where there are. */
  readonly findings: readonly Observation[];
  /** The scenarios that observed it. */
  readonly scenarios: readonly string[];
}

/** The result of a run. */
export interface Outcome {
  readonly role: Role;
  /** The name of the peer: a URL without its query, or a command. */
  readonly subject: string;
  /** The levels of the run; absent = all. */
  readonly levels?: readonly string[];
  readonly results: readonly CheckResult[];
  readonly durationMs: number;
}

/** One observation of a requirement. */
export interface Observation {
  readonly check: string;
  readonly scenario: string;
  readonly what: string;
  readonly outcome: 'held' | 'broken' | 'not shown' | 'not applicable';
  /** Why it does not hold, or was not observed. */
  readonly reason?: string;
  /** The expected and the seen value, as text. */
  readonly expected?: string;
  readonly seen?: string;
}

/** The first of these outcomes that any observation has decides the verdict. */
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
