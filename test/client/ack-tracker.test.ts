/**
 * Tests the acknowledgement tracker by itself: what it saves and sends, in which order, and what a
 * restart of the log makes void.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { Position } from '../../spec-schema/draft/schema.ts';
import { AckTracker } from '../../src/client/ack-tracker.ts';
import { manualClock } from '../../src/testing/index.ts';

const at = (sequence: number, epoch = 'a'): Position => ({ epoch, sequence });

/** A tracker whose saves and sends the test completes. */
function tracker(confirmed = 0, retryMs: number | null = 1000) {
  const clock = manualClock();
  const log: string[] = [];
  const waiting: { resolve(): void; reject(error: unknown): void }[] = [];
  const step = (name: string) => (position: Position) => {
    log.push(`${name} ${position.epoch}${position.sequence}`);
    return new Promise<void>((resolve, reject) => waiting.push({ resolve, reject }));
  };
  const acks = new AckTracker(at(0), confirmed, {
    clock,
    save: step('save'),
    send: step('send'),
    onFailure: () => retryMs,
    delayMs: 50,
    batch: 10,
  });
  return {
    acks,
    clock,
    log,
    async done() {
      waiting.shift()!.resolve();
      await clock.run(0);
    },
    async failed() {
      waiting.shift()!.reject(new Error('no luck'));
      await clock.run(0);
    },
  };
}

describe('an acknowledgement', () => {
  test('is saved before it is sent, and collects what is finished within the delay', async () => {
    const { acks, clock, log, done } = tracker();
    acks.finish(at(1));
    await clock.run(49);
    acks.finish(at(2));
    assert.deepEqual(log, []);
    await clock.run(1);
    assert.deepEqual(log, ['save a2']);
    await done();
    assert.deepEqual(log, ['save a2', 'send a2']);
    acks.finish(at(3));
    await clock.run(1000);
    assert.equal(log.length, 2, 'one attempt at a time');
    await done();
    await clock.run(50);
    assert.deepEqual(log.slice(2), ['save a3']);
  });

  test('starts without the delay when a batch is finished', () => {
    const { acks, log } = tracker();
    acks.finish(at(9));
    assert.deepEqual(log, []);
    acks.finish(at(10));
    assert.deepEqual(log, ['save a10']);
  });

  test('is not sent when the log went back or got a new epoch while the position was being saved', async () => {
    for (const restart of [at(2), at(0, 'b')]) {
      const { acks, clock, log, done } = tracker();
      acks.finish(at(10));
      acks.restart(restart);
      await done();
      await clock.run(5000);
      assert.deepEqual(log, ['save a10']);
      assert.deepEqual(acks.done, restart);
    }
  });

  test('does not confirm positions of the log that was left while it was being sent', async () => {
    const { acks, clock, log, done } = tracker();
    acks.finish(at(10));
    await done();
    acks.restart(at(2));
    acks.finish(at(3));
    const waits = acks.confirmed(at(3));
    await done();
    await clock.run(50);
    assert.deepEqual(log.slice(2), ['save a3']);
    await done();
    await done();
    await waits;
  });

  test('is repeated after the pause that the failure asks for', async () => {
    const { acks, clock, log, done, failed } = tracker();
    const waits = acks.acknowledge(at(10));
    await done();
    await failed();
    await clock.run(999);
    assert.equal(log.length, 2);
    await clock.run(1);
    assert.deepEqual(log.slice(2), ['save a10']);
    await done();
    await done();
    await waits;
  });

  test('rejects its callers when a retry cannot help', async () => {
    const { acks, clock, done, failed } = tracker(0, null);
    const waits = assert.rejects(acks.acknowledge(at(10)), { message: 'no luck' });
    await done();
    await failed();
    await waits;
    assert.equal(clock.pending, 0);
  });
});
