/**
 * Tests how a receiver applies deliveries: whatever a network does to them, numbers are applied in
 * order and once, or a missing number is reported.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import fc from 'fast-check';
import {
  advance,
  begin,
  lastCovered,
  move,
  receive,
  type AppliedEntry,
  type Covering,
  type Cursor,
} from '../../../src/protocol/core/apply.ts';

interface Numbered {
  readonly sequence: number;
}
const LOG = 'log-1';
const EPOCH = 'epoch-1';
const event = (sequence: number): Numbered => ({ sequence });

function delivery(
  after: number,
  events: number[],
  gaps: [number, number][] = [],
  epoch = EPOCH,
  subscriptionId = LOG,
): Covering<Numbered> {
  return {
    subscriptionId,
    epoch,
    afterSequence: after,
    acked: 0,
    events: events.map(event),
    gaps: gaps.map(([from, to]) => ({ from, to, reason: 'retention' as const })),
  };
}
const at = (sequence: number, past: string[] = []): Cursor => ({
  subscriptionId: LOG,
  epoch: EPOCH,
  sequence,
  past,
});

/** The first number of an entry. */
function firstOf(entry: AppliedEntry<Numbered>): number {
  if (entry.type === 'event') return entry.event.sequence;
  return entry.type === 'gap' ? entry.gap.from : entry.from;
}

/** Describes a result as text. */
function summary(cursor: Cursor, one: Covering<Numbered>): string {
  const received = receive(cursor, one);
  switch (received.kind) {
    case 'apply':
      return (
        received.entries
          .map((entry) =>
            entry.type === 'event'
              ? `${entry.event.sequence}`
              : entry.type === 'gap'
                ? `${entry.gap.from}-${entry.gap.to}`
                : `elsewhere ${entry.from}-${entry.to}`,
          )
          .join(' ') || 'nothing new'
      );
    case 'hole':
      return `hole ${received.expected}..${received.after}`;
    case 'moved':
      return `moved to ${received.cursor.epoch}:${received.cursor.sequence}${received.replaced ? ' replaced' : ''}`;
    case 'unsound':
      return `unsound at ${received.at}`;
    case 'stale':
      return 'stale';
  }
}

