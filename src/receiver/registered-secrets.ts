/**
 * Decides which secrets of a registration verify a request: the present one and the earlier ones
 * that the server can still use (SEP: Rotation). Pure functions over a stored registration.
 */
import type { EarlierSecret, RegistrationRecord } from '../protocol/ledger/ledger.ts';
import { SECRET_ROTATION_GRACE_MS } from '../protocol/wire/limits.ts';

/** The secrets of a registration: the present one, and the earlier ones, newest first. */
export type RegisteredSecrets = Pick<RegistrationRecord, 'secret' | 'earlierSecrets'>;

/**
 * Most earlier secrets of a registration. Beyond that, the one in use and the newest are kept: a
 * client that rotates so often without an update has lost the others.
 */
const EARLIER_MAX = 8;

/** Whether a secret with this end verifies a request at `now`. */
export const isAccepted = ({ until }: Pick<EarlierSecret, 'until'>, now: number): boolean =>
  until === null || now <= until;

/** The secrets after a rotation to `secret`. */
export function rotatedTo(
  before: RegisteredSecrets,
  secret: string,
  now: number,
): RegisteredSecrets {
  const earlier = [{ secret: before.secret, until: null }, ...before.earlierSecrets].filter(
    (one) => one.secret !== secret && isAccepted(one, now),
  );
  // The oldest one without an end is the one that the server uses.
  const inUse = earlier.findLastIndex(({ until }) => until === null);
  while (earlier.length > EARLIER_MAX)
    earlier.splice(earlier.length - 1 > inUse ? earlier.length - 1 : inUse - 1, 1);
  return { secret, earlierSecrets: earlier };
}

/** Whether a delivery with `used` is the first one that ends a secret before it. */
export const isFirstUse = (secrets: RegisteredSecrets, used: string): boolean =>
  olderThan(secrets, used).some(({ until }) => until === null);

/** The secrets after a delivery with `used`: those before it end in 5 minutes. */
export function usedAt(secrets: RegisteredSecrets, used: string, now: number): RegisteredSecrets {
  const older = olderThan(secrets, used);
  const earlierSecrets = secrets.earlierSecrets.map((one) =>
    older.includes(one) ? { ...one, until: one.until ?? now + SECRET_ROTATION_GRACE_MS } : one,
  );
  return { secret: secrets.secret, earlierSecrets };
}

/** The present secret alone. */
export const withoutEarlier = ({ secret }: RegisteredSecrets): RegisteredSecrets => ({
  secret,
  earlierSecrets: [],
});

/** The secrets before `used`; none if it is not one of the registration. */
function olderThan(
  { secret, earlierSecrets }: RegisteredSecrets,
  used: string,
): readonly EarlierSecret[] {
  if (used === secret) return earlierSecrets;
  const at = earlierSecrets.findIndex((one) => one.secret === used);
  return at === -1 ? [] : earlierSecrets.slice(at + 1);
}
