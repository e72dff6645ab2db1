/**
 * The size of the long matrices: `npm test` runs a fixed sample of each; `npm run test:all` sets
 * `TEST_TIER=all` and runs everything. A sample depends only on its matrix, so a run can be
 * repeated.
 */
const runsEverything = process.env['TEST_TIER'] === 'all';

/**
 * The first of each group of `matrix`, where `groupOf` names the group; everything in `npm run
 * test:all`.
 */
export function onePerGroup<T>(matrix: readonly T[], groupOf: (one: T) => string): readonly T[] {
  if (runsEverything) return matrix;
  const groups = new Set<string>();
  return matrix.filter((one) => !groups.has(groupOf(one)) && groups.add(groupOf(one)));
}

/**
 * The family of a check: its first word without a role, `jws` for `jws-header` and `poll` for
 * `client-poll-cursor`.
 */
export const familyOf = ({ check }: { readonly check: string }): string =>
  /^(?:client-|receiver-)?([^-]+)/.exec(check)![1]!;

/** `daily` in `npm test`, `all` in `npm run test:all`. */
export const byTier = <T>(daily: T, all: T): T => (runsEverything ? all : daily);
