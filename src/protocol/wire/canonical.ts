/**
 * Identifiers computed from content: the canonical form (RFC 8785), the default subscription key,
 * equality of selections and the `webhook-id` (SEP: triggers/subscribe, Message identity).
 * Signatures never cover canonical forms.
 */
import { hash, randomBytes } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { Gap, Selection } from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { inspectJson } from './json.ts';

/** The canonical form of RFC 8785. Throws `LocalError` `json_refused` if the value has none. */
export function canonicalJson(value: unknown): string {
  const complaint = inspectJson(value);
  const text = complaint === null ? canonicalize(value) : undefined;
  if (text === undefined)
    throw new LocalError('json_refused', `No canonical form: expected ${complaint ?? 'a value'}.`);
  return text;
}

type SelectionLike = Readonly<Pick<Selection, 'name'>> & {
  readonly arguments?: Readonly<Record<string, unknown>> | undefined;
};

/** Fills in absent arguments and drops members that are not part of a selection. */
const normalSelect = (select: readonly SelectionLike[]) =>
  select.map((selection) => ({ name: selection.name, arguments: selection.arguments ?? {} }));

/**
 * The default `key`: 43 characters. Depends on the order of the selections but not on the order of
 * members.
 */
export function subscriptionKey(
  select: readonly SelectionLike[],
  callbackUrl: string | null,
): string {
  return sha256(canonicalJson({ select: normalSelect(select), callback: callbackUrl }));
}

/** Whether both select the same, in the same order. */
export function sameSelect(a: readonly SelectionLike[], b: readonly SelectionLike[]): boolean {
  return a.length === b.length && canonicalJson(normalSelect(a)) === canonicalJson(normalSelect(b));
}

/** The range of a delivery: the numbers `after + 1` to `last`. */
export interface DeliveryRange {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly after: number;
  /** The last number, of an event or of a gap. */
  readonly last: number;
  readonly gaps?: readonly Pick<Gap, 'from' | 'to'>[] | undefined;
}

const WEBHOOK_ID_CHARS = 32;

/** The `webhook-id` of a delivery with a range: the same id means the same events. */
export function webhookId(range: DeliveryRange): string {
  const gaps = (range.gaps ?? []).map(({ from, to }) => `${from}-${to}`).join(',');
  const input = [range.subscriptionId, range.epoch, range.after, range.last, gaps].join('\n');
  return `msg_${sha256(input).slice(0, WEBHOOK_ID_CHARS)}`;
}

/**
 * The `webhook-id` of a delivery without a range: a heartbeat, a probe, a challenge, a termination
 * notice.
 */
export function randomWebhookId(token: (bytes: number) => string = randomToken): string {
  return `msg_${token((WEBHOOK_ID_CHARS * 3) / 4)}`;
}

/** base64url of SHA-256 over UTF-8. */
export const sha256 = (text: string): string => hash('sha256', text, 'base64url');

const randomToken = (bytes: number): string => randomBytes(bytes).toString('base64url');
