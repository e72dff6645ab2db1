/**
 * Collects what scenarios see. A scenario says beforehand which checks it decides; whatever it has not decided by its end is broken, with what
 * stopped it: a missing prerequisite is a failure that says so.
 */
import { AssertionError } from 'node:assert';
import type { Evidence } from './verdict.ts';

/** Thrown by what a scenario calls, when the implementation offers no way to bring the situation about. */
export class NotShown extends Error {
  override readonly name = 'NotShown';
}

/** Thrown when the implementation does not claim the feature that a check is about. */
export class NotApplicable extends Error {
  override readonly name = 'NotApplicable';
}

/** The looks of one scenario. */
export class Looks {
  readonly #scenario: string;
  readonly #declared: ReadonlySet<string>;
  readonly #evidence: Evidence[] = [];

  constructor(scenario: string, declared: readonly string[]) {
    this.#scenario = scenario;
    this.#declared = new Set(declared);
  }

  get evidence(): readonly Evidence[] {
    return this.#evidence;
  }

  /**
   * Looks once at one or more requirements: `look` throws what it misses, best with `node:assert/strict`. Never throws itself, so that one breach does
   * not hide the next; resolves with what `look` returned, undefined when it did not hold.
   */
  async check<T>(
    checks: string | readonly string[],
    what: string,
    look: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const names = typeof checks === 'string' ? [checks] : checks;
    for (const name of names)
      if (!this.#declared.has(name))
        throw new Error(`scenario "${this.#scenario}" looks at ${name}, which it does not declare`);
    try {
      const value = await look();
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

  /** To be called when the scenario is over; `error` is what ended it early. */
  close(error?: unknown): void {
    const decided = new Set(this.#evidence.map(({ check }) => check));
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
      'reaching the point where it can be seen',
      outcome,
      error === undefined ? 'the scenario ended without looking at it' : explain(error),
    );
  }

  #note(
    checks: readonly string[],
    what: string,
    outcome: Evidence['outcome'],
    reason?: string,
  ): void {
    for (const check of checks)
      this.#evidence.push({
        check,
        scenario: this.#scenario,
        what,
        outcome,
        ...(reason === undefined ? {} : { reason }),
      });
  }
}

/** One line that a person can act on. */
export function explain(error: unknown): string {
  // Of an equality, what was expected says more than any words.
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
