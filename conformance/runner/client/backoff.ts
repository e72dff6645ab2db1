/** Decides whether a client backs off and adds jitter, from the pauses between its attempts. */

/**
 * Pauses up to this length are ignored when looking for jitter: the duration of an attempt and a
 * busy machine distort them.
 */
const BLURRED_MS = 300;
/**
 * Pauses have no jitter when at least `FACTORS` growth factors exceed the smallest of them by at
 * most this share.
 */
const SAME_FACTOR = 0.12;
const FACTORS = 3;
/** Minimum growth factor from the first to the second half of the pauses. */
const GROWTH = 1.5;
/** Growing pauses have to add up to more than this, or the client retries too fast. */
const HURRY_MS = 250;

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
const list = (pauses: readonly number[]): string => `${pauses.map(Math.round).join(', ')} ms`;

/**
 * Null when the pauses grow and are long enough in total, or when there are fewer than four;
 * otherwise what is wrong. Pauses are in milliseconds.
 */
export function growthOf(pauses: readonly number[]): string | null {
  const half = pauses.length >> 1;
  const grows =
    half < 2 ||
    (sum(pauses) > HURRY_MS && sum(pauses.slice(-half)) > GROWTH * sum(pauses.slice(0, half)));
  return grows ? null : `its pauses do not grow: ${list(pauses)}`;
}

/**
 * Null when the pauses have jitter or are too few to tell; otherwise what is wrong. Pauses with
 * jitter look regular once in a few hundred runs, so a caller measures a second time before it
 * reports.
 */
export function jitterOf(all: readonly number[]): string | null {
  const pauses = all.filter((pause) => pause > BLURRED_MS);
  const factors = pauses.slice(1).map((pause, at) => pause / pauses[at]!);
  const spread = (Math.max(...factors) - Math.min(...factors)) / Math.min(...factors);
  return factors.length < FACTORS || spread > SAME_FACTOR
    ? null
    : `its pauses grow by a constant factor, without jitter: ${list(pauses)}`;
}
