/**
 * What the kit says of a requirement. Five words, and each means one thing: nothing is skipped without a word, and what could not be
 * seen is never counted as right.
 */

/** Who is under test. */
export type Role = 'server' | 'client' | 'receiver';

export type Verdict =
  /** Seen to hold. */
  | 'passed'
  /** Seen not to hold, or not to be decided because something before it went wrong. */
  | 'violated'
  /** A recommendation that does not hold. */
  | 'warned'
  /** It takes a control verb that the implementation does not offer. */
  | 'not shown'
  /** It is about a feature that the implementation does not claim. */
  | 'not applicable';

/** What one requirement came to, over everything that looked at it. */
export interface CheckResult {
  /** As in the requirements file, for example `sep-0000-log-contiguous`. */
  readonly id: string;
  readonly text: string;
  /** Where the requirement is, for a person to read on. */
  readonly url: string;
  readonly verdict: Verdict;
  /** What was looked at, and where that differed: one line each. */
  readonly reasons: readonly string[];
  /** The scenarios that looked. */
  readonly scenarios: readonly string[];
}

/** The outcome of a run. */
export interface Outcome {
  readonly role: Role;
  /** What was tested, as a person would say it: a URL without its query, a command. */
  readonly subject: string;
  readonly results: readonly CheckResult[];
  readonly durationMs: number;
}

/** One look at a requirement. Several looks make a verdict: one that failed decides. */
export interface Evidence {
  readonly check: string;
  readonly scenario: string;
  readonly what: string;
  readonly outcome: 'held' | 'broken' | 'not shown' | 'not applicable';
  /** Why, when it did not hold. */
  readonly reason?: string;
}

/** How much a look says: the first of these that anybody reports decides. */
const WEIGHT: readonly Evidence['outcome'][] = ['broken', 'held', 'not shown', 'not applicable'];

/** The verdict over all looks; `recommended` = the requirement says SHOULD. */
export function verdictOf(looks: readonly Evidence[], recommended: boolean): Verdict {
  const heaviest = WEIGHT.find((outcome) => looks.some((look) => look.outcome === outcome));
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
