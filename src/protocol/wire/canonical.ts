/**
 * The canonical form of JSON (RFC 8785) and what is computed from content: names of selections,
 * their equality and the `webhook-id` (SEP: triggers/subscribe, Message identity). `events/*` needs
 * the form for its keys and ids; in `triggers/*` no peer has to reproduce it. Signatures cover the
 * bytes as sent, never a canonical form.
 */
import { hash, randomBytes } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { Gap, Selection } from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { inspectJson } from './json.ts';

/** Returns the canonical form of RFC 8785. Throws `LocalError` `json_refused` for other than JSON. */
export function canonicalJson(value: unknown): string {
  const complaint = inspectJson(value);
  const text = complaint === null ? canonicalize(value) : undefined;
  if (text === undefined)
    throw new LocalError(
      'json_refused',
      `The value has no canonical form: expected ${complaint ?? 'a value'}.`,
    );
  return text;
}

type SelectionLike = Readonly<Pick<Selection, 'name'>> & {
  readonly arguments?: Readonly<Record<string, unknown>> | undefined;
};

/** Fills in absent arguments and drops members that are not part of a selection. */
const normalSelect = (select: readonly SelectionLike[]) =>
  select.map((selection) => ({ name: selection.name, arguments: selection.arguments ?? {} }));

/**
 * Returns a name for these selections, 43 characters, from which a caller makes a `key`. It depends
 * on the order of the selections but not on the order of members. Throws `LocalError`
 * `json_refused` if an argument is not JSON.
 */
export function selectName(select: readonly SelectionLike[]): string {
  return sha256(canonicalJson(normalSelect(select)));
}

/** Whether both lists contain the same selections in the same order. */
export function sameSelect(a: readonly SelectionLike[], b: readonly SelectionLike[]): boolean {
  return a.length === b.length && canonicalJson(normalSelect(a)) === canonicalJson(normalSelect(b));
}

/** The numbers `after + 1` to `last` of one log, from which a `webhook-id` is computed. */
export interface DeliveryRange {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly after: number;
  /** The last number, of an event or of a gap. */
  readonly last: number;
  readonly gaps?: readonly Pick<Gap, 'from' | 'to'>[] | undefined;
}

const WEBHOOK_ID_CHARS = 32;

/** Returns the `webhook-id` of a delivery that covers numbers: the same id means the same events. */
export function webhookId(range: DeliveryRange): string {
  const gaps = (range.gaps ?? []).map(({ from, to }) => `${from}-${to}`).join(',');
  const input = [range.subscriptionId, range.epoch, range.after, range.last, gaps].join('\n');
  return `msg_${sha256(input).slice(0, WEBHOOK_ID_CHARS)}`;
}

/**
 * Returns a `webhook-id` for a message that covers no number: a heartbeat, a probe, a challenge, a
 * termination notice.
 */
export function randomWebhookId(token: (bytes: number) => string = randomToken): string {
  return `msg_${token((WEBHOOK_ID_CHARS * 3) / 4)}`;
}

/** base64url of SHA-256 over UTF-8. */
export const sha256 = (text: string): string => hash('sha256', text, 'base64url');

const randomToken = (bytes: number): string => randomBytes(bytes).toString('base64url');
