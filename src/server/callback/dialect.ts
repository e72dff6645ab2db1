/**
 * How a callback is spoken to. The engine decides what is sent when, in which order and until when it is tried; a dialect says how that looks
 * as an HTTP request and what the answer means. This protocol's own is `nativeDialect`; bindings of other protocols bring theirs.
 */
import type { Answer } from '../../protocol/core/index.ts';
import type {
  Callback,
  Outcome,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';
import type { Secret } from '../../protocol/wire/secret.ts';
import type { Random } from '../engine/ports.ts';
import type { LogRange } from '../engine/reader.ts';

/** One message before it is signed. Signing adds `webhook-timestamp` and `webhook-signature`, anew for every attempt. */
export interface CallbackMessage {
  /** `webhook-id`. The same for every attempt to send the same thing, so that receivers can recognise it. */
  readonly id: string;
  readonly body: Uint8Array;
  /** Beside content type, user agent and the three headers of Standard Webhooks. Lower case names. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A callback of one subscription, as a dialect sees it. */
export interface CallbackContext {
  readonly state: Subscription;
  readonly callback: Pick<Callback, 'url'>;
  readonly random: Random;
}

/** One way of speaking to callbacks. Stateless: the same dialect serves every subscription that names it. */
export interface CallbackDialect {
  /** A message holds one event, or says of one run of gaps that they are missing, and nothing beside it. */
  readonly single: boolean;
  /** What this server's own key signs with, where there is one: a detached JWS in a header of its own, `v1a` of Standard Webhooks, or nothing. */
  readonly serverSignature: 'jws' | 'v1a' | null;
  /** The message that covers this range; null = there is nothing to say about it, and it counts as acknowledged. */
  delivery(of: CallbackContext, range: LogRange): CallbackMessage | null;
  /** Asks for consent. */
  challenge(of: CallbackContext, challenge: string): CallbackMessage;
  /** The last word, sent once; null = none. */
  terminationNotice(of: CallbackContext, reason: TerminationReason): CallbackMessage | null;
  /** What the answer to a delivery of this range means. Never throws. */
  classify(answer: Answer, range: LogRange, state: Subscription): Outcome;
  /** Whether a 2xx answer to a challenge consents. `body` is the parsed JSON, undefined when it is none. */
  consents(body: unknown, challenge: string, secret: Secret): boolean;
}
