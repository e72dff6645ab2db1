/**
 * The interface of a callback dialect: it formats messages as HTTP requests and classifies the
 * answers. The engine decides what is sent, in which order and for how long. `nativeDialect` is the
 * dialect of this protocol; bindings of other protocols have their own.
 */
import type { Answer } from '../../protocol/core/index.ts';
import type {
  Callback,
  DeliveredState,
  Outcome,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';
import type { Secret } from '../../protocol/wire/secret.ts';
import type { Random } from '../engine/ports.ts';
import type { LogRange } from '../engine/reader.ts';

/**
 * A message before signing. Every attempt signs it again, with a new `webhook-timestamp` and
 * `webhook-signature`.
 */
export interface CallbackMessage {
  /**
   * `webhook-id`: the same for every attempt with the same content, so that receivers recognize a
   * repetition.
   */
  readonly id: string;
  readonly body: Uint8Array;
  /**
   * Additional headers, with lower-case names. The signer adds content type, user agent and the
   * headers of Standard Webhooks.
   */
  readonly headers: Readonly<Record<string, string>>;
}

/** The subscription for which a dialect makes a message. */
export interface CallbackContext {
  readonly state: DeliveredState & Pick<Subscription, 'principal' | 'select'>;
  readonly callback: Pick<Callback, 'url'>;
  readonly random: Random;
}

/** A format of callback messages and answers. Stateless: one object serves all subscriptions. */
export interface CallbackDialect {
  /** Whether each message contains exactly one event or one run of gaps. */
  readonly single: boolean;
  /**
   * How a server that has a key also signs: `jws` = a detached JWS in its own header, `v1a` = the
   * signature of Standard Webhooks, null = not at all.
   */
  readonly serverSignature: 'jws' | 'v1a' | null;
  /** The message for this range; null = nothing to send, and the range counts as acknowledged. */
  delivery(of: CallbackContext, range: LogRange): CallbackMessage | null;
  /** The message that asks the endpoint for its consent. */
  challenge(of: CallbackContext, challenge: string): CallbackMessage;
  /** The termination notice, repeated until an answer is 2xx; null = none. */
  terminationNotice(of: CallbackContext, reason: TerminationReason): CallbackMessage | null;
  /** Classifies the answer to a delivery of this range. Never throws. */
  classify(answer: Answer, range: LogRange, state: Subscription): Outcome;
  /**
   * Whether a 2xx answer to a challenge consents. `body` is the parsed JSON; undefined if it is not
   * JSON.
   */
  consents(body: unknown, challenge: string, secret: Secret): boolean;
}
