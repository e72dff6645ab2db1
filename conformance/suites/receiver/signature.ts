/**
 * The signature under the client's secret: what a receiver accepts and rejects, and that a rejected
 * request has no effect (SEP: Signature, Verification).
 */
import assert from 'node:assert/strict';
import { receiverScenario, type ReceiverTest } from '../../runner/receiver/scenario.ts';
import { hmac, newSecret } from '../../runner/server/callback-endpoint.ts';
import {
  DELIVERY_METHOD,
  seconds,
  webhookIdOf,
  type Answered,
  type Sending,
} from '../../runner/wire/sender.ts';
import type { Json } from '../../runner/wire/session.ts';

const WRONG = `v1,${'A'.repeat(43)}=`;
/** A request and its defect. */
type Bad = readonly [what: string, sending: Partial<Sending>];

/** Requests with malformed headers only: each is correctly signed over its own headers. */
const ungrammatical = (): readonly Bad[] => [
  ['an empty webhook-id', { webhookId: '' }],
  ['a webhook-id of 129 characters', { webhookId: 'a'.repeat(129) }],
  ['a webhook-id with a full stop', { webhookId: 'msg.1' }],
  ['a webhook-id with a space', { webhookId: 'msg 1' }],
  ['an empty webhook-timestamp', { timestamp: '' }],
  ['a webhook-timestamp with a fraction', { timestamp: `${seconds()}.0` }],
  ['a webhook-timestamp with a sign', { timestamp: `+${seconds()}` }],
  ['a webhook-timestamp of 13 digits', { timestamp: seconds().padStart(13, '0') }],
  [
    'eleven signatures',
    { signatures: ([correct]) => [correct, ...Array(10).fill(WRONG)].join(' ') },
  ],
  [
    'more than 4,096 bytes of signatures',
    { signatures: ([correct]) => `${correct} v9,${'A'.repeat(4100)}` },
  ],
];

/** Made when they are sent: a run may start long after this file was loaded. */
const stale = (): readonly Bad[] => [
  ['a webhook-timestamp 400 s ago', { timestamp: seconds(-400) }],
  ['a webhook-timestamp 400 s ahead', { timestamp: seconds(400) }],
];

const FORGED = (secret: string): readonly Bad[] => [
  ['no webhook-signature', { headers: { 'webhook-signature': null } }],
  ['a signature under another secret', { secrets: [newSecret()] }],
  [
    'the right signature with the prefix v1a,',
    { signatures: ([correct]) => correct!.replace('v1,', 'v1a,') },
  ],
  [
    'the right signature without a prefix',
    { signatures: ([correct]) => correct!.replace('v1,', '') },
  ],
  ['the first half of the right signature', { signatures: ([correct]) => correct!.slice(0, 25) }],
  [
    'a signature under the text of the secret instead of its bytes',
    { secrets: [`whsec_${Buffer.from(secret).toString('base64')}`] },
  ],
];

const MISNAMED: readonly Bad[] = [
  [
    'another MCP-Subscription-Id',
    { headers: { 'mcp-subscription-id': 'sub_somebodyElses000000000000000000' } },
  ],
  ['no MCP-Subscription-Id', { headers: { 'mcp-subscription-id': null } }],
];

interface Tried {
  readonly what: string;
  readonly answered: Answered;
}

/** Sends the next event once with each defect. */
async function refused(t: ReceiverTest, bad: readonly Bad[]): Promise<readonly Tried[]> {
  const list: Tried[] = [];
  for (const [what, sending] of bad) list.push({ what, answered: await t.send(t.next, sending) });
  return list;
}

/** Requests that the receiver accepted although it has to reject them. */
const taken = (list: readonly Tried[]): string[] =>
  list
    .filter(({ answered }) => answered.status >= 200 && answered.status < 300)
    .map(({ what }) => what);
const notWith401 = (list: readonly Tried[]): string[] =>
  list
    .filter(({ answered }) => answered.status !== 401)
    .map(({ what, answered }) => `${what}: HTTP ${answered.status}`);

