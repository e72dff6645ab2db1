/**
 * Draining by callback: the registration, and the answers of the client's endpoint (SEP: Callback).
 */
import assert from 'node:assert/strict';
import { clientScenario, type ClientTest } from '../../runner/client/scenario.ts';
import { appliedNumbers } from '../../runner/client/program.ts';
import { NotApplicable } from '../../runner/observations.ts';
import { DELIVERY_METHOD, type Answered } from '../../runner/wire/sender.ts';
import type { Json } from '../../runner/wire/session.ts';

/** Sends a delivery, and again every 100 ms while the answer is a 5xx, as a server retries. */
async function deliver(t: ClientTest, delivery: Json, sending: object = {}): Promise<Answered> {
  for (const end = Date.now() + t.patienceMs; ;) {
    const answered = await t.callBack(delivery, sending);
    if (answered.status < 500 || Date.now() > end) return answered;
    await t.pause(100);
  }
}

export const callback = [
  clientScenario({
    name: 'callback: registering and applying',
    about:
      'The client registers a callback and accepts unusual, repeated and out-of-order deliveries.',
    checks: [
      'sig-raw-bytes',
      'recv-duplicate',
      'recv-missing',
      'recv-missing-fetch',
      'recv-elsewhere',
    ],
    async run(t) {
      const { server } = t;
      const { log } = server;
      t.start({ drain: 'callback' });
      await t.until(
        'the client to subscribe',
        () => server.callsOf('triggers/subscribe').length > 0,
      );
      const { params } = server.callsOf('triggers/subscribe')[0]!;
      if (params.callback === undefined)
        throw new NotApplicable('The client does not drain by callback.');
      await t.check(
        'sig-raw-bytes',
        'the endpoint answers a challenge with the correct proof although the body contains white space',
        () => t.until('a verified callback', () => log.callback !== undefined),
      );

      log.append(3);
      const raw = JSON.stringify(
        { params: log.delivery(0), method: DELIVERY_METHOD, jsonrpc: '2.0' },
        null,
        '\t',
      ).replace('"conformance"', '"\\u0063onformance"');
      await t.check(
        'sig-raw-bytes',
        'the endpoint verifies a delivery with tabs, escapes and reordered members as received',
        async () => {
          const { status, body } = await deliver(t, log.delivery(0), { raw });
          assert.deepEqual(
            { status, ackSequence: body?.ackSequence },
            { status: 200, ackSequence: 3 },
          );
        },
      );
      await t.check(
        'recv-duplicate',
        'the endpoint acknowledges a repeated delivery again',
        async () => assert.deepEqual((await deliver(t, log.delivery(0))).body, { ackSequence: 3 }),
      );

      const { epoch } = log;
      log.append(4);
      const askedFrom = Date.now();
      const { status, body } = await t.callBack(log.delivery(5));
      await t.check(
        'recv-missing',
        'the endpoint, which has applied 3, does not acknowledge a delivery that starts after 5',
        () =>
          assert.ok(
            status !== 200 || !(body?.ackSequence > 3),
            `HTTP ${status} ${JSON.stringify(body)}`,
          ),
      );
      await t.check(
        'recv-missing-fetch',
        'the client pulls the missing sequence numbers from its own position',
        async () => {
          const drained = await t.nextDrain(askedFrom, 'the client to pull');
          assert.deepEqual(
            { epoch: drained.epoch, sequence: drained.sequence },
            { epoch, sequence: 3 },
          );
        },
      );
      await t.check(
        'recv-missing',
        'the client continues once the missing sequence numbers arrive',
        () => t.untilAcked(7),
      );
      await t.check(
        ['recv-duplicate', 'recv-missing'],
        'the application gets every sequence number once, in order',
        () => {
          assert.deepEqual(
            t.applied.filter(({ applied }) => applied === 'event').map(({ sequence }) => sequence),
            [1, 2, 3, 4, 5, 6, 7],
          );
        },
      );

      // Another reader of the same owner has pulled and acknowledged 8 and 9.
      log.append(2);
      log.acked = 9;
      log.append(1);
      await t.check(
        'recv-elsewhere',
        'the endpoint acknowledges a delivery that follows numbers which another reader has acknowledged',
        async () => {
          const { status } = await deliver(t, log.delivery(9));
          assert.equal(status, 200);
          await t.untilAcked(10);
        },
      );
      await t.check(
        'recv-elsewhere',
        'the application learns of every number that another reader has acknowledged, before the event after it',
        async () => {
          // The output of the client arrives after its answer.
          await t.until('the application to get 10', () =>
            appliedNumbers(t.applied, epoch).includes(10),
          );
          assert.deepEqual(appliedNumbers(t.applied, epoch).slice(-3), [8, 9, 10]);
        },
      );
    },
  }),
];
