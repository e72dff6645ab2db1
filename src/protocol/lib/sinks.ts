/** The functions that a client attaches to a callback endpoint, and what passes through them. */
import type { Delivery, Position, Rejection } from '../../../spec-schema/draft/schema.ts';

/**
 * Takes the verified deliveries of one key. Resolves with the position up to which the application
 * has stored everything; must resolve soon after `signal` fires. `reject` names an event that can
 * never be accepted (SEP: Answers).
 */
export type Sink = (
  delivery: Delivery,
  signal: AbortSignal,
) => Promise<Position & { readonly reject?: Rejection }>;

/**
 * A verified webhook of an `events/*` server (SEP-3415): an occurrence, or a control envelope,
 * which has a `type`.
 */
export interface WebhookMessage {
  /** The value of `X-MCP-Subscription-Id`. */
  readonly subscriptionId: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * `taken`: the message is processed or stored, and the server does not send it again. `later`: the
 * server sends it again. `unacceptable`: it can never be accepted.
 */
export type WebhookResult = 'taken' | 'later' | 'unacceptable';

/** Takes the webhooks of one key. Must resolve soon after `signal` fires. */
export type WebhookSink = (message: WebhookMessage, signal: AbortSignal) => Promise<WebhookResult>;
