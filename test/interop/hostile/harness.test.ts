/** Tests the harness itself: a correct peer passes, and every forbidden outcome is detected. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { Item } from '../../../src/client/options.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { eventOf, OTHER_EPOCH, EPOCH } from './peer.ts';
import {
  BOTH_ERAS,
  violations,
  checkRow,
  runRow,
  testRows,
  TOKEN,
  within,
  type Row,
} from './run-row.ts';

const honest: Row = { name: 'a peer that keeps the protocol', eras: BOTH_ERAS, always: 'all' };

describe('the harness', { concurrent: true }, () => {
  testRows([honest]);

  test('a row that expects a fault of a correct peer fails', async () => {
    const row: Row = { ...honest, always: 'peer_misbehaved hole' };
    const transcript = await runRow({ ...row, always: 'all' }, 'stream', '2026-07-28');
    assert.throws(() => checkRow(row, transcript, false), assert.AssertionError);
  });

  test('a row that expects no fault of a faulty peer fails', async () => {
    const row: Row = { ...honest, delivery: (delivery) => ({ ...delivery, head: 0 }) };
    const transcript = await runRow(row, 'stream', '2026-07-28');
    assert.throws(() => checkRow(row, transcript, false), assert.AssertionError);
  });

  test('a hang is a failure', async () => {
    await assert.rejects(within(new Promise(() => undefined), 10), /hangs/);
  });

  const event = (sequence: number, epoch = EPOCH, eventPrefix = ''): Item => ({
    type: 'event',
    event: eventOf(sequence, eventPrefix),
    position: { epoch, sequence },
    ack: async () => undefined,
  });
  const moved: Item = {
    type: 'epoch',
    previous: { epoch: EPOCH, sequence: 1 },
    current: { epoch: OTHER_EPOCH, sequence: 0 },
  };
  const gap: Item = {
    type: 'gap',
    gap: { from: 2, to: 3, reason: 'retention' },
    position: { epoch: EPOCH, sequence: 3 },
    ack: async () => undefined,
  };
  const nothing = { items: [], error: undefined, waits: [], peer: { said: [] } };
  const table: readonly [string, Partial<Parameters<typeof violations>[0]>, number][] = [
    ['nothing', {}, 0],
    ['in order, over a gap', { items: [event(1), gap, event(4)] }, 0],
    ['a new epoch that is reported', { items: [event(1), moved, event(1, OTHER_EPOCH, 'x')] }, 0],
    [
      'what was read is acknowledged',
      { items: [event(1)], peer: { said: [{ epoch: EPOCH, sequence: 1, sent: 2 }] } },
      0,
    ],
    ['a hole', { items: [event(1), event(3)] }, 1],
    ['backwards', { items: [event(2), event(1)] }, 1],
    ['twice', { items: [event(1), event(1)] }, 2],
    ['the same event in another epoch', { items: [event(1), moved, event(1, OTHER_EPOCH)] }, 1],
    ['a new epoch that is not reported', { items: [event(1), event(1, OTHER_EPOCH, 'x')] }, 1],
    ['an event inside a gap', { items: [event(1), gap, event(3)] }, 1],
    [
      'acknowledged, not sent',
      { items: [event(1), event(2)], peer: { said: [{ epoch: EPOCH, sequence: 2, sent: 1 }] } },
      1,
    ],
    [
      'acknowledged, not read',
      { items: [event(1)], peer: { said: [{ epoch: EPOCH, sequence: 2, sent: 2 }] } },
      1,
    ],
    ['an error without a type', { error: new TypeError('x is not a function') }, 1],
    ['an untyped error while waiting', { waits: [{ error: 'no', delayMs: 1 }] }, 1],
    [
      'the token in a cause',
      { error: new LocalError('unreachable', 'no', { cause: new Error(`Bearer ${TOKEN}`) }) },
      1,
    ],
  ];
  for (const [name, change, expected] of table) {
    test(`${name} → ${expected} complaints`, () =>
      assert.equal(violations({ ...nothing, ...change }).length, expected));
  }
});
