/** The callback dialect of this protocol (SEP: Callback). */
import { classifyAnswer } from '../../protocol/core/index.ts';
import { randomWebhookId, webhookId } from '../../protocol/wire/canonical.ts';
import { encodeDeliveryNotification } from '../../protocol/wire/envelope.ts';
import { MCP_SUBSCRIPTION_ID } from '../../protocol/wire/headers.ts';
import { isChallengeProof } from '../../protocol/wire/signature.ts';
import type { CallbackDialect, CallbackMessage, CallbackContext } from './dialect.ts';
import { deliveryOf, emptyRange, type DeliveryExtras, type LogRange } from '../engine/reader.ts';

/**
 * Sends batches of events, has the server sign with a JWS, and accepts consent only with a proof.
 */
export const nativeDialect: CallbackDialect = {
  single: false,
  serverSignature: 'jws',
  delivery: (of, range) => message(of, range),
  challenge: (of, challenge) => message(of, emptyRange(of.state.acked), { challenge }),
  terminationNotice: (of, reason) =>
    message(of, emptyRange(of.state.acked), { terminated: { reason } }),
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

function message(
  { state, random }: CallbackContext,
  range: LogRange,
  extras: DeliveryExtras = {},
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
        : randomWebhookId((bytes) => random.token(bytes)),
    body: encodeDeliveryNotification(deliveryOf(state, range, extras)),
    headers: { [MCP_SUBSCRIPTION_ID]: subscriptionId },
  };
}
