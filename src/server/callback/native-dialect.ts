/** This protocol's own way of speaking to callbacks (SEP: Callback). */
import { classifyAnswer } from '../../protocol/core/index.ts';
import { randomWebhookId, webhookId } from '../../protocol/wire/canonical.ts';
import { encodeDeliveryNotification } from '../../protocol/wire/envelope.ts';
import { MCP_SUBSCRIPTION_ID } from '../../protocol/wire/headers.ts';
import { isChallengeProof } from '../../protocol/wire/signature.ts';
import type { CallbackDialect, CallbackMessage, CallbackContext } from './dialect.ts';
import { deliveryOf, emptyRange, type DeliveryExtras, type LogRange } from '../engine/reader.ts';

export const nativeDialect: CallbackDialect = {
  single: false,
  serverSignature: 'jws',
  delivery: (of, range) => message(of, range),
  challenge: (of, challenge) => message(of, emptyRange(of.state.acked), { challenge }),
  terminationNotice: (of, reason) =>
    message(of, emptyRange(of.state.acked), { terminated: { reason } }),
  classify: (answer, { after, last }) => classifyAnswer(answer, { after, to: last }),
  // A proof, not an echo: whatever reflects what it is sent consents to nothing (SEP: Verification).
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
    // Same id, same events. A message without any has nothing to repeat, and an id of its own.
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
