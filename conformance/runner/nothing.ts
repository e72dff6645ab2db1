/** Thrown when a run cannot begin: nothing is there, or it is something else than was said. */

/** The message says what was looked for and what was found. */
export class NothingToTest extends Error {
  override readonly name: string = 'NothingToTest';
}
