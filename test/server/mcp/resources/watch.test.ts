/**
 * Tests a watch on one log over an engine that the test controls: its renewals, its position at the
 * start, and what it leaves behind when it ends.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { Position, Subscription } from '../../../../spec-schema/draft/schema.ts';
import { forbidden, LocalError } from '../../../../src/protocol/wire/errors.ts';
import { silentLog } from '../../../../src/server/engine/ports.ts';
import type { LogListener } from '../../../../src/server/engine/verbs.ts';
import {
  ListenerRegistry,
  Watch,
  type WatchOptions,
} from '../../../../src/server/mcp/resources/watch.ts';
import { manualClock } from '../../../../src/testing/index.ts';

const RENEW_AFTER_MS = 600_000;
const EPOCH = 'epoch-1';

/** A log of ten events, of which four are acknowledged, and a caller that wants to watch it. */
function logOf(options: { readonly implicit?: boolean; readonly seen?: Position } = {}) {
  const clock = manualClock();
  const log = {
    /** Rejects the next searches for the log. */
    failure: null as Error | null,
    searches: 0,
    told: [] as string[],
    listener: null as LogListener | null,
    /** Awaited before the engine watches the log. */
    before: async () => undefined as void,
    head: 10,
  };
  const engine = {
    clock,
    watch: async (_caller: unknown, _id: string, listener: LogListener) => {
      await log.before();
      log.listener = listener;
      return () => void (log.listener = null);
    },
    pull: async () => ({ head: log.head }),
  } as unknown as WatchOptions['engine'];
  const watchOptions: WatchOptions = {
    engine,
    caller: { principal: 'ann' },
    find: async () => {
      log.searches += 1;
      if (log.failure !== null) throw log.failure;
      return {
        subscriptionId: 'sub_a',
        epoch: EPOCH,
        acked: 4,
        renewAfterMs: RENEW_AFTER_MS,
      } as Subscription;
    },
    implicit: options.implicit ?? false,
    seen: options.seen ?? null,
    listeners: new ListenerRegistry(),
    feedOptions: { notify: {}, log: silentLog },
  };
  return {
    clock,
    log,
    open: () =>
      Watch.open(watchOptions, {
        notify: () => log.told.push('news'),
        ended: (reason) => log.told.push(reason),
      }),
    pass: (ms: number) => clock.run(ms),
  };
}

describe('a watch', () => {
  test('renews an implicit subscription again and again, and no other subscription', async () => {
    for (const implicit of [true, false]) {
      const { log, open, pass } = logOf({ implicit });
      const watch = await open();
      for (let round = 0; round < 3; round += 1) await pass(RENEW_AFTER_MS);
      assert.equal(log.searches, implicit ? 4 : 1);
      watch.close();
    }
  });

  test('repeats a renewal that failed after 60 s, and goes on', async () => {
    const { log, open, pass } = logOf({ implicit: true });
    const watch = await open();
    log.failure = new LocalError('store_failed', 'no luck');
    await pass(RENEW_AFTER_MS);
    assert.equal(log.searches, 2);
    await pass(59_999);
    assert.equal(log.searches, 2);
    log.failure = null;
    await pass(1);
    assert.equal(log.searches, 3);
    await pass(RENEW_AFTER_MS);
    assert.equal(log.searches, 4);
    assert.equal(watch.closed, false);
    watch.close();
  });

  test('ends as revoked, without a notification, when a renewal shows that the permission is lost', async () => {
    const { clock, log, open, pass } = logOf({
      implicit: true,
      seen: { epoch: EPOCH, sequence: 10 },
    });
    const watch = await open();
    log.failure = forbidden({ kind: 'authentication' });
    await pass(RENEW_AFTER_MS);
    assert.deepEqual([log.told, watch.closed, log.listener], [['revoked'], true, null]);
    assert.equal(clock.pending, 0);
  });

  test('does not announce what its position declares as read, unless that position is of another epoch', async () => {
    for (const [seen, told] of [
      [{ epoch: EPOCH, sequence: 10 }, []],
      [{ epoch: EPOCH, sequence: 9 }, ['news']],
      [{ epoch: 'epoch-0', sequence: 10 }, ['news']],
    ] as const) {
      const { log, open, pass } = logOf({ seen });
      const watch = await open();
      await pass(0);
      assert.deepEqual(log.told, told);
      watch.close();
    }
  });

  test('leaves no listener and no timer behind when it is closed or its log ends', async () => {
    const closed = logOf({ implicit: true });
    (await closed.open()).close();
    assert.deepEqual([closed.log.listener, closed.clock.pending], [null, 0]);

    const over = logOf({ implicit: true });
    await over.open();
    await over.pass(0);
    over.log.listener!.ended('expired');
    assert.deepEqual(over.log.told, ['news', 'news', 'expired']);
    assert.deepEqual([over.log.listener, over.clock.pending], [null, 0]);
  });

  test('that loses the permission while it is being opened does not listen', async () => {
    const { log, open, pass, clock } = logOf({ implicit: true });
    let ready = (): void => undefined;
    log.before = () =>
      new Promise((resolve) => {
        ready = resolve;
      });
    const opening = open();
    await pass(0);
    log.failure = forbidden({ kind: 'authentication' });
    await pass(RENEW_AFTER_MS);
    ready();
    assert.equal((await opening).closed, true);
    assert.deepEqual([log.told, log.listener, clock.pending], [['revoked'], null, 0]);
  });
});
