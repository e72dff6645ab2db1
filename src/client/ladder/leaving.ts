/** Why a rung is left: for good, so that what was made on the server is taken back, or only here. */

/** The reason of a signal that fires because the rung is not needed any more. */
export class Leaving extends Error {
  override readonly name = 'Leaving';

  constructor() {
    super('Left for another rung, or for good.');
  }
}

export const isForGood = (signal: AbortSignal): boolean => signal.aborted && signal.reason instanceof Leaving;
