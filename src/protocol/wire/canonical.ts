/**
 * Everything that is identified by its content: the RFC 8785 canonical form, the default subscription key, equality of
 * selections and the `webhook-id` (SEP: triggers/subscribe, Message identity). Signatures are never made over canonical forms.
 */
import { hash, randomBytes } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { Gap, Selection } from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { inspectJson } from './json.ts';

/** RFC 8785. Throws `LocalError` `json_refused` for what has no canonical form. */
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

/** Absent arguments are the same as none; members beyond the two are not part of a selection. */
const normalSelect = (select: readonly SelectionLike[]) =>
  select.map((selection) => ({ name: selection.name, arguments: selection.arguments ?? {} }));

/** The default `key`: 43 characters. The order of the selections counts, the order of members does not. */
export function subscriptionKey(
  select: readonly SelectionLike[],
  callbackUrl: string | null,
): string {
  return sha256(canonicalJson({ select: normalSelect(select), callback: callbackUrl }));
}

export function sameSelect(a: readonly SelectionLike[], b: readonly SelectionLike[]): boolean {
  return a.length === b.length && canonicalJson(normalSelect(a)) === canonicalJson(normalSelect(b));
}

/** What a delivery covers: the numbers after `after` up to and including `last`. */
export interface DeliveryRange {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly after: number;
  /** The last number covered, by an event or by a gap. */
  readonly last: number;
  readonly gaps?: readonly Pick<Gap, 'from' | 'to'>[] | undefined;
}

const WEBHOOK_ID_CHARS = 32;

/** `webhook-id` of a delivery that covers something: the same id means the same events. */
export function webhookId(range: DeliveryRange): string {
  const gaps = (range.gaps ?? []).map(({ from, to }) => `${from}-${to}`).join(',');
  const input = [range.subscriptionId, range.epoch, range.after, range.last, gaps].join('\n');
  return `msg_${sha256(input).slice(0, WEBHOOK_ID_CHARS)}`;
}

/** `webhook-id` of a delivery that covers nothing: a heartbeat, a probe, a challenge, the last word. */
export function randomWebhookId(token: (bytes: number) => string = randomToken): string {
  return `msg_${token((WEBHOOK_ID_CHARS * 3) / 4)}`;
}

/** base64url of SHA-256 over UTF-8. */
export const sha256 = (text: string): string => hash('sha256', text, 'base64url');

const randomToken = (bytes: number): string => randomBytes(bytes).toString('base64url');
