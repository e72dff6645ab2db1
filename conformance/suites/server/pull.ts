/** Pull: reading a log by asking (SEP: Pull). */
import assert from 'node:assert/strict';
import { lastOf } from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const sequences = ({ events }: Json): number[] => events.map(({ sequence }: Json) => sequence);
const RESULT_BYTES_MAX = 1_048_576;

/** A subscription with so many events, and how to pull from it. */
async function filled(t: ServerTest, count: number, data: object = {}) {
  const subscription = await t.subscribe();
  const { subscriptionId, epoch } = subscription;
  await t.emit(t.topicOf(subscription), count, { data });
  await t.until(
    `${count} events to be numbered`,
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
    name: 'pull: reading on',
    about: 'Numbers come in order from where the client says, and reading acknowledges nothing.',
    checks: [
      'pull-after',
      'pull-no-ack',
      'pull-max',
      'pull-zero',
      'pull-has-more',
      'pull-next',
      'pull-ack-first',
    ],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const { subscriptionId, pull, at } = await filled(t, 5);
      await t.check('pull-after', 'a pull begins behind `after`', async () => {
        const answer = await pull({ after: at(2) });
        assert.deepEqual([answer.after, sequences(answer)], [2, [3, 4, 5]]);
      });
      await t.check('pull-max', 'at most maxEvents events', async () =>
        assert.equal((await pull({ maxEvents: 2 })).events.length, 2, 'events with maxEvents 2:'),
      );
      await t.check(
        ['pull-has-more', 'pull-next'],
        '`hasMore` says whether there is more, and nextPollMs that it can be had at once',
        async () => {
          const [some, all] = [await pull({ maxEvents: 2 }), await pull()];
          assert.deepEqual(
            [some.hasMore, all.hasMore],
            [true, false],
            '`hasMore` of two of five events, and of all:',
          );
          assert.equal(some.nextPollMs, 0, '`nextPollMs` while there is more:');
        },
      );
      await t.check(
        'pull-zero',
        'maxEvents 0 is answered at once and covers no number',
        async () => {
          const startedAt = Date.now();
          const answer = await pull({ maxEvents: 0, waitMs: 20_000 });
          assert.deepEqual(
            [answer.events, answer.gaps ?? [], lastOf(answer)],
            [[], [], answer.after],
          );
          assert.ok(Date.now() - startedAt < 10_000, 'it waited');
        },
      );
      await t.check('pull-no-ack', 'nothing that was only read is acknowledged', async () => {
        await pull({ after: at(4) });
        assert.equal(
          (await t.mcp.request('triggers/get', { subscriptionId })).acked,
          0,
          '`acked` after reading:',
        );
      });
      await t.check('pull-ack-first', '`ack` counts before the answer is made', async () => {
        const answer = await pull({ ack: at(3) });
        assert.deepEqual([answer.acked, sequences(answer)], [3, [4, 5]]);
      });
      await t.check(
        'pull-after',
        'without `after` it begins behind what is acknowledged',
        async () => assert.equal((await pull()).after, 3, '`after` of the result:'),
      );
      await t.check(
        'pull-ack-first',
        'an acknowledgement that is refused reads nothing',
        async () => {
          const refusal = await t.mcp.refusal('triggers/pull', { subscriptionId, ack: at(99) });
          assert.equal(refusal.data?.kind, 'position', '`data.kind` of the error:');
        },
      );
    },
  }),

  scenario({
    name: 'pull: waiting',
    about: 'A long poll is answered by the next number, or when its time is over.',
    checks: ['pull-wait'],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const { pull, topic } = await filled(t, 0);
      await t.check(
        'pull-wait',
        'it is answered when its time has passed, without events',
        async () => {
          const startedAt = Date.now();
          const answer = await pull({ waitMs: 600 });
          assert.deepEqual(answer.events, []);
          assert.ok(
            Date.now() - startedAt >= 500,
            `it was answered after ${Date.now() - startedAt} ms instead of 600`,
          );
        },
      );
      await t.check('pull-wait', 'it is answered as soon as there is a number', async () => {
        const startedAt = Date.now();
        const waiting = pull({ waitMs: 20_000 });
        await t.pause(200);
        await t.emit(topic, 1);
        assert.deepEqual(sequences(await waiting), [1]);
        assert.ok(
          Date.now() - startedAt < 10_000,
          `it was answered only after ${Date.now() - startedAt} ms`,
        );
      });
      await t.check('pull-wait', 'it does not wait when the number is there already', async () => {
        const startedAt = Date.now();
        assert.deepEqual(sequences(await pull({ waitMs: 20_000 })), [1]);
        assert.ok(
          Date.now() - startedAt < 10_000,
          `it was answered only after ${Date.now() - startedAt} ms`,
        );
      });
    },
  }),

  scenario({
    name: 'pull: size',
    about: 'A result stays within a mebibyte, and has an event all the same.',
    checks: ['pull-bytes'],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const { pull } = await filled(t, 8, { pad: 'x'.repeat(200_000) });
      await t.check('pull-bytes', 'eight events of 200 KB come in several results', async () => {
        const answer = await pull();
        const bytes = Buffer.byteLength(JSON.stringify(answer));
        assert.ok(bytes <= RESULT_BYTES_MAX, `the result has ${bytes} bytes`);
        assert.ok(answer.events.length > 0, 'the result has no event');
        assert.equal(answer.hasMore, true, '`hasMore`:');
      });
    },
  }),

  scenario({
    name: 'pull: beside a callback',
    about:
      'A log can be pulled whether or not it has a callback, and a pull brings a suspended callback back.',
    checks: ['pull-not-callback', 'pull-resumes'],
    needs: { drains: ['pull', 'callback'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = () => ({ status: 413 });
      const subscription = await t.subscribe({ callback: endpoint.callback });
      const { subscriptionId } = subscription;
      await t.emit(t.topicOf(subscription), 2);
      await t.until(
        'the callback to be suspended',
        async () =>
          (await t.mcp.request('triggers/get', { subscriptionId })).status === 'suspended',
      );
      await t.check('pull-resumes', 'a pull of no events leaves it suspended', async () => {
        const attempts = endpoint.deliveries.length;
        await t.mcp.request('triggers/pull', { subscriptionId, maxEvents: 0 });
        await t.pause(300);
        assert.equal(
          endpoint.deliveries.length,
          attempts,
          'attempts to deliver after a pull with maxEvents 0:',
        );
        assert.equal((await t.mcp.request('triggers/get', { subscriptionId })).status, 'suspended');
      });
      endpoint.answer = ({ delivery }) => ({ body: { ack: lastOf(delivery) } });
      await t.check('pull-not-callback', 'a log with a callback can be pulled', async () => {
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
      await t.check('pull-resumes', 'any other pull brings it back', async () => {
        assert.equal((await t.mcp.request('triggers/get', { subscriptionId })).status, 'active');
        await t.until(
          'the callback to be called again',
          () => endpoint.events.filter(({ sequence }) => sequence === 2).length > 0,
        );
      });
      const plain = await t.subscribe();
      await t.emit(t.topicOf(plain), 1);
      await t.check('pull-not-callback', 'so can one without', async () => {
        assert.deepEqual(sequences((await t.pullAll(plain.subscriptionId, 1)).at(-1)), [1]);
      });
    },
  }),
];
