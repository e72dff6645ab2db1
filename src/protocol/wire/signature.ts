/**
 * Makes and verifies Standard Webhooks signatures over raw bytes, and the proof that answers a
 * challenge (SEP: Signature, Verification). Other verifiers accept these signatures. This verifier
 * has a stricter grammar than some: it rejects bytes that a lossy decoder would treat as equal, text
 * after the timestamp, a dot in the id, which could move the boundary to the timestamp, and short
 * secrets.
 */
import { createHmac, sign, timingSafeEqual, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { LocalError } from './errors.ts';
import {
  readHeader,
  WEBHOOK_ID,
  WEBHOOK_SIGNATURE,
  WEBHOOK_TIMESTAMP,
  type HeadersLike,
} from './headers.ts';
import { SIGNATURE_HEADER_BYTES_MAX, SIGNATURE_TOLERANCE_MS, SIGNATURES_MAX } from './limits.ts';
import type { Secret } from './secret.ts';

const ID = /^[A-Za-z0-9_-]{1,128}$/;
/**
 * The id grammar for servers of `events/*`, which often send the upstream's identifier. It allows
 * dots: one could move the boundaries between id, timestamp and body, but then the body would not be
 * JSON.
 */
export const FOREIGN_WEBHOOK_ID = /^[\x21-\x7e]{1,1024}$/;
const TIMESTAMP = /^[0-9]{1,12}$/;
const V1 = /^v1,[A-Za-z0-9+/]{43}=$/;

/** Why a signature is rejected: the `reason` of the `LocalError`. */
export type SignatureRefusal =
  | 'missing_header'
  | 'malformed_id'
  | 'malformed_timestamp'
  | 'malformed_signature'
  | 'stale'
  | 'no_match';

/**
 * Returns the value of `webhook-signature`: one signature per secret, in the given order.
 * `timestamp` is in seconds since 1970.
 */
export function signWebhook(
  secrets: Secret | readonly Secret[],
  id: string,
  timestamp: number,
  body: Uint8Array,
): string {
  const prefix = `${id}.${timestamp}.`;
  const list = Array.isArray(secrets) ? (secrets as readonly Secret[]) : [secrets as Secret];
  return list.map((secret) => oneSignature(secret, prefix, body)).join(' ');
}

const signInPool = promisify(sign);

/**
 * Signs id, timestamp and body with the server's Ed25519 key (`v1a` of Standard Webhooks).
 * `timestamp` is in seconds since 1970.
 */
export async function signWebhookAsServer(
  { privateKey }: { readonly privateKey: KeyObject },
  id: string,
  timestamp: number,
  body: Uint8Array,
): Promise<string> {
  const signature = await signInPool(
    null,
    Buffer.concat([Buffer.from(`${id}.${timestamp}.`, 'utf8'), body]),
    privateKey,
  );
  return `v1a,${signature.toString('base64')}`;
}

/**
 * Verifies a request's signature over its raw body. Returns the id and the timestamp in seconds.
 * Throws `LocalError` `signature_stale` or `signature_invalid` with a {@link SignatureRefusal} as
 * `reason`.
 */
export function verifyWebhook(
  headers: HeadersLike,
  rawBody: Uint8Array,
  secrets: Secret | readonly Secret[],
  nowMs: number,
  toleranceMs = SIGNATURE_TOLERANCE_MS,
  idGrammar = ID,
): { readonly id: string; readonly timestamp: number } {
  const id = readHeader(headers, WEBHOOK_ID);
  const timestampText = readHeader(headers, WEBHOOK_TIMESTAMP);
  const signatures = readHeader(headers, WEBHOOK_SIGNATURE);
  if (id === undefined || timestampText === undefined || signatures === undefined)
    throw refuse('missing_header');
  if (!idGrammar.test(id)) throw refuse('malformed_id');
  if (!TIMESTAMP.test(timestampText)) throw refuse('malformed_timestamp');
  const candidates = parseSignatures(signatures);

  const timestamp = Number(timestampText);
  if (Math.abs(nowMs - timestamp * 1000) > toleranceMs) throw refuse('stale');
  // The signature covers the text of the timestamp: "0900" and "900" are different bytes.
  const expected = signAll(secrets, `${id}.${timestampText}.`, rawBody);
  let matches = 0;
  for (const candidate of candidates) {
    for (const one of expected) matches += Number(timingSafeEqual(candidate, one));
  }
  if (matches === 0) throw refuse('no_match');
  return { id, timestamp };
}

/**
 * Returns the `v1` signatures of the header, as bytes of equal length. Ignores entries of other
 * versions.
 */
function parseSignatures(header: string): Buffer[] {
  const entries = header.length > SIGNATURE_HEADER_BYTES_MAX ? [] : header.split(' ');
  if (entries.length === 0 || entries.length > SIGNATURES_MAX) throw refuse('malformed_signature');
  return entries.filter((entry) => V1.test(entry)).map((entry) => Buffer.from(entry, 'latin1'));
}

function signAll(secrets: Secret | readonly Secret[], prefix: string, body: Uint8Array): Buffer[] {
  const list = Array.isArray(secrets) ? (secrets as readonly Secret[]) : [secrets as Secret];
  return list.map((secret) => Buffer.from(oneSignature(secret, prefix, body), 'latin1'));
}

function oneSignature(secret: Secret, prefix: string, body: Uint8Array): string {
  return `v1,${createHmac('sha256', secret.key).update(prefix).update(body).digest('base64')}`;
}

/**
 * Returns the proof that answers a challenge: standard base64 of
 * HMAC-SHA256(secret, "challenge." + challenge).
 */
export function challengeProof(secret: Secret, challenge: string): string {
  return createHmac('sha256', secret.key).update(`challenge.${challenge}`).digest('base64');
}

/** Whether the proof is right. The time depends on the length of `proof` alone. */
export function isChallengeProof(secret: Secret, challenge: string, proof: string): boolean {
  const given = Buffer.from(proof, 'utf8');
  const expected = Buffer.from(challengeProof(secret, challenge), 'latin1');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

const MESSAGES: Readonly<Record<SignatureRefusal, string>> = {
  missing_header: `The request must carry ${WEBHOOK_ID}, ${WEBHOOK_TIMESTAMP} and ${WEBHOOK_SIGNATURE}, each once.`,
  malformed_id: `${WEBHOOK_ID} must be 1 to 128 letters, digits, "_" or "-"; for "events/*" 1 to 1024 printable ASCII characters.`,
  malformed_timestamp: `${WEBHOOK_TIMESTAMP} must be 1 to 12 digits: the seconds since 1970.`,
  malformed_signature: `${WEBHOOK_SIGNATURE} must have at most ${SIGNATURES_MAX} entries, separated by single spaces, and ${SIGNATURE_HEADER_BYTES_MAX} bytes.`,
  stale: `${WEBHOOK_TIMESTAMP} is too far from the present. Check both clocks.`,
  no_match: `${WEBHOOK_SIGNATURE} does not match. Check that both sides have the same secret, and pass body and headers unchanged.`,
};

const refuse = (reason: SignatureRefusal) =>
  new LocalError(reason === 'stale' ? 'signature_stale' : 'signature_invalid', MESSAGES[reason], {
    reason,
  });
