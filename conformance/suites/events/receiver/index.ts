/** Every scenario of SEP-3415 against a receiver of webhooks. */
import assert from 'node:assert/strict';
import type { EventsReceiverScenario } from '../../../runner/events/receiver.ts';
import { newSecret } from '../../../runner/server/callback-endpoint.ts';
import { seconds, type Answered } from '../../../runner/wire/sender.ts';

const isTaken = ({ status }: Answered): void =>
  assert.ok(status >= 200 && status <= 299, `it was answered with HTTP ${status} instead of 2xx`);
const isRefused = ({ status }: Answered): void =>
  assert.ok(status >= 400, `it was answered with HTTP ${status}`);

export const eventsReceiver: readonly EventsReceiverScenario[] = [
  {
    name: 'receiver: signatures',
    about: 'What is signed with the secret is taken, and nothing else is looked at.',
    checks: [
      'receiver-challenge-echo',
      'receiver-verify-first',
      'receiver-raw-bytes',
      'receiver-several-signatures',
      'receiver-stale-refused',
    ],
    async run(t) {
      const challenge = 'challenge-0123456789-\u00e9';
      await t.check(
        'receiver-challenge-echo',
        'a verification is answered with its challenge',
        async () => {
          const answered = await t.send({ type: 'verification', challenge });
          isTaken(answered);
          assert.equal(answered.body?.challenge, challenge, 'challenge of the answer:');
        },
      );
      await t.check(
        'receiver-verify-first',
        'under another secret neither an event nor a verification is taken',
        async () => {
          const secrets = [newSecret()];
          isRefused(await t.send(t.occurrence(), { secrets }));
          const answered = await t.send({ type: 'verification', challenge }, { secrets });
          isRefused(answered);
          assert.notEqual(answered.body?.challenge, challenge, 'challenge of the answer:');
        },
      );
      await t.check(
        'receiver-verify-first',
        'without a signature, or with an empty one, nothing is taken',
        async () => {
          isRefused(await t.send(t.occurrence(), { headers: { 'webhook-signature': null } }));
          isRefused(await t.send(t.occurrence(), { signatures: () => '' }));
          isRefused(await t.send(t.occurrence(), { signatures: () => 'v1,' }));
        },
      );
      await t.check(
        'receiver-raw-bytes',
        'a body that a parser would write differently is taken as it came',
        async () => {
          await t.requireKnown();
          const { eventId, cursor } = t.occurrence();
          const raw = `{ "cursor": ${JSON.stringify(cursor)},\n "eventId":${JSON.stringify(eventId)}, "name" : "conformance.plain", "timestamp":"2026-01-01T00:00:00.000Z", "data": {"n":1.0, "topic":"\\u0061"} }`;
          isTaken(await t.send({ eventId }, { raw }));
        },
      );
      await t.check(
        'receiver-raw-bytes',
        'one byte more than was signed, and it is refused',
        async () => {
          const body = t.occurrence();
          const [right] = await signedOver(t, body);
          isRefused(
            await t.send(body, { raw: `${JSON.stringify(body)} `, signatures: () => right! }),
          );
        },
      );
      await t.check(
        'receiver-several-signatures',
        'a wrong signature, one of another kind and the right one',
        async () => {
          await t.requireKnown();
          for (const signatures of [
            ([right]: readonly string[]) => `v1,${Buffer.alloc(32).toString('base64')} ${right}`,
            ([right]: readonly string[]) => `${right} v1a,${Buffer.alloc(64).toString('base64')}`,
          ])
            isTaken(await t.send(t.occurrence(), { signatures }));
        },
      );
      await t.check(
        'receiver-stale-refused',
        'more than five minutes old, and it is refused',
        async () => {
          await t.requireKnown();
          isTaken(await t.send(t.occurrence(), { timestamp: seconds(-200) }));
          isRefused(await t.send(t.occurrence(), { timestamp: seconds(-400) }));
        },
      );
    },
  },
  {
    name: 'receiver: handing on',
    about: 'Events and envelopes reach the client, each once.',
    checks: ['receiver-dedupe', 'receiver-hands-on-cursor', 'receiver-forwards-control'],
    needs: ['applied'],
    async run(t) {
      const occurrence = t.occurrence();
      for (let n = 0; n < 2; n += 1) isTaken(await t.send(occurrence));
      isTaken(await t.send(occurrence, { webhookId: `msg_another_${occurrence.eventId}` }));
      const second = t.occurrence();
      isTaken(await t.send(second));
      await t.check(
        'receiver-dedupe',
        'an event that comes three times is handed on once',
        async () => {
          assert.deepEqual(
            (await t.applied())
              .filter(({ applied }) => applied === 'event')
              .map(({ eventId }) => eventId),
            [occurrence.eventId, second.eventId],
          );
        },
      );
      await t.check('receiver-hands-on-cursor', 'with its eventId and cursor', async () => {
        const [first] = await t.applied();
        assert.deepEqual(
          [first?.eventId, first?.cursor],
          [occurrence.eventId, occurrence.cursor],
          'eventId and cursor:',
        );
      });
      await t.check('receiver-forwards-control', 'a gap and the end are handed on', async () => {
        isTaken(await t.send({ type: 'gap', cursor: 'cursor-after-the-gap' }));
        isTaken(
          await t.send({
            type: 'terminated',
            error: {
              code: -32023,
              message: 'The event type was removed.',
              data: { kind: 'event' },
            },
          }),
        );
        assert.deepEqual(
          (await t.applied()).slice(2).map(({ applied }) => applied),
          ['gap', 'ended'],
        );
      });
    },
  },
  {
    name: 'receiver: a subscription that it does not know',
    about: 'A server can be faster than its own answer to the client.',
    checks: ['receiver-unknown-subscription-retryable'],
    async run(t) {
      await t.check(
        'receiver-unknown-subscription-retryable',
        'an event for another id is answered with 503 or 425',
        async () => {
          const { status } = await t.send(t.occurrence(), { subscriptionId: 'evt_of_nobody' });
          assert.ok(status === 503 || status === 425, `it was answered with HTTP ${status}`);
        },
      );
    },
  },
];

/** What a right request with this body is signed with. */
async function signedOver(
  t: Parameters<EventsReceiverScenario['run']>[0],
  body: object,
): Promise<readonly string[]> {
  let signed: readonly string[] = [];
  await t.send(body, {
    signatures: (right) => {
      signed = right;
      return 'v1,AAAA';
    },
  });
  return signed;
}
