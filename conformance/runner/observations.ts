/**
 * Collects the observations of a scenario, which declares the checks that it decides. A check that
 * is still undecided when the scenario ends gets an observation with the error that stopped the
 * scenario, so that no check is missing from the report.
 */
import { AssertionError } from 'node:assert';
import type { Observation } from './verdict.ts';

/** Thrown when the implementation offers no way to cause or observe the situation. */
export class NotShown extends Error {
  override readonly name = 'NotShown';
}

/** Thrown when the implementation does not claim the feature that a check is about. */
export class NotApplicable extends Error {
  override readonly name = 'NotApplicable';
}

/** Thrown when an awaited event did not occur. */
export class TimedOut extends Error {
  override readonly name = 'TimedOut';
  /** The awaited event. */
  readonly expected: string;
  /** The state at the end of the wait. */
  readonly seen: string;

  constructor(expected: string, patienceMs: number, seen: string) {
    super(`Waited ${patienceMs / 1000} s in vain`);
    this.expected = expected;
    this.seen = seen;
  }
}

/**
 * Thrown when a run cannot start, because nothing answers or because the peer has another role.
 */
export class NothingToTest extends Error {
  override readonly name: string = 'NothingToTest';
}

/** The observations of one scenario. */
export class Observations {
  readonly #scenario: string;
  readonly #declared: ReadonlySet<string>;
  readonly #list: Observation[] = [];

  constructor(scenario: string, declared: readonly string[]) {
    this.#scenario = scenario;
    this.#declared = new Set(declared);
  }

  get list(): readonly Observation[] {
    return this.#list;
  }

  /**
   * Observes one or more requirements; `what` describes the observation. `assertion` throws when
   * they do not hold, best with `node:assert/strict`. Resolves with the value of `assertion`, or
   * with undefined when it threw, so that one violation does not hide the next. Rejects only for a
   * check that the scenario does not declare.
   */
  async check<T>(
    checks: string | readonly string[],
    what: string,
    assertion: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const names = typeof checks === 'string' ? [checks] : checks;
    for (const name of names)
      if (!this.#declared.has(name))
        throw new Error(`scenario "${this.#scenario}" checks ${name}, which it does not declare`);
    try {
      const value = await assertion();
      this.#note(names, what, 'held');
      return value;
    } catch (error) {
      const outcome =
        error instanceof NotShown
          ? 'not shown'
          : error instanceof NotApplicable
            ? 'not applicable'
            : 'broken';
      this.#note(names, what, outcome, described(error));
      return undefined;
    }
  }

  /** Ends the scenario, and observes the undecided checks; `error` is what stopped it early. */
  close(error?: unknown): void {
    const decided = new Set(this.#list.map(({ check }) => check));
    const open = [...this.#declared].filter((check) => !decided.has(check));
    if (open.length === 0) return;
    const outcome =
      error instanceof NotShown
        ? 'not shown'
        : error instanceof NotApplicable
          ? 'not applicable'
          : 'broken';
    this.#note(
      open,
      'the scenario stopped before this check',
      outcome,
      error === undefined ? { reason: 'The scenario ended without an error.' } : described(error),
    );
  }

  #note(
    checks: readonly string[],
    what: string,
    outcome: Observation['outcome'],
    why: Why = {},
  ): void {
    for (const check of checks)
      this.#list.push({
        check,
        scenario: this.#scenario,
        what,
        outcome,
        ...why,
      });
  }
}

/** Why an observation has its outcome. */
type Why = Pick<Observation, 'reason' | 'expected' | 'seen'>;

/** The operators of assertions whose two values tell more than their message. */
const COMPARED: Readonly<Record<string, (expected: unknown) => string>> = {
  strictEqual: brief,
  deepStrictEqual: brief,
  notStrictEqual: (expected) => `a value other than ${brief(expected)}`,
  notDeepStrictEqual: (expected) => `a value other than ${brief(expected)}`,
  match: (expected) => `text that matches ${String(expected)}`,
  doesNotMatch: (expected) => `text that does not match ${String(expected)}`,
};

/** An error as a reason, with the expected and the seen value where the error has them. */
function described(error: unknown): Why {
  if (error instanceof TimedOut)
    return { reason: error.message, expected: error.expected, seen: error.seen };
  if (!(error instanceof AssertionError))
    return {
      reason: error instanceof Error ? firstLine(error.message) || error.name : brief(error),
    };
  const compared = COMPARED[error.operator];
  if (compared === undefined) return { reason: assertionMessage(error) };
  // A generated message repeats the values or announces them with a colon.
  const reason = error.generatedMessage ? '' : firstLine(error.message).replace(/:$/, '');
  return {
    ...(reason === '' ? {} : { reason }),
    expected: compared(error.expected),
    seen: brief(error.actual),
  };
}

/** The message of `ok` and `fail`; without one, the expression that is not true. */
function assertionMessage({ message, generatedMessage }: AssertionError): string {
  if (!generatedMessage) return firstLine(message);
  const [, ...expression] = message.split('\n').filter((line) => line.trim() !== '');
  return `This is not true: ${expression.join(' ').replace(/\s+/g, ' ').trim()}`;
}

/** An error as one line. */
export const explain = (error: unknown): string => lineOf(described(error));

/** Why an observation has its outcome, in one line. */
export const lineOf = ({ reason, expected, seen }: Why): string =>
  [
    ...(reason === undefined ? [] : [reason]),
    ...(expected === undefined ? [] : [`expected ${expected}, seen ${seen ?? 'nothing'}`]),
  ].join(': ');

const firstLine = (text: string): string => text.split('\n')[0]!.trim();

/** A value as text of at most 200 characters. */
export function brief(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : value instanceof RegExp || typeof value === 'function'
        ? String(value)
        : (JSON.stringify(value) ?? String(value));
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
