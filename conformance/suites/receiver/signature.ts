/** The signature under the client's secret: what is accepted, what is refused, and that nothing comes of what is refused (SEP: Signature, Verification). */
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
/** A request and what is wrong with it. */
type Bad = readonly [what: string, sending: Partial<Sending>];

/** Well-formed by everything but the grammar: each is signed over what it says. */
const UNGRAMMATICAL: readonly Bad[] = [
  ['an empty webhook-id', { webhookId: '' }],
  ['a webhook-id of 129 characters', { webhookId: 'a'.repeat(129) }],
  ['a webhook-id with a full stop', { webhookId: 'msg.1' }],
  ['a webhook-id with a blank', { webhookId: 'msg 1' }],
  ['an empty webhook-timestamp', { timestamp: '' }],
  ['a webhook-timestamp with a fraction', { timestamp: `${seconds()}.0` }],
  ['a webhook-timestamp with a sign', { timestamp: `+${seconds()}` }],
  ['a webhook-timestamp of 13 digits', { timestamp: seconds().padStart(13, '0') }],
  ['eleven signatures', { signatures: ([right]) => [right, ...Array(10).fill(WRONG)].join(' ') }],
  [
    'more than 4,096 bytes of signatures',
    { signatures: ([right]) => `${right} v9,${'A'.repeat(4100)}` },
  ],
];

const STALE: readonly Bad[] = [
  ['a webhook-timestamp 400 s ago', { timestamp: seconds(-400) }],
  ['a webhook-timestamp 400 s ahead', { timestamp: seconds(400) }],
];

const FORGED = (secret: string): readonly Bad[] => [
  ['no webhook-signature', { headers: { 'webhook-signature': null } }],
  ['a signature under another secret', { secrets: [newSecret()] }],
  [
    'the right signature with the prefix v1a,',
    { signatures: ([right]) => right!.replace('v1,', 'v1a,') },
  ],
  ['the right signature without a prefix', { signatures: ([right]) => right!.replace('v1,', '') }],
  ['the first half of the right signature', { signatures: ([right]) => right!.slice(0, 25) }],
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

/** Sends each of them with the next event. */
async function refused(t: ReceiverTest, bad: readonly Bad[]): Promise<readonly Tried[]> {
  const list: Tried[] = [];
  for (const [what, sending] of bad) list.push({ what, answered: await t.send(t.next, sending) });
  return list;
}

/** What was taken of what should have been refused. */
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
    name: 'signature: what is refused',
    about: 'Requests that are wrong in one way each, with the next event in them.',
    checks: ['sig-grammar', 'sig-window', 'sig-any', 'sig-subscription', 'sig-refusal'],
    async run(t) {
      await t.deliver(1);
      const all: Tried[] = [];
      for (const [check, what, bad] of [
        ['sig-grammar', 'headers of another form are refused', UNGRAMMATICAL],
        ['sig-window', 'requests of another time are refused', STALE],
        [
          'sig-any',
          'requests without a right v1 signature are refused',
          FORGED(t.registered.secret),
        ],
        [
          'sig-subscription',
          'requests whose header names another subscription than the body are refused',
          MISNAMED,
        ],
      ] as const) {
        const list = await refused(t, bad);
        all.push(...list);
        await t.check(check, what, () => assert.deepEqual(taken(list), []));
      }
      await t.check('sig-refusal', 'all of them with status 401', () =>
        assert.deepEqual(notWith401(all), []),
      );
      await t.check('sig-refusal', 'and none of them is applied', () => t.nothingApplied());
      await t.check('sig-refusal', 'the right request behind them is', () => t.deliver(1));
    },
  }),
  receiverScenario({
    name: 'signature: what is accepted',
    about: 'Right requests that look unusual.',
    checks: ['sig-any', 'sig-window', 'sig-raw-bytes'],
    async run(t) {
      for (const [what, signatures] of [
        ['the right one behind a wrong one', (right) => `${WRONG} ${right}`],
        ['the right one before a wrong one', (right) => `${right} ${WRONG}`],
        [
          'the right one among versions that nobody knows',
          (right) => `v1a,c29tZXRoaW5n v2,${right.slice(3)} ${right} whatever`,
        ],
        ['ten of them, the last one right', (right) => `${`${WRONG} `.repeat(9)}${right}`],
      ] as readonly (readonly [string, (right: string) => string])[]) {
        await t.check('sig-any', `${what} is enough`, () =>
          t.deliver(1, { signatures: ([right]) => signatures(right!) }),
        );
      }
      for (const later of [-250, 250])
        await t.check(
          'sig-window',
          `${later < 0 ? 'a clock that is behind' : 'a clock that is ahead'} by 250 s is tolerated`,
          () => t.deliver(1, { timestamp: seconds(later) }),
        );

      t.log.append(1);
      const delivery = t.log.delivery(t.log.acked);
      const raw = unusual(delivery);
      await t.check(
        'sig-raw-bytes',
        'a body with white space, escapes and members in another order verifies as it is',
        async () => {
          const { status, body } = await t.settled(delivery, { raw });
          assert.deepEqual({ status, ack: body?.ack }, { status: 200, ack: t.log.head });
        },
      );
      t.log.acked = t.log.head;
      const tidy = JSON.stringify(JSON.parse(unusual(t.next)));
      await t.check(
        'sig-raw-bytes',
        'the signature of the same JSON, written tidily, is refused',
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
    about: 'Forged requests that would do harm if anything in them were looked at first.',
    checks: ['sig-verify-first', 'cbv-receiver'],
    async run(t) {
      const { log } = t;
      const forged = { secrets: [newSecret()] };
      await t.check(
        'cbv-receiver',
        'a challenge that is signed with its secret is answered with the proof',
        async () => {
          const challenge = 'NRcyzzgTeL7FCXgRSBmZNY9BjmUNNgvf';
          const { status, body } = await t.send({ ...log.heartbeat(0), challenge });
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
          `a challenge under ${whose} gets no proof`,
          async () => {
            const { status, body } = await t.send(
              { ...log.heartbeat(1), challenge },
              { secrets: [secret] },
            );
            assert.deepEqual(
              { refused: status >= 300, proof: body?.proof },
              { refused: true, proof: undefined },
            );
          },
        );
      }
      for (const [what, raw] of [
        ['a body that is no JSON', '{'],
        [
          'a body that is no delivery',
          '{"jsonrpc":"2.0","method":"notifications/triggers/delivery","params":{}}',
        ],
      ] as const) {
        await t.check(
          'sig-verify-first',
          `${what}, forged, is refused for its signature`,
          async () => assert.equal((await t.send(t.next, { ...forged, raw })).status, 401),
        );
      }
      const ending = { ...log.heartbeat(1), terminated: { reason: 'revoked' } };
      const otherEpoch = { ...t.next, epoch: 'another-epoch-000000' };
      for (const [what, delivery] of [
        ['the end of the subscription', ending],
        ['a new epoch', otherEpoch],
      ] as const) {
        await t.check('sig-verify-first', `${what}, forged, changes nothing`, async () => {
          const { status } = await t.send(delivery, forged);
          assert.equal(status, 401);
          await t.deliver(1);
        });
      }
    },
  }),
];

/** The notification as nobody would write it, and as right as any other. */
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
