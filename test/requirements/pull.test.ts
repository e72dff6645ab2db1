/** Tests pull: one request, one delivery (SEP: triggers/pull). */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { lastOf, sequencesOf, world, type Json } from './world.ts';

const upTo = (n: number, from = 1): number[] =>
  Array.from({ length: n - from + 1 }, (_, at) => from + at);

describe('triggers/pull', () => {
  test('[pull-ack-first] acknowledges before it reads; a failed acknowledgement reads nothing and moves nothing', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId, epoch } = made;
    await w.open(4);
    await w.pull(subscriptionId, { maxEvents: 2 });
    const read = await w.pull(subscriptionId, { ack: { epoch, sequence: 2 } });
    assert.deepEqual([read['acked'], read['afterSequence'], sequencesOf(read)], [2, 2, [3, 4]]);

    // 4 was sent by now, 5 never was; an ack of another epoch is rejected as triggers/ack rejects
    // it.
    await w.open(1);
    for (const position of [
      { epoch, sequence: 5 },
      { epoch, sequence: 6 },
      { epoch: 'AAAAAAAAAAAAAAAAAAAAAA', sequence: 1 },
    ]) {
      const byAck = await w.refused('triggers/ack', { subscriptionId, position });
      const byPull = await w.refused('triggers/pull', { subscriptionId, ack: position });
      assert.deepEqual(byPull, byAck);
      assert.deepEqual([(await w.get(subscriptionId))['acked'], byPull.code], [2, -32602]);
    }
    // Nothing was read, so 5 still counts as never sent.
    assert.equal(
      (await w.refused('triggers/ack', { subscriptionId, position: { epoch, sequence: 5 } }))
        .data?.['sent'],
      4,
    );
  });

  test('[pull-after] returns `after` as requested, otherwise the acknowledged position', async (t) => {
    const w = await world(t);
    const { subscriptionId, epoch } = await w.subscribe();
    await w.open(5);
    assert.equal((await w.pull(subscriptionId))['afterSequence'], 0);
    assert.equal(
      (await w.pull(subscriptionId, { ack: { epoch, sequence: 3 } }))['afterSequence'],
      3,
    );
    for (const sequence of [0, 1, 3, 5]) {
      const read = await w.pull(subscriptionId, { after: { epoch, sequence } });
      assert.deepEqual(
        [read['afterSequence'], sequencesOf(read)],
        [sequence, upTo(5, sequence + 1)],
      );
    }
    assert.equal(
      (
        await w.pull(subscriptionId, { after: { epoch, sequence: 1 }, ack: { epoch, sequence: 4 } })
      )['afterSequence'],
      1,
    );
  });

  test('[pull-max, pull-clamp, pull-has-more] returns as many events as requested, up to at least a hundred; hasMore is exactly "below head"', async (t) => {
    const w = await world(t);
    const { subscriptionId, epoch } = await w.subscribe();
    await Promise.all(upTo(1100).map(() => w.open(1)));
    for (const [maxEvents, least, most] of [
      [1, 1, 1],
      [7, 7, 7],
      [100, 100, 100],
      [5000, 100, 5000],
      [undefined, 1, 100],
    ] as const) {
      const read = await w.pull(subscriptionId, maxEvents === undefined ? {} : { maxEvents });
      const count = read['events'].length as number;
      assert.ok(count >= least && count <= most, `${maxEvents}: ${count}`);
      assert.deepEqual(sequencesOf(read), upTo(count));
    }
    let after = 0;
    for (let more = true; more;) {
      const read: Json = await w.pull(subscriptionId, {
        after: { epoch, sequence: after },
        maxEvents: 275,
      });
      after = lastOf(read);
      more = read['hasMore'];
      assert.equal(more, after < read['head']);
      if (more) assert.equal(read['nextPollMs'], 0);
      else assert.ok(Number.isSafeInteger(read['nextPollMs']) && read['nextPollMs'] >= 0);
    }
    assert.equal(after, 1100);
  });

  test('[pull-max] covers nothing with maxEvents 0 and does not wait, whatever is there and whatever waitMs says', async (t) => {
    const w = await world(t);
    const { subscriptionId, epoch } = await w.subscribe();
    const none = await w.pull(subscriptionId, { maxEvents: 0, waitMs: 20_000 });
    assert.deepEqual([none['events'], none['gaps'], none['hasMore']], [[], undefined, false]);
    await w.open(3);
    await w.pull(subscriptionId);
    const only = await w.pull(subscriptionId, {
      maxEvents: 0,
      waitMs: 20_000,
      ack: { epoch, sequence: 2 },
    });
    assert.deepEqual(
      [
        only['events'],
        only['afterSequence'],
        only['acked'],
        only['head'],
        only['hasMore'],
        only['nextPollMs'],
      ],
      [[], 2, 2, 3, true, 0],
    );
  });

  test('[pull-max] covers nothing with maxEvents 0 in front of a gap', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    await w.open(1, { text: 'x'.repeat(250_000) });
    const none = await w.pull(subscriptionId, { maxEvents: 0 });
    assert.deepEqual(
      [none['events'], none['gaps'], none['afterSequence'], none['hasMore']],
      [[], undefined, 0, true],
    );
    assert.deepEqual((await w.pull(subscriptionId))['gaps'], [
      { from: 1, to: 1, reason: 'too_large' },
    ]);
  });

  test('[pull-bytes] stays within 1 MiB, but always has at least one event', async (t) => {
    const w = await world(t);
    const { subscriptionId, epoch } = await w.subscribe();
    await w.open(12, { text: 'x'.repeat(200_000) });
    let after = 0;
    while (after < 12) {
      const { result, text } = await w.call('triggers/pull', {
        subscriptionId,
        after: { epoch, sequence: after },
        maxEvents: 100,
      });
      assert.ok(Buffer.byteLength(text) <= 1_048_576, `${Buffer.byteLength(text)} bytes`);
      assert.ok(result?.['events'].length >= 1);
      after = lastOf(result ?? {});
    }
  });

  test('[pull-wait] answers a long poll with the next number, or when its time is over', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    let answered = false;
    const first = w.pull(subscriptionId, { waitMs: 20_000 }).finally(() => {
      answered = true;
    });
    await w.get(subscriptionId);
    assert.equal(answered, false);
    await w.open(1);
    assert.deepEqual(sequencesOf(await first), [1]);

    answered = false;
    const begun = w.clock.pending;
    const second = w
      .pull(subscriptionId, {
        waitMs: 20_000,
        after: { epoch: (await w.get(subscriptionId))['epoch'], sequence: 1 },
      })
      .finally(() => {
        answered = true;
      });
    while (w.clock.pending === begun) await new Promise((resolve) => setImmediate(resolve));
    await w.pass(19_000);
    await w.get(subscriptionId);
    assert.equal(answered, false);
    await w.pass(1_000);
    assert.deepEqual(sequencesOf(await second), []);
  });

  test('[pull-wait] does not wait when a number is already there, or without waitMs', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    assert.deepEqual(sequencesOf(await w.pull(subscriptionId)), []);
    await w.open(1);
    assert.deepEqual(sequencesOf(await w.pull(subscriptionId, { waitMs: 20_000 })), [1]);
  });

  test('[cap-levels, rec-two-drains] returns the same numbers with and without a callback, and beside a stream', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const following = (name: string) => ({
      select: [{ name: 'box.opened', arguments: { box: name } }],
    });
    for (const [made, name] of [
      [await w.subscribe(following('a')), 'a'],
      [await w.subscribeTo(endpoint, following('b')), 'b'],
    ] as const) {
      const { subscriptionId, epoch } = made;
      const stream = await w.stream({ subscriptionId });
      await stream.next();
      await w.open(2, { box: name });
      const streamed = [await stream.next()];
      while (lastOf(streamed.at(-1)!) < 2) streamed.push(await stream.next());
      const pulled = await w.pull(subscriptionId, { after: { epoch, sequence: 0 } });
      assert.deepEqual(
        pulled['events'],
        streamed.flatMap(({ events }) => events),
      );
      stream.close();
    }
    const delivered: Json[] = [];
    for (let n = 1; delivered.length < 2; n += 1)
      delivered.push(...(await endpoint.nth(n)).delivery['events']);
    assert.deepEqual(
      delivered.map(({ sequence }) => sequence),
      [1, 2],
    );
  });
});
