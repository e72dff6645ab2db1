/** Pull: reading a log by request (SEP: triggers/pull). */
import assert from 'node:assert/strict';
import { lastOf } from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { stateOf } from './following.ts';

const sequences = ({ events }: Json): number[] => events.map(({ sequence }: Json) => sequence);
const RESULT_BYTES_MAX = 1_048_576;

/** Creates a log with this many events. Returns it and a function that pulls from it. */
async function filled(t: ServerTest, count: number, data: object = {}) {
  const subscription = await t.subscribe();
  const { subscriptionId, epoch } = subscription;
  await t.emit(t.topicOf(subscription), count, { data });
  await t.until(
    `${count} events to be appended`,
    async () => (await t.mcp.request('triggers/get', { subscriptionId })).head >= count,
  );
  const pull = (params: object = {}): Promise<Json> =>
    t.mcp.request('triggers/pull', { subscriptionId, ...params });
  return {
    subscriptionId,
    epoch,
    topic: t.topicOf(subscription),
    pull,
    at: (sequence: number) => ({ epoch, sequence }),
  };
}

export const pull = [
  scenario({
    name: 'pull: pages',
    about: 'Events come in order from the requested position, and reading acknowledges nothing.',
    checks: [
      'pull-after',
      'ack-only-said',
      'pull-max',
      'pull-has-more',
      'pull-ack-first',
      'gen-atomic',
    ],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const { subscriptionId, pull, at } = await filled(t, 5);
      await t.check('pull-after', 'a pull starts after `after`', async () => {
        const answer = await pull({ after: at(2) });
        assert.deepEqual([answer.afterSequence, sequences(answer)], [2, [3, 4, 5]]);
      });
      await t.check('pull-max', 'a pull returns at most maxEvents events', async () =>
        assert.equal((await pull({ maxEvents: 2 })).events.length, 2, 'events with maxEvents 2:'),
      );
      await t.check(
        'pull-has-more',
        '`hasMore` is true while more events follow, with nextPollMs 0',
        async () => {
          const [some, all] = [await pull({ maxEvents: 2 }), await pull()];
          assert.deepEqual(
            [some.hasMore, all.hasMore],
            [true, false],
            '`hasMore` of two of five events, and of all:',
          );
          assert.equal(some.nextPollMs, 0, '`nextPollMs` with more events:');
        },
      );
      await t.check('pull-max', 'maxEvents 0 returns at once and covers nothing', async () => {
        const startedAt = Date.now();
        const answer = await pull({ maxEvents: 0, waitMs: 20_000 });
        assert.deepEqual(
          [answer.events, answer.gaps ?? [], lastOf(answer)],
          [[], [], answer.afterSequence],
        );
        assert.ok(Date.now() - startedAt < 10_000, 'the pull waited');
      });
      await t.check('ack-only-said', 'reading acknowledges nothing', async () => {
        await pull({ after: at(4) });
        assert.equal(
          (await t.mcp.request('triggers/get', { subscriptionId })).acked,
          0,
          '`acked` after reading:',
        );
      });
      await t.check('pull-ack-first', '`ack` applies before the result is read', async () => {
        const answer = await pull({ ack: at(3) });
        assert.deepEqual([answer.acked, sequences(answer)], [3, [4, 5]]);
      });
      await t.check(
        'pull-after',
        'without `after` a pull starts after the acknowledged position',
        async () => assert.equal((await pull()).afterSequence, 3, '`afterSequence` of the result:'),
      );
      await t.check('pull-ack-first', 'a pull with a rejected `ack` reads nothing', async () => {
        const rejection = await t.mcp.errorOf('triggers/pull', { subscriptionId, ack: at(99) });
        assert.equal(rejection.data?.kind, 'position', '`data.kind` of the error:');
      });
      await t.check(
        'gen-atomic',
        'a pull with a rejected `after` acknowledges nothing',
        async () => {
          await t.mcp.errorOf('triggers/pull', { subscriptionId, ack: at(4), after: at(99) });
          const { acked } = await t.mcp.request('triggers/get', { subscriptionId });
          assert.equal(acked, 3, '`acked` after the rejection:');
        },
      );
    },
  }),

  scenario({
    name: 'pull: waiting',
    about: 'A waiting pull returns with the next event, or when waitMs have passed.',
    checks: ['pull-wait'],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const { pull, topic } = await filled(t, 0);
      await t.check('pull-wait', 'a waiting pull without events returns after waitMs', async () => {
        const startedAt = Date.now();
        const answer = await pull({ waitMs: 600 });
        assert.deepEqual(answer.events, []);
        assert.ok(
          Date.now() - startedAt >= 500,
          `the pull returned after ${Date.now() - startedAt} ms instead of 600`,
        );
      });
      await t.check('pull-wait', 'a waiting pull returns as soon as an event arrives', async () => {
        const startedAt = Date.now();
        const waiting = pull({ waitMs: 20_000 });
        await t.pause(200);
        await t.emit(topic, 1);
        assert.deepEqual(sequences(await waiting), [1]);
        assert.ok(
          Date.now() - startedAt < 10_000,
          `the pull returned only after ${Date.now() - startedAt} ms`,
        );
      });
      await t.check('pull-wait', 'a pull does not wait when an event is present', async () => {
        const startedAt = Date.now();
        assert.deepEqual(sequences(await pull({ waitMs: 20_000 })), [1]);
        assert.ok(
          Date.now() - startedAt < 10_000,
          `the pull returned only after ${Date.now() - startedAt} ms`,
        );
      });
    },
  }),

  scenario({
    name: 'pull: size',
    about: 'A result is at most one MiB, but has at least one event.',
    checks: ['pull-bytes'],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const { pull } = await filled(t, 8, { pad: 'x'.repeat(200_000) });
      await t.check(
        'pull-bytes',
        'the first result of eight events of 200 KB contains a part of them',
        async () => {
          const answer = await pull();
          const bytes = Buffer.byteLength(JSON.stringify(answer));
          assert.ok(bytes <= RESULT_BYTES_MAX, `the result has ${bytes} bytes`);
          assert.ok(answer.events.length > 0, 'the result has no event');
          assert.equal(answer.hasMore, true, '`hasMore`:');
        },
      );
    },
  }),

  scenario({
    name: 'pull: next to a callback',
    about:
      'A log can be pulled with or without a callback, and a pull does not resume a suspended callback.',
    checks: ['cap-levels', 'sub-only-client-resumes'],
    needs: { drains: ['pull', 'callback'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = () => ({ status: 410 });
      const subscription = await t.subscribe({ callback: endpoint.callback });
      endpoint.consent = () => ({ status: 410 });
      const { subscriptionId } = subscription;
      await t.emit(t.topicOf(subscription), 2);
      await t.until(
        'the callback to be suspended',
        async () =>
          stateOf(await t.mcp.request('triggers/get', { subscriptionId })) === 'suspended',
      );
      const attempts = endpoint.deliveries.length;
      endpoint.answer = ({ delivery }) => ({ body: { ackSequence: lastOf(delivery) } });
      await t.check('cap-levels', 'a log with a callback can be pulled', async () => {
        assert.deepEqual(
          sequences(
            await t.mcp.request('triggers/pull', {
              subscriptionId,
              after: { epoch: subscription.epoch, sequence: 0 },
            }),
          ),
          [1, 2],
        );
      });
      await t.check(
        'sub-only-client-resumes',
        'a pull does not resume a suspended callback',
        async () => {
          await t.mcp.request('triggers/pull', { subscriptionId, maxEvents: 0 });
          await t.pause(300);
          assert.equal(
            stateOf(await t.mcp.request('triggers/get', { subscriptionId })),
            'suspended',
            '`callback.state`:',
          );
          assert.equal(endpoint.deliveries.length, attempts, 'attempts after two pulls:');
        },
      );
      const plain = await t.subscribe();
      await t.emit(t.topicOf(plain), 1);
      await t.check('cap-levels', 'a log without a callback can be pulled', async () => {
        assert.deepEqual(sequences((await t.pullAll(plain.subscriptionId, 1)).at(-1)), [1]);
      });
    },
  }),
];
