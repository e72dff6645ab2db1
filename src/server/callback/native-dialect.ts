/** The callback dialect of this protocol (SEP: Callback). */
import { classifyAnswer } from '../../protocol/core/index.ts';
import { randomWebhookId, webhookId } from '../../protocol/wire/canonical.ts';
import { encodeDeliveryNotification } from '../../protocol/wire/envelope.ts';
import { MCP_SUBSCRIPTION_ID } from '../../protocol/wire/headers.ts';
import { traceHeaders } from '../../protocol/wire/trace-context.ts';
import { isChallengeProof } from '../../protocol/wire/signature.ts';
import type { CallbackDialect, CallbackMessage, CallbackContext } from './dialect.ts';
import type { Random } from '../engine/ports.ts';
import { deliveryOf, emptyRange, type LogRange } from '../engine/reader.ts';
import type { Termination } from '../../../spec-schema/draft/schema.ts';

/**
 * Sends batches of events, has the server sign with a JWS, and accepts consent only with a proof.
 */
export const nativeDialect: CallbackDialect = {
  single: false,
  serverSignature: 'jws',
  delivery: (of, range) => message(of, range),
  challenge({ state: { subscriptionId, key }, random }, challenge) {
    const body = encodeDeliveryNotification(JSON.stringify({ subscriptionId, key, challenge }));
    return { id: freshId(random), body, headers: { [MCP_SUBSCRIPTION_ID]: subscriptionId } };
  },
  terminationNotice: (of, reason) => message(of, emptyRange(of.state.acked), { reason }),
  classify: (answer, { after, last }) => classifyAnswer(answer, { after, to: last }),
  // Requires a proof: an endpoint that only echoes the request does not consent (SEP:
  // Verification).
  consents: (body, challenge, secret) => {
    const { challenge: echoed, proof } = Object(body) as {
      readonly challenge?: unknown;
      readonly proof?: unknown;
    };
    return (
      echoed === challenge &&
      typeof proof === 'string' &&
      isChallengeProof(secret, challenge, proof)
    );
  },
};

/** The id of a message that covers no number (SEP: Message identity). */
const freshId = (random: Random): string => randomWebhookId((bytes) => random.token(bytes));

function message(
  { state, random }: CallbackContext,
  range: LogRange,
  terminated?: Termination,
): CallbackMessage {
  const { subscriptionId, epoch } = state;
  return {
    // The same range has the same id; a message without a range gets a random one.
    id:
      range.last > range.after
        ? webhookId({
            subscriptionId,
            epoch,
            after: range.after,
            last: range.last,
            gaps: range.gaps,
          })
        : freshId(random),
    body: encodeDeliveryNotification(deliveryOf(state, range, terminated)),
    headers: {
      [MCP_SUBSCRIPTION_ID]: subscriptionId,
      ...(range.events.length === 1 ? traceHeaders(range.events[0]!) : {}),
    },
  };
}