export const signature = [
  receiverScenario({
    name: 'signature: rejected requests',
    about: 'Requests with the next event and one defect each.',
    checks: ['sig-grammar', 'sig-window', 'sig-any', 'sig-subscription', 'sig-refusal'],
    async run(t) {
      await t.deliver(1);
      const all: Tried[] = [];
      for (const [check, what, bad] of [
        ['sig-grammar', 'the receiver rejects malformed headers', ungrammatical()],
        ['sig-window', 'the receiver rejects requests whose timestamp is 400 s off', stale()],
        [
          'sig-any',
          'the receiver rejects requests without a correct v1 signature',
          FORGED(t.registered.secret),
        ],
        [
          'sig-subscription',
          'the receiver rejects a header that names another subscription than the body',
          MISNAMED,
        ],
      ] as const) {
        const list = await refused(t, bad);
        all.push(...list);
        await t.check(check, what, () => assert.deepEqual(taken(list), []));
      }
      await t.check('sig-refusal', 'the receiver answers each of these requests with 401', () =>
        assert.deepEqual(notWith401(all), []),
      );
      await t.check('sig-refusal', 'the receiver applies no request that it rejected', () =>
        t.nothingApplied(),
      );
      await t.check(
        'sig-refusal',
        'the receiver applies a valid request after the rejected ones',
        () => t.deliver(1),
      );
    },
  }),
  receiverScenario({
    name: 'signature: accepted requests',
    about: 'Correct requests in unusual form.',
    checks: ['sig-any', 'sig-window', 'sig-raw-bytes'],
    async run(t) {
      for (const [what, signatures] of [
        ['a correct signature after a wrong one', (correct) => `${WRONG} ${correct}`],
        ['a correct signature before a wrong one', (correct) => `${correct} ${WRONG}`],
        [
          'a correct signature among unknown versions',
          (correct) => `v1a,c29tZXRoaW5n v2,${correct.slice(3)} ${correct} whatever`,
        ],
        [
          'a correct signature as the last of ten',
          (correct) => `${`${WRONG} `.repeat(9)}${correct}`,
        ],
      ] as readonly (readonly [string, (correct: string) => string])[]) {
        await t.check('sig-any', `the receiver accepts ${what}`, () =>
          t.deliver(1, { signatures: ([correct]) => signatures(correct!) }),
        );
      }
      for (const later of [-250, 250])
        await t.check(
          'sig-window',
          `the receiver accepts a timestamp that is 250 s ${later < 0 ? 'in the past' : 'in the future'}`,
          () => t.deliver(1, { timestamp: seconds(later) }),
        );

      t.log.append(1);
      const delivery = t.log.delivery(t.log.acked);
      const raw = unusual(delivery);
      await t.check(
        'sig-raw-bytes',
        'the receiver verifies a body with white space, escapes and reordered members as received',
        async () => {
          const { status, body } = await t.settled(delivery, { raw });
          assert.deepEqual(
            { status, ackSequence: body?.ackSequence },
            { status: 200, ackSequence: t.log.head },
          );
        },
      );
      t.log.acked = t.log.head;
      const tidy = JSON.stringify(JSON.parse(unusual(t.next)));
      await t.check(
        'sig-raw-bytes',
        'the receiver rejects the signature of the same JSON in another serialization',
        async () => {
          const id = webhookIdOf(t.next);
          const timestamp = seconds();
          const mac = hmac(t.registered.secret, `${id}.${timestamp}.${tidy}`);
          const { status } = await t.send(t.next, {
            raw: unusual(JSON.parse(tidy).params),
            webhookId: id,
            timestamp,
            signatures: () => `v1,${mac}`,
          });
          assert.equal(status, 401);
        },
      );
    },
  }),
  receiverScenario({
    name: 'signature: before anything else',
    about: 'Forged requests that have an effect if anything precedes the signature check.',
    checks: ['sig-verify-first', 'cbv-receiver'],
    async run(t) {
      const { log } = t;
      const forged = { secrets: [newSecret()] };
      await t.check(
        'cbv-receiver',
        'the receiver answers a challenge under its secret with the proof',
        async () => {
          const challenge = 'NRcyzzgTeL7FCXgRSBmZNY9BjmUNNgvf';
          const { status, body } = await t.send(log.challenge(challenge));
          assert.deepEqual(
            { status, challenge: body?.challenge, proof: body?.proof },
            { status: 200, challenge, proof: hmac(t.registered.secret, `challenge.${challenge}`) },
          );
        },
      );
      await t.deliver(1);
      const challenge = 'MFcyzzgTeL7FCXgRSBmZNY9BjmUNNgvf';
      const secrets: Json[] = [['an unknown secret', newSecret()]];
      if (t.control.has('register'))
        secrets.push(['the secret of another registration', (await t.register()).secret]);
      for (const [whose, secret] of secrets) {
        await t.check(
          ['cbv-receiver', 'sig-verify-first'],
          `the receiver gives no proof for a challenge under ${whose}`,
          async () => {
            const { status, body } = await t.send(log.challenge(challenge), { secrets: [secret] });
            assert.deepEqual(
              { refused: status >= 300, proof: body?.proof },
              { refused: true, proof: undefined },
            );
          },
        );
      }
      for (const [what, raw] of [
        ['request whose body is not JSON', '{'],
        [
          'request whose body is not a delivery',
          '{"jsonrpc":"2.0","method":"notifications/triggers/delivery","params":{}}',
        ],
      ] as const) {
        await t.check(
          'sig-verify-first',
          `the receiver answers a forged ${what} with 401, because of its signature`,
          async () => assert.equal((await t.send(t.next, { ...forged, raw })).status, 401),
        );
      }
      const ending = { ...log.heartbeat(1), terminated: { reason: 'revoked' } };
      const otherEpoch = { ...t.next, epoch: 'another-epoch-000000' };
      for (const [what, delivery] of [
        ['termination notice', ending],
        ['delivery of a new epoch', otherEpoch],
      ] as const) {
        await t.check('sig-verify-first', `a forged ${what} changes nothing`, async () => {
          const { status } = await t.send(delivery, forged);
          assert.equal(status, 401);
          await t.deliver(1);
        });
      }
    },
  }),
  receiverScenario({
    name: 'signature: several secrets',
    about:
      'The client changes the secret twice, and the server follows with a delay or never does.',
    checks: ['sig-rotation-receiver'],
    needs: ['register', 'rotate'],
    async run(t) {
      const { audience, key, secret: first } = t.registered;
      const rotate = async (): Promise<string> =>
        (await t.control.do('rotate', { audience, key })).secret;
      await t.deliver(1);
      const [second, third] = [await rotate(), await rotate()];
      const rows: readonly (readonly [what: string, secrets: readonly string[]])[] = [
        ['the secret from before two rotations, as long as no other was used', [first]],
        ['the newest secret', [third]],
        ['the secret from before, minutes after the newest was used', [first]],
        ['the secret in between', [second]],
        ['the newest secret next to one that it never had', [newSecret(), third]],
      ];
      for (const [what, secrets] of rows)
        await t.check('sig-rotation-receiver', `the receiver accepts ${what}`, () =>
          t.deliver(1, { secrets }),
        );
      await t.check('sig-rotation-receiver', 'the receiver rejects any other secret', async () =>
        assert.equal((await t.send(t.next, { secrets: [newSecret()] })).status, 401),
      );
    },
  }),
];

/** The notification in an unusual but correct serialization. */
const unusual = (delivery: Json): string =>
  `${JSON.stringify(
    {
      params: { ...delivery, events: [...delivery.events] },
      method: DELIVERY_METHOD,
      jsonrpc: '2.0',
    },
    null,
    '\t',
  )
    .replace('"conformance.plain"', '"\\u0063onformance.plain"')
    .replace(/\n/g, '\r\n')}\n`;
