/**
 * Tests when a change notification is sent: once for a burst, again for what came after the last
 * read, and at growing intervals while nobody reads.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { ChangeNotifier } from '../../../../src/server/mcp/resources/change-notifier.ts';
import { manualClock } from '../../../../src/testing/index.ts';

/** A notifier over a log whose head the test moves, on a clock that the test moves. */
function notifierOver(seen = 0) {
  const clock = manualClock();
  const log = { head: seen as number | null, notifications: 0 };
  const notifier = new ChangeNotifier({
    clock,
    head: async () => log.head,
    notify: () => void (log.notifications += 1),
    seen,
    quietMs: 1000,
    remindMs: 30_000,
  });
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  };
  return {
    log,
    notifier,
    settle,
    async news(head: number | null) {
      log.head = head;
      notifier.changed();
      await settle();
    },
    async pass(ms: number) {
      clock.advance(ms);
      await settle();
    },
  };
}

describe('a change notifier', () => {
  test('notifies once for a burst, and once more for what came after it', async () => {
    const { log, news, pass } = notifierOver();
    await news(1);
    assert.equal(log.notifications, 1);
    for (const head of [2, 3, 4]) await news(head);
    assert.equal(log.notifications, 1);
    await pass(999);
    assert.equal(log.notifications, 1);
    await pass(1);
    assert.equal(log.notifications, 2);
    await pass(5000);
    assert.equal(log.notifications, 2);
  });

  test('notifies again at once after a read, but not for what was read', async () => {
    const { log, notifier, news, pass, settle } = notifierOver();
    await news(1);
    await news(2);
    notifier.read(2);
    await settle();
    await pass(2000);
    assert.equal(log.notifications, 1);
    await news(3);
    assert.equal(log.notifications, 2);
  });

  test('notifies for what came between the read and its report', async () => {
    const { log, notifier, news, settle } = notifierOver();
    await news(1);
    await news(2);
    notifier.read(1);
    await settle();
    assert.equal(log.notifications, 2);
  });

  test('does not notify when there is nothing new, or nothing can be sent', async () => {
    const { log, news } = notifierOver(7);
    await news(7);
    await news(null);
    assert.equal(log.notifications, 0);
    await news(8);
    assert.equal(log.notifications, 1);
  });

  test('reminds at growing intervals until a client reads', async () => {
    const { log, notifier, news, pass } = notifierOver();
    await news(1);
    await pass(30_000);
    assert.equal(log.notifications, 2);
    await pass(59_999);
    assert.equal(log.notifications, 2);
    await pass(1);
    assert.equal(log.notifications, 3);
    notifier.read(1);
    await pass(10 * 3_600_000);
    assert.equal(log.notifications, 3);
  });

  test('reminds at least once an hour, however long nobody reads', async () => {
    const { log, news, pass } = notifierOver();
    await news(1);
    for (let hour = 0; hour < 24; hour += 1) await pass(3_600_000);
    const before = log.notifications;
    for (let hour = 0; hour < 24; hour += 1) await pass(3_600_000);
    assert.equal(log.notifications - before, 24);
  });

  test('is silent once it is closed, whatever was pending', async () => {
    const { log, notifier, news, pass, settle } = notifierOver();
    await news(1);
    await news(2);
    notifier.close();
    await pass(3_600_000);
    log.head = 3;
    notifier.changed();
    await settle();
    assert.equal(log.notifications, 1);
  });
});
