/** What pauses between attempts say about a backoff: whether they grow, and whether chance has a part in them. */

/** Pauses shorter than this are blurred by the time that an attempt itself takes, and by a busy machine. */
const BLURRED_MS = 300;
/** Pauses that grow by the same factor, within so much of it, so often, were not jittered. */
const SAME_FACTOR = 0.12;
const FACTORS = 3;
/** How much longer the later half of the pauses is, at least. */
const GROWTH = 1.5;
/** All of them together take longer than this. */
const HURRY_MS = 250;

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
const list = (pauses: readonly number[]): string => `${pauses.map(Math.round).join(', ')} ms`;

/** Null when they grow, or are too few to say more than that there is no hurry; otherwise what is wrong. */
export function growthOf(pauses: readonly number[]): string | null {
  const half = pauses.length >> 1;
  const grows =
    half < 2 ||
    (sum(pauses) > HURRY_MS && sum(pauses.slice(-half)) > GROWTH * sum(pauses.slice(0, half)));
  return grows ? null : `its pauses do not grow: ${list(pauses)}`;
}

/** Null when they look random, or are too few to tell; otherwise what is wrong. Random pauses look regular once in a few hundred times: look twice. */
export function jitterOf(all: readonly number[]): string | null {
  const pauses = all.filter((pause) => pause > BLURRED_MS);
  const factors = pauses.slice(1).map((pause, at) => pause / pauses[at]!);
  const spread = (Math.max(...factors) - Math.min(...factors)) / Math.min(...factors);
  return factors.length < FACTORS || spread > SAME_FACTOR
    ? null
    : `its pauses grow by the same factor each time, without jitter: ${list(pauses)}`;
}
