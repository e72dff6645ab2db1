/** Something on the command line makes no sense. The message says what, and repeats no secret. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
