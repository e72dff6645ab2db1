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
      this.#note(names, what, outcome, explain(error));
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
      error === undefined ? 'it ended without an error' : explain(error),
    );
  }

  #note(
    checks: readonly string[],
    what: string,
    outcome: Observation['outcome'],
    reason?: string,
  ): void {
    for (const check of checks)
      this.#list.push({
        check,
        scenario: this.#scenario,
        what,
        outcome,
        ...(reason === undefined ? {} : { reason }),
      });
  }
}

/** An error as one line. */
export function explain(error: unknown): string {
  // For an equality, add both values to the message.
  if (error instanceof AssertionError && /^(deepStrict|strict)Equal$/.test(error.operator)) {
    return `${firstLine(error.message)} expected ${brief(error.expected)}, got ${brief(error.actual)}`;
  }
  return error instanceof Error ? firstLine(error.message) || error.name : brief(error);
}

const firstLine = (text: string): string => text.split('\n')[0]!.trim();

function brief(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : value instanceof RegExp || typeof value === 'function'
        ? String(value)
        : (JSON.stringify(value) ?? String(value));
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