describe('receive', () => {
  const cases: readonly [string, Cursor, Covering<Numbered>, string][] = [
    ['the next numbers', at(3), delivery(3, [4, 5]), '4 5'],
    ['[recv-duplicate] known numbers are dropped', at(4), delivery(2, [3, 4, 5]), '5'],
    ['[recv-duplicate] every number is known', at(9), delivery(2, [3, 4, 5]), 'nothing new'],
    ['a heartbeat', at(3), delivery(3, []), 'nothing new'],
    ['an old heartbeat', at(3), delivery(0, []), 'nothing new'],
    ['[recv-missing] one number missing', at(3), delivery(4, [5]), 'hole 4..4'],
    ['[recv-missing] a heartbeat that reveals a lost tail', at(3), delivery(8, []), 'hole 4..8'],
    [
      '[recv-elsewhere] numbers that another reader has acknowledged, then events',
      at(3),
      { ...delivery(5, [6, 7]), acked: 5 },
      'elsewhere 4-5 6 7',
    ],
    [
      '[recv-elsewhere] a heartbeat after numbers that another reader has acknowledged',
      at(3),
      { ...delivery(5, []), acked: 9 },
      'elsewhere 4-5',
    ],
    [
      '[recv-missing] missing numbers of which only some are acknowledged',
      at(3),
      { ...delivery(5, [6]), acked: 4 },
      'hole 4..5',
    ],
    [
      '[recv-duplicate] acknowledged numbers that this reader has',
      at(5),
      { ...delivery(3, [4, 5, 6]), acked: 3 },
      '6',
    ],
    [
      'events between gaps',
      at(0),
      delivery(
        0,
        [2, 5],
        [
          [1, 1],
          [3, 4],
          [6, 9],
        ],
      ),
      '1-1 2 3-4 5 6-9',
    ],
    ['a gap that is partly known', at(4), delivery(0, [1], [[2, 8]]), '5-8'],
    ['a delivery that leaves a number out', at(0), delivery(0, [1, 3]), 'unsound at 2'],
    ['a number twice', at(0), delivery(0, [1, 1]), 'unsound at 2'],
    ['numbers backwards', at(0), delivery(0, [2, 1]), 'unsound at 1'],
    [
      'a number that is both an event and in a gap',
      at(0),
      delivery(0, [1, 2], [[2, 2]]),
      'unsound at 3',
    ],
    ['a gap that ends before it begins', at(0), delivery(0, [], [[1, 0]]), 'unsound at 1'],
    [
      'another epoch, from its beginning',
      at(7),
      delivery(0, [1], [], 'epoch-2'),
      'moved to epoch-2:0',
    ],
    [
      'another epoch, not from its beginning',
      at(7),
      delivery(5, [6], [], 'epoch-2'),
      'moved to epoch-2:0',
    ],
    [
      '[recv-left-epoch] an epoch that the receiver has left',
      at(7, ['epoch-0']),
      delivery(8, [9], [], 'epoch-0'),
      'stale',
    ],
    [
      'another log under the same key, from the position of its sender',
      at(7),
      delivery(2, [3], [], 'epoch-9', 'log-2'),
      'moved to epoch-9:2 replaced',
    ],
    ['another log with the same epoch', at(7), delivery(7, [8], [], EPOCH, 'log-2'), 'stale'],
  ];
  for (const [name, cursor, one, expected] of cases) {
    test(`${name} → ${expected}`, () => {
      assert.equal(summary(cursor, one), expected);
    });
  }

  test('[recv-duplicate, recv-missing] applies duplicates, reordered and overlapping deliveries in order and once, or reports a missing number', () => {
    const range = fc
      .tuple(fc.nat(30), fc.nat(8), fc.nat(3))
      .map(([after, length, gap]): Covering<Numbered> => {
        const gapFrom = after + 1 + Math.floor(length / 2);
        const numbers = Array.from({ length }, (_, index) => after + 1 + index).filter(
          (n) => n < gapFrom || n >= gapFrom + gap,
        );
        const last = Math.max(after + length, gapFrom + gap - 1);
        const tail = Array.from(
          { length: Math.max(0, last - after - length) },
          (_, index) => after + length + 1 + index,
        ).filter((n) => n < gapFrom || n >= gapFrom + gap);
        return delivery(
          after,
          [...numbers, ...tail],
          gap > 0 ? [[gapFrom, gapFrom + gap - 1]] : [],
        );
      });
    fc.assert(
      fc.property(fc.array(range, { maxLength: 60 }), (deliveries) => {
        let cursor = at(0);
        for (const one of deliveries) {
          const received = receive(cursor, one);
          if (one.afterSequence > cursor.sequence) {
            assert.equal(received.kind, 'hole');
            continue;
          }
          assert.equal(received.kind, 'apply');
          for (const entry of received.kind === 'apply' ? received.entries : []) {
            assert.equal(firstOf(entry), cursor.sequence + 1, 'the very next number');
            cursor = advance(cursor, entry.position.sequence);
          }
          assert.ok(cursor.sequence >= lastCovered(one), 'everything covered has been taken');
        }
      }),
    );
  });

  test('applies no number twice and none out of order, whatever a delivery contains', () => {
    const small = fc.integer({ min: 0, max: 12 });
    const anything = fc.record({
      afterSequence: small,
      acked: small,
      events: fc.array(small.map(event), { maxLength: 6 }),
      gaps: fc.array(
        fc.record({ from: small, to: small, reason: fc.constant('retention' as const) }),
        { maxLength: 3 },
      ),
      epoch: fc.constantFrom(EPOCH, 'epoch-2', 'epoch-3'),
      subscriptionId: fc.constantFrom(LOG, LOG, 'log-2'),
    });
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 40 }), (deliveries) => {
        let cursor = at(0);
        const left = new Set<string>();
        for (const one of deliveries) {
          let received = receive(cursor, one);
          if (received.kind === 'moved') {
            assert.ok(
              !left.has(received.cursor.epoch),
              'an epoch that was left is not entered again',
            );
            left.add(cursor.epoch);
            cursor = received.cursor;
            received = receive(cursor, one);
            assert.notEqual(received.kind, 'moved');
          }
          for (const entry of received.kind === 'apply' ? received.entries : []) {
            assert.equal(firstOf(entry), cursor.sequence + 1);
            if (entry.type === 'elsewhere') assert.ok(entry.to <= one.acked);
            assert.ok(entry.position.sequence > cursor.sequence);
            cursor = advance(cursor, entry.position.sequence);
          }
        }
      }),
    );
  });
});

describe('cursors', () => {
  test('advancing never moves a cursor back', () => {
    assert.equal(advance(at(5), 3).sequence, 5);
    assert.equal(advance(at(5), 6).sequence, 6);
  });

  test('[recv-left-epoch] a cursor remembers the epochs that were left, latest first, up to 16', () => {
    let cursor = begin({ subscriptionId: LOG, epoch: 'epoch-0', sequence: 4 });
    for (let epoch = 1; epoch <= 20; epoch++)
      cursor = move(cursor, { subscriptionId: LOG, epoch: `epoch-${epoch}`, sequence: 0 });
    assert.deepEqual(
      cursor.past,
      Array.from({ length: 16 }, (_, at) => `epoch-${19 - at}`),
    );
  });
});
