/** Streams: order, window, heartbeats and ends (SEP: Stream). */
import assert from 'node:assert/strict';
import { lastOf } from '../../runner/server/callback-endpoint.ts';
import { untilCarried, requireUnbroken, sequencesOf, upTo } from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { StreamReader } from '../../runner/server/stream-reader.ts';
import type { Json } from '../../runner/wire/session.ts';

const HEARTBEAT_MS = 15_000;
/** A server whose interval is 20 seconds is later than this after a jump of 15 seconds. */
const HEARTBEAT_GRACE_MS = 3500;
const STALLED_MS = 60_000;

/** Whether this many deliveries arrived. Throws when the stream was rejected or dropped. */
const heard = (stream: StreamReader, count: number): boolean => {
  requireUnbroken(stream);
  return stream.deliveries.length >= count;
};

/** Maximum time for what comes at once: far below the time between heartbeats. */
const AT_ONCE_MS = 5000;

/** Resolves with the first delivery of a stream. */
const first = async (t: ServerTest, stream: StreamReader): Promise<Json> => {
  await t.until('the first delivery of a stream', () => heard(stream, 1));
  return stream.deliveries[0];
};

export const stream = [
  scenario({
    name: 'stream: start position',
    about:
      "A stream starts at the client's position, sends a delivery at once, and continues without a hole.",
    checks: ['stream-first', 'stream-tag', 'stream-continues', 'ack-only-said', 'stream-several'],
    needs: { drains: ['stream'], verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch } = subscription;
      const topic = t.topicOf(subscription);
      await t.check(
        'stream-first',
        'a stream over an empty log sends a first delivery without events',
        async () => {
          const askedAt = Date.now();
          const quiet = await t.stream({ subscriptionId });
          const delivery = await first(t, quiet);
          const tookMs = Date.now() - askedAt;
          assert.deepEqual([delivery.afterSequence, delivery.events], [0, []]);
          assert.ok(tookMs < AT_ONCE_MS, `the first delivery came after ${tookMs} ms`);
          quiet.close();
        },
      );
      await t.emit(topic, 8);
      const fromStart = await t.stream({ subscriptionId, after: { epoch, sequence: 0 } });
      const fromFive = await t.stream({ subscriptionId, after: { epoch, sequence: 5 } });
      await untilCarried(t, fromStart, 8);
      await untilCarried(t, fromFive, 8);
      await t.check(
        'stream-continues',
        'the first delivery starts at the requested position, and each later one where the one before ended',
        () => {
          for (const [stream, start] of [
            [fromStart, 0],
            [fromFive, 5],
          ] as const) {
            let position: number = start;
            for (const delivery of stream.deliveries) {
              assert.equal(delivery.afterSequence, position, '`afterSequence` of a delivery:');
              position = lastOf(delivery);
            }
          }
        },
      );
      await t.check(
        'stream-several',
        'two streams over one log each have their own position',
        () => {
          assert.deepEqual(
            [sequencesOf(fromStart.deliveries), sequencesOf(fromFive.deliveries)],
            [upTo(1, 8), upTo(6, 8)],
          );
        },
      );
      await t.check(
        'stream-tag',
        'every delivery carries the id of its request, with the same JSON type',
        () => {
          for (const { deliveries, requestId } of [fromStart, fromFive]) {
            assert.ok(deliveries.length > 0, 'no delivery arrived');
            for (const delivery of deliveries)
              assert.strictEqual(delivery.requestId, requestId, '`requestId` of a delivery:');
          }
        },
      );
      await t.check('ack-only-said', 'streaming acknowledges nothing', async () => {
        assert.equal(
          (await t.mcp.request('triggers/get', { subscriptionId })).acked,
          0,
          '`acked` after eight events were streamed:',
        );
      });
      await t.check(
        'stream-continues',
        'without a position, a stream starts after the acknowledged one',
        async () => {
          const position = { epoch, sequence: 3 };
          await t.mcp.request('triggers/ack', { subscriptionId, position });
          const { afterSequence } = await first(t, await t.stream({ subscriptionId }));
          assert.equal(afterSequence, 3, '`afterSequence` of the first delivery:');
        },
      );
    },
  }),

  scenario({
    name: 'stream: window',
    about: 'The window limits the events in flight, and an acknowledgement makes room for more.',
    checks: ['stream-window'],
    needs: { drains: ['stream'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch } = subscription;
      await t.emit(t.topicOf(subscription), 9);
      await t.check(
        'stream-window',
        'a window of four lets four events through, and an acknowledgement lets one more through',
        async () => {
          const stream = await t.stream({ subscriptionId, window: { events: 4 } });
          await untilCarried(t, stream, 4);
          // Wait to see that nothing more arrives.
          await t.pause(300);
          assert.deepEqual(sequencesOf(stream.deliveries), upTo(1, 4), 'events in flight:');
          await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 1 } });
          await untilCarried(t, stream, 5);
          await t.pause(300);
          assert.deepEqual(
            sequencesOf(stream.deliveries),
            upTo(1, 5),
            'events after one was acknowledged:',
          );
        },
      );

      const large = await t.subscribe();
      const pad = 'x'.repeat(20_000);
      await t.emit(t.topicOf(large), 3, { data: { pad } });
      const narrow = await t.stream({
        subscriptionId: large.subscriptionId,
        window: { bytes: 2000 },
      });
      await t.check(
        'stream-window',
        'an event larger than the window is sent when nothing is in flight',
        () => untilCarried(t, narrow, 1),
      );
      await t.check('stream-window', 'an event larger than the window is sent alone', async () => {
        await t.pause(300);
        assert.deepEqual(
          sequencesOf(narrow.deliveries),
          [1],
          'events in flight, each larger than the window:',
        );
      });
      await t.check(
        'stream-window',
        'after its acknowledgement the next large event is sent',
        async () => {
          await t.mcp.request('triggers/ack', {
            subscriptionId: large.subscriptionId,
            position: { epoch: large.epoch, sequence: 1 },
          });
          await untilCarried(t, narrow, 2);
        },
      );

      const several = await t.subscribe();
      await t.emit(t.topicOf(several), 4, { data: { pad } });
      const wide = await t.stream({
        subscriptionId: several.subscriptionId,
        window: { bytes: 50_000 },
      });
      await t.check(
        'stream-window',
        'the bytes of all events in flight stay within the window',
        async () => {
          await untilCarried(t, wide, 2);
          await t.pause(300);
          assert.deepEqual(
            sequencesOf(wide.deliveries),
            [1, 2],
            'events of 20,000 bytes in a window of 50,000:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'stream: a client that disconnects',
    about:
      'A client that closes or cancels a stream frees its resources and leaves the log unchanged.',
    checks: ['stream-cancel', 'stream-log-stays'],
    needs: { drains: ['stream'], verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId } = subscription;
      const topic = t.topicOf(subscription);
      await t.emit(topic, 2);
      const before = await t.mcp.request('triggers/get', { subscriptionId });
      await t.check(
        'stream-cancel',
        'fifty opened and closed streams leave no quota in use',
        async () => {
          for (let round = 0; round < 50; round += 1) {
            const stream = await t.stream({ subscriptionId });
            await first(t, stream);
            if (t.mcp.era === '2025-11-25')
              await t.mcp.notify('notifications/cancelled', {
                requestId: stream.requestId,
                reason: 'done',
              });
            stream.close();
            await stream.over;
          }
        },
      );
      await t.check(
        'stream-log-stays',
        'closed streams leave the subscription unchanged',
        async () => {
          const { epoch, head, acked, etag, paused } = await t.mcp.request('triggers/get', {
            subscriptionId,
          });
          assert.deepEqual(
            { epoch, head, acked, etag, paused },
            {
              epoch: before.epoch,
              head: before.head,
              acked: before.acked,
              etag: before.etag,
              paused: before.paused,
            },
          );
        },
      );
      if (t.mcp.era === '2025-11-25') {
        await t.check(
          'stream-cancel',
          'the server sends nothing after notifications/cancelled',
          async () => {
            const stream = await t.stream({ subscriptionId });
            await first(t, stream);
            await untilCarried(t, stream, 2);
            await t.mcp.notify('notifications/cancelled', {
              requestId: stream.requestId,
              reason: 'done',
            });
            const count = stream.deliveries.length;
            await t.emit(topic, 1, { from: 3 });
            await t.pause(300);
            assert.equal(stream.deliveries.length, count, 'deliveries on a canceled stream:');
          },
        );
      }
    },
  }),

  scenario({
    name: 'stream: silence',
    about:
      'A quiet stream sends a delivery every 15 seconds; a stream with a full window stays open.',
    checks: ['stream-heartbeat', 'stream-stalled', 'stream-end', 'stream-log-stays'],
    needs: { drains: ['stream'], verbs: ['emit', 'advance'], types: ['plain'] },
    alone: true,
    async run(t) {
      const quiet = await t.subscribe({ ttlMs: 3_600_000 });
      const stream = await t.stream({ subscriptionId: quiet.subscriptionId });
      await first(t, stream);
      await t.check(
        'stream-heartbeat',
        'a quiet stream sends an empty delivery at least every 15 seconds',
        async () => {
          for (let round = 1; round <= 3; round += 1) {
            const count = stream.deliveries.length;
            await t.control.do('advance', { ms: HEARTBEAT_MS });
            await t.until(
              'a heartbeat after 15 seconds',
              () => heard(stream, count + 1),
              HEARTBEAT_GRACE_MS,
            );
          }
        },
      );
      const busy = await t.subscribe({ ttlMs: 3_600_000 });
      await t.emit(t.topicOf(busy), 5);
      const full = await t.stream({
        subscriptionId: busy.subscriptionId,
        window: { events: 2 },
      });
      await untilCarried(t, full, 2);
      await t.check(
        'stream-stalled',
        'a stream whose window is full for 75 seconds stays open, and continues after an acknowledgement',
        async () => {
          for (let passed = 0; passed < STALLED_MS + HEARTBEAT_MS; passed += HEARTBEAT_MS) {
            await t.control.do('advance', { ms: HEARTBEAT_MS });
            await t.pause(100);
          }
          assert.equal(full.ended, undefined, 'the stream has ended');
          await t.mcp.request('triggers/ack', {
            subscriptionId: busy.subscriptionId,
            position: { epoch: busy.epoch, sequence: 2 },
          });
          await untilCarried(t, full, 4);
        },
      );
      const cut = await t.stream({ subscriptionId: busy.subscriptionId, window: { events: 2 } });
      await first(t, cut);
      cut.close();
      await t.check('stream-log-stays', 'unacknowledged events stay in the log', async () => {
        const answer = await t.mcp.request('triggers/pull', {
          subscriptionId: busy.subscriptionId,
        });
        assert.deepEqual([answer.acked, sequencesOf([answer])], [2, upTo(3, 5)]);
      });
      await t.mcp.request('triggers/unsubscribe', { subscriptionId: busy.subscriptionId });
      await t.check('stream-end', 'a stream that the server ends has an empty result', async () => {
        const ended = await t.until('the end of the stream', () => full.ended, 5000);
        assert.deepEqual(withoutMeta(ended.result), {}, 'the result of the stream:');
      });
    },
  }),
];

/** A result without the members of the base protocol. */
function withoutMeta(result: Json): Json {
  const { _meta, resultType, ...rest } = result ?? { missing: true };
  return rest;
}
