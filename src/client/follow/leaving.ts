/** Why a rung is left although it works: what it has made on the server is taken back. */

/** The reason of a signal that fires because the rung is not needed any more. */
export class ModeLeft extends Error {
  override readonly name = 'Leaving';

  constructor() {
    super('Left for another rung.');
  }
}
