/** Draining by callback: what the client registers, and what its endpoint does with deliveries (SEP: Callback). */
import assert from 'node:assert/strict';
import { clientScenario, type ClientTest } from '../../runner/client/scenario.ts';
import { NotApplicable } from '../../runner/looks.ts';
import { DELIVERY_METHOD, type Answered } from '../../runner/wire/sender.ts';
import type { Json } from '../../runner/wire/session.ts';

/** A compact JWS in the parameter `cb`. */
const isSigned = (url: string): boolean =>
  new URL(url).searchParams.getAll('cb').some((token) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token));

/** Sends until it is taken, as a server does, a few times a second. */
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
      'The client registers a callback and takes deliveries: written unusually, twice, and not in order.',
    checks: [
      'curl-explicit-key',
      'sig-raw-bytes',
      'dlv-repeat',
      'recv-missing',
      'recv-missing-fetch',
      'recv-duplicate',
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
        throw new NotApplicable('the client does not drain by callback');
      await t.check(
        'curl-explicit-key',
        'a signed callback URL is registered under a key of its own',
        () => {
          if (!isSigned(params.callback.url))
            throw new NotApplicable('the callback URL is not signed');
          assert.equal(typeof params.key, 'string', 'there is no "key"');
        },
      );
      await t.check(
        'sig-raw-bytes',
        'a challenge with white space in its body is answered with the right proof',
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
        'a delivery is verified as it was written, with tabs, escapes and its members in another order',
        async () => {
          const { status, body } = await deliver(t, log.delivery(0), { raw });
          assert.deepEqual({ status, ack: body?.ack }, { status: 200, ack: 3 });
        },
      );
      await t.check('dlv-repeat', 'the same delivery again is acknowledged again', async () =>
        assert.deepEqual((await deliver(t, log.delivery(0))).body, { ack: 3 }),
      );

      const { epoch } = log;
      log.append(4);
      const askedFrom = Date.now();
      const { status, body } = await t.callBack(log.delivery(5));
      await t.check(
        'recv-missing',
        'a delivery after 5 is not acknowledged when only 3 numbers are applied',
        () =>
          assert.ok(status !== 200 || !(body?.ack > 3), `HTTP ${status} ${JSON.stringify(body)}`),
      );
      await t.check(
        'recv-missing-fetch',
        'the missing numbers are pulled, from its own position',
        async () => {
          const drained = await t.nextDrain(askedFrom, 'the client to pull');
          assert.deepEqual(
            { epoch: drained.epoch, sequence: drained.sequence },
            { epoch, sequence: 3 },
          );
        },
      );
      await t.check('recv-missing', 'it goes on when they have come', () => t.untilAcked(7));
      await t.check(
        ['recv-duplicate', 'recv-missing'],
        'the application got every number once, in order',
        () => {
          assert.deepEqual(
            t.applied.filter(({ applied }) => applied === 'event').map(({ sequence }) => sequence),
            [1, 2, 3, 4, 5, 6, 7],
          );
        },
      );
    },
  }),
];
