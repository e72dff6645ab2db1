/** Every scenario of SEP-3415 against a receiver of webhooks. */
import assert from 'node:assert/strict';
import type { EventsReceiverScenario } from '../../../runner/events/receiver.ts';
import { newSecret } from '../../../runner/server/callback-endpoint.ts';
import { seconds, type Answered } from '../../../runner/wire/sender.ts';

const isTaken = ({ status }: Answered): void =>
  assert.ok(status >= 200 && status <= 299, `the answer is HTTP ${status} instead of 2xx`);
const isRefused = ({ status }: Answered): void =>
  assert.ok(status >= 400, `the answer is HTTP ${status}`);

export const eventsReceiver: readonly EventsReceiverScenario[] = [
  {
    name: 'receiver: signatures',
    about: 'The receiver accepts requests that are signed with the secret, and no others.',
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
        'the receiver echoes the challenge of a verification',
        async () => {
          const answered = await t.send({ type: 'verification', challenge });
          isTaken(answered);
          assert.equal(answered.body?.challenge, challenge, 'the challenge of the answer:');
        },
      );
      await t.check(
        'receiver-verify-first',
        'the receiver accepts neither an event nor a verification under another secret',
        async () => {
          const secrets = [newSecret()];
          isRefused(await t.send(t.occurrence(), { secrets }));
          const answered = await t.send({ type: 'verification', challenge }, { secrets });
          isRefused(answered);
          assert.notEqual(answered.body?.challenge, challenge, 'the challenge of the answer:');
        },
      );
      await t.check(
        'receiver-verify-first',
        'the receiver accepts nothing without a signature or with an empty one',
        async () => {
          isRefused(await t.send(t.occurrence(), { headers: { 'webhook-signature': null } }));
          isRefused(await t.send(t.occurrence(), { signatures: () => '' }));
          isRefused(await t.send(t.occurrence(), { signatures: () => 'v1,' }));
        },
      );
      await t.check(
        'receiver-raw-bytes',
        'the receiver verifies an unusually formatted body as received',
        async () => {
          await t.requireKnown();
          const { eventId, cursor } = t.occurrence();
          const raw = `{ "cursor": ${JSON.stringify(cursor)},\n "eventId":${JSON.stringify(eventId)}, "name" : "conformance.plain", "timestamp":"2026-01-01T00:00:00.000Z", "data": {"n":1.0, "topic":"\\u0061"} }`;
          isTaken(await t.send({ eventId }, { raw }));
        },
      );
      await t.check(
        'receiver-raw-bytes',
        'the receiver rejects a body with an additional byte',
        async () => {
          const body = t.occurrence();
          const [correct] = await signedOver(t, body);
          isRefused(
            await t.send(body, { raw: `${JSON.stringify(body)} `, signatures: () => correct! }),
          );
        },
      );
      await t.check(
        'receiver-several-signatures',
        'the receiver accepts a correct signature among wrong and unknown ones',
        async () => {
          await t.requireKnown();
          for (const signatures of [
            ([correct]: readonly string[]) =>
              `v1,${Buffer.alloc(32).toString('base64')} ${correct}`,
            ([correct]: readonly string[]) =>
              `${correct} v1a,${Buffer.alloc(64).toString('base64')}`,
          ])
            isTaken(await t.send(t.occurrence(), { signatures }));
        },
      );
      await t.check(
        'receiver-stale-refused',
        'the receiver rejects a timestamp that is more than five minutes old',
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
    about: 'The receiver hands each event and envelope on once.',
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
        'the receiver hands on an event once although it arrives three times',
        async () => {
          assert.deepEqual(
            (await t.applied())
              .filter(({ applied }) => applied === 'event')
              .map(({ eventId }) => eventId),
            [occurrence.eventId, second.eventId],
          );
        },
      );
      await t.check(
        'receiver-hands-on-cursor',
        'the receiver hands on eventId and cursor',
        async () => {
          const [first] = await t.applied();
          assert.deepEqual(
            [first?.eventId, first?.cursor],
            [occurrence.eventId, occurrence.cursor],
            'eventId and cursor:',
          );
        },
      );
      await t.check(
        'receiver-forwards-control',
        'the receiver hands on a gap and the end of the subscription',
        async () => {
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
        },
      );
    },
  },
  {
    name: 'receiver: an unknown subscription',
    about: 'A server may deliver before the client has received its subscription id.',
    checks: ['receiver-unknown-subscription-retryable'],
    async run(t) {
      await t.check(
        'receiver-unknown-subscription-retryable',
        'the receiver answers an event of another subscription with 503 or 425',
        async () => {
          const { status } = await t.send(t.occurrence(), { subscriptionId: 'evt_of_nobody' });
          assert.ok(status === 503 || status === 425, `the answer is HTTP ${status}`);
        },
      );
    },
  },
];

/** The correct signatures of this body. Sends the body once, with a wrong signature. */
async function signedOver(
  t: Parameters<EventsReceiverScenario['run']>[0],
  body: object,
): Promise<readonly string[]> {
  let signed: readonly string[] = [];
  await t.send(body, {
    signatures: (correct) => {
      signed = correct;
      return 'v1,AAAA';
    },
  });
  return signed;
}
