/** Answers to deliveries that cannot be applied (SEP: Answers). */
import assert from 'node:assert/strict';
import { receiverScenario } from '../../runner/receiver/scenario.ts';
import { bodyOf, DELIVERY_METHOD } from '../../runner/wire/sender.ts';
import type { Json } from '../../runner/wire/session.ts';

const MALFORMED: readonly (readonly [what: string, make: (correct: Json) => string])[] = [
  ['a body that is not JSON', () => '{"jsonrpc":'],
  ['an empty body', () => ''],
  ['a body that is not an object', () => '"text"'],
  [
    'another method',
    (correct) =>
      JSON.stringify({ jsonrpc: '2.0', method: 'notifications/somebody/else', params: correct }),
  ],
  ['no params', () => JSON.stringify({ jsonrpc: '2.0', method: DELIVERY_METHOD })],
  ['no epoch', ({ epoch: _, ...rest }) => bodyOf(rest)],
  ['no afterSequence', ({ afterSequence: _, ...rest }) => bodyOf(rest)],
  ['a negative afterSequence', (correct) => bodyOf({ ...correct, afterSequence: -1 })],
  ['events that are not a list', (correct) => bodyOf({ ...correct, events: {} })],
  [
    'a sequence that is a string',
    (correct) => bodyOf({ ...correct, events: [{ ...correct.events[0], sequence: '2' }] }),
  ],
];

export const answers = [
  receiverScenario({
    name: 'answers: invalid deliveries',
    about: 'Authentic requests with an invalid delivery.',
    checks: ['ans-receiver-malformed'],
    async run(t) {
      await t.deliver(1);
      await t.check(
        'ans-receiver-malformed',
        'the receiver answers each invalid delivery with 400',
        async () => {
          const others: string[] = [];
          for (const [what, make] of MALFORMED) {
            const { status } = await t.send(t.next, { raw: make(t.next) });
            if (status !== 400) others.push(`${what}: HTTP ${status}`);
          }
          assert.deepEqual(others, []);
        },
      );
      await t.check(
        'ans-receiver-malformed',
        'the receiver applies a valid request after the invalid ones',
        () => t.deliver(1),
      );
    },
  }),
  receiverScenario({
    name: 'answers: an unknown subscription',
    about: 'The receiver no longer knows the subscription, but the server still delivers.',
    checks: ['ans-receiver-unknown'],
    needs: ['register', 'forget'],
    async run(t) {
      await t.deliver(1);
      const { audience, key } = t.registered;
      await t.control.do('forget', { audience, key });
      await t.check(
        'ans-receiver-unknown',
        'the receiver answers 404, or 503 while the subscription may still be created',
        async () => {
          const { status } = await t.send(t.next);
          assert.ok(status === 404 || status === 503, `HTTP ${status}`);
        },
      );
    },
  }),
];
