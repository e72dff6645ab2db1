/**
 * The error that the core throws for impossible input. A rejection (`Step.refused`) is reported to a
 * client; an `InvariantError` is a defect of the caller or of the store, and must not be ignored.
 */

export type InvariantCode =
  /** The input contains a number that no correct caller passes. */
  | 'invalid_input'
  /** A number is missing from a log and no gap explains it. */
  | 'log_hole';

export class InvariantError extends Error {
  readonly code: InvariantCode;

  constructor(code: InvariantCode, message: string) {
    super(message);
    this.name = 'InvariantError';
    this.code = code;
  }
}

/** Throws `InvariantError` `invalid_input` unless `value` is an integer in `min … 2^53 - 1`. */
export function requireInteger(name: string, value: number, min: number): void {
  if (Number.isSafeInteger(value) && value >= min) return;
  throw new InvariantError(
    'invalid_input',
    `${name} must be an integer of at least ${min}, got ${value}. Fix the caller.`,
  );
}
