/**
 * One look at a resource, a list or a tool, as a hash that tells whether anything is different. Everything is bounded, because a server
 * decides how much it sends (SEP: When a peer lacks the extension).
 */
import { canonicalJson, sha256 } from '../../../../protocol/wire/canonical.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';

const MIB = 1024 * 1024;
/** Of what is observed, as canonical JSON in UTF-8. */
export const OBSERVATION_BYTES_MAX = 4 * MIB;
/** Of a list. */
export const LIST_PAGES_MAX = 1000;

/** The state of something at the time of a look. */
export interface Observation {
  /** The same for the same content. */
  readonly hash: string;
  /** What the application gets. */
  readonly data: unknown;
  /** For how long the server says that it stays so, in milliseconds. */
  readonly ttlMs?: number;
}

/** Of a text that stands for all of the content. Throws `LocalError` `not_supported` when it is too large. */
export function observationOf(text: string, data: unknown, ttlMs?: number): Observation {
  refuseTooLarge(Buffer.byteLength(text));
  return { hash: sha256(text), data, ...(ttlMs === undefined ? {} : { ttlMs }) };
}

/** Content as text: the same for the same content. Throws `LocalError` `peer_misbehaved`. */
export function canonical(value: unknown): string {
  try {
    return canonicalJson(value);
  } catch (cause) {
    throw notAcceptable('what it sent has no canonical form', cause);
  }
}

export function refuseTooLarge(bytes: number): void {
  if (bytes <= OBSERVATION_BYTES_MAX) return;
  throw new LocalError(
    'not_supported',
    `What the server sent is larger than ${OBSERVATION_BYTES_MAX} bytes and is not compared. Follow something smaller.`,
    { reason: 'too_large' },
  );
}

export const notAcceptable = (problem: string, cause?: unknown): LocalError =>
  new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, {
    cause,
    reason: 'result',
  });
