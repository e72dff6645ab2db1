/**
 * What the core throws when it is handed something impossible. A refusal (`Step.refused`) is an answer to a client; an
 * `InvariantError` is a defect of the caller or of the store, and nothing may go on as if it had not happened.
 */

export type InvariantCode =
  /** An input with a number that no correct caller sends. */
  | 'invalid_input'
  /** A log lacks a number that no gap explains. */
  | 'log_hole';

export class InvariantError extends Error {
  readonly code: InvariantCode;

  constructor(code: InvariantCode, message: string) {
    super(message);
    this.name = 'InvariantError';
    this.code = code;
  }
}

/** Throws `invalid_input` unless `value` is an integer in `min … 2^53 - 1`. */
export function requireInteger(name: string, value: number, min: number): void {
  if (Number.isSafeInteger(value) && value >= min) return;
  throw new InvariantError(
    'invalid_input',
    `${name} must be an integer of at least ${min}, got ${value}: fix the caller`,
  );
}
