/**
 * Tests the assembly of deliveries from log entries: every number is an event or in a gap, and a
 * missing number is an error.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { begin, receive } from '../../../src/protocol/core/apply.ts';
import { assemble, type GapReason, type LogItem } from '../../../src/protocol/core/index.ts';

/**
 * Notation: `5` is an event, `5x` an event whose data is gone, `5r` a rejected gap, `5d` a redacted
 * gap.
 */
const REASONS: Readonly<Record<string, GapReason>> = {
  r: 'rejected',
  d: 'redacted',
  a: 'skipped',
  l: 'too_large',
};
function entries(text: string): LogItem[] {
  return text
    .split(' ')
    .filter(Boolean)
    .map((word) => {
      const sequence = Number.parseInt(word, 10);
      const mark = word.slice(String(sequence).length);
      return { sequence, gap: REASONS[mark] ?? null, encoded: mark === '' ? '0123456789' : null };
    });
}
const ROOMY = {
  maxEvents: 100,
  maxBytes: 1000,
  sizeOf: (event: { encoded: string }) => event.encoded.length,
};

function spell(
  after: number,
  text: string,
  floor: number,
  head: number,
  limits: Partial<typeof ROOMY> & { atLeastOne?: boolean } = {},
): string {
  const { events, gaps, last } = assemble(after, entries(text), floor, head, {
    ...ROOMY,
    ...limits,
  });
  return [
    ...events.map(({ sequence }) => `${sequence}`),
    ...gaps.map(({ from, to, reason }) => `${from}-${to}:${reason}`),
    `last ${last}`,
  ].join(' ');
}

describe('assembling', () => {
  const rows: readonly (readonly [why: string, result: string, args: Parameters<typeof spell>])[] =
    [
      ['plain events', '3 4 5 last 5', [2, '3 4 5', 0, 5]],
      ['nothing new', 'last 5', [5, '', 0, 5]],
      ['a read that was cut short', '3 last 3', [2, '3', 0, 9]],
      ['no entry on disk yet', 'last 2', [2, '', 0, 9]],
      ['below the floor', '4 5 1-3:retention last 5', [0, '4 5', 3, 5]],
      ['all trimmed', '3-5:retention last 5', [2, '', 5, 5]],
      ['entries being trimmed are ignored', '4 1-3:retention last 4', [0, '2 3 4', 3, 4]],
      ['entries of a later state are ignored', '1 2 last 2', [0, '1 2 3', 0, 2]],
      ['entries at or below `after` are ignored', '3 last 3', [2, '1 2 3', 0, 3]],
      ['gaps among events', '1 4 2-3:rejected last 4', [0, '1 2r 3r 4', 0, 4]],
      [
        'adjacent gaps of different reasons stay separate',
        '1 2-2:rejected 3-3:redacted last 3',
        [0, '1 2r 3d', 0, 3],
      ],
      [
        'gaps of one reason that are not adjacent stay separate',
        '2 1-1:skipped 3-3:skipped last 3',
        [0, '1a 2 3a', 0, 3],
      ],
      ['an event whose data is gone', '1 3 2-2:retention last 3', [0, '1 2x 3', 0, 3]],
      ['a retention gap joins the floor', '4 1-3:retention last 4', [0, '3x 4', 2, 4]],
      [
        'at most maxEvents, gaps not counted',
        '1 3 2-2:too_large 4-4:rejected last 4',
        [0, '1 2l 3 4r 5', 0, 5, { maxEvents: 2 }],
      ],
      ['at most maxBytes', '1 2 last 2', [0, '1 2 3', 0, 3, { maxBytes: 25 }]],
      ['a single event of any size', '1 last 1', [0, '1 2', 0, 2, { maxBytes: 5 }]],
      ['unless it has to wait', 'last 0', [0, '1 2', 0, 2, { maxBytes: 5, atLeastOne: false }]],
      [
        'but a gap before it is sent',
        '1-1:rejected last 1',
        [0, '1r 2', 0, 2, { maxBytes: 5, atLeastOne: false }],
      ],
      ['no room for any event', 'last 0', [0, '1 2', 0, 2, { maxEvents: 0 }]],
      ['a position beyond head', 'last 7', [7, '', 0, 5]],
    ];
  for (const [why, result, args] of rows)
    test(`[dlv-coverage gap-retention-announced pos-old-valid] ${why}: after ${args[0]} "${args[1]}" floor ${args[2]} head ${args[3]} → ${result}`, () =>
      assert.equal(spell(...args), result));

  test('[log-no-silent-loss] a missing number that no gap explains throws, wherever it is', () => {
    for (const [after, text, floor, head] of [
      [0, '2', 0, 2],
      [0, '1 3', 0, 3],
      [0, '5', 3, 5],
      [2, '3 4 6', 0, 6],
      [0, '1 2r 4', 0, 4],
      [0, '1 1', 0, 3],
    ] as const) {
      assert.throws(() => spell(after, text, floor, head), { code: 'log_hole' }, text);
    }
  });

  test('[dlv-coverage] property: any log, floor, limits and position give a delivery that covers its range', () => {
    const mark = fc.constantFrom('', '', '', 'x', 'r', 'd', 'a', 'l');
    fc.assert(
      fc.property(
        fc.array(mark, { maxLength: 30 }),
        fc.nat(30),
        fc.nat(30),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 60 }),
        (marks, floorAt, afterAt, maxEvents, maxBytes) => {
          const head = marks.length;
          const floor = Math.min(floorAt, head);
          const after = Math.min(afterAt, head);
          const text = marks
            .map((one, at) => `${at + 1}${one}`)
            .slice(Math.max(after, floor))
            .join(' ');
          const batch = assemble(after, entries(text), floor, head, {
            ...ROOMY,
            maxEvents,
            maxBytes,
          });
          const log = { subscriptionId: 'sub_test', epoch: 'epoch' };
          const received = receive(begin({ ...log, sequence: after }), {
            ...log,
            afterSequence: after,
            acked: 0,
            ...batch,
          });
          assert.equal(
            received.kind,
            'apply',
            'a receiver finds every number of the range, in order',
          );
          assert.equal(
            received.kind === 'apply'
              ? (received.entries.at(-1)?.position.sequence ?? after)
              : null,
            batch.last,
          );
          assert.ok(batch.events.length <= maxEvents);
          assert.ok(batch.events.length <= 1 || batch.events.length * 10 <= maxBytes);
          assert.ok(after === head || batch.last > after, 'every delivery makes progress');
          for (const { sequence } of batch.events)
            assert.ok(sequence > floor && marks[sequence - 1] === '');
        },
      ),
      { numRuns: 2000 },
    );
  });
});
