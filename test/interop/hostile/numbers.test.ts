/** Tests peers whose numbers are wrong, in every way that a number can be wrong. */
import { describe } from 'vitest';
import { eventOf, OTHER_EPOCH, OTHER_ID, type Json } from './peer.ts';
import { ALL, testRows, type Row } from './run-row.ts';

/** The first delivery of every stream, and every result of a pull, with other members. */
const first = (change: (delivery: Json) => object): Pick<Row, 'delivery'> => ({
  delivery: (delivery, n) => (n === 1 ? { ...delivery, ...change(delivery) } : delivery),
});
const each = (change: (delivery: Json) => object): Pick<Row, 'delivery'> => ({
  delivery: (delivery) => ({ ...delivery, ...change(delivery) }),
});
const events = (...sequences: Json[]): Json => sequences.map((sequence) => eventOf(sequence));
const gap = (from: Json, to: Json, reason: Json = 'retention'): object => ({ from, to, reason });

/** A pull reports an invalid result; a stream reports an invalid delivery. */
const shapeless: readonly [string, object][] = [
  ['afterSequence is negative', { afterSequence: -1 }],
  ['afterSequence is 2^53', { afterSequence: 2 ** 53, head: 2 ** 53 }],
  ['afterSequence is a string', { afterSequence: '0' }],
  ['afterSequence is missing', { afterSequence: undefined }],
  ['sequence 0', { events: events(0, 1) }],
  ['a negative sequence', { events: events(-1) }],
  ['a sequence that is a string', { events: events('1') }],
  ['a sequence that is 1.5', { events: events(1.5) }],
  ['a sequence that is 2^53', { events: events(2 ** 53) }],
  ['a sequence that is null', { events: events(null) }],
  ['head is a string', { head: '6' }],
  ['head is missing', { head: undefined }],
  ['acked is negative', { acked: -1 }],
  ['events is an object', { events: { 0: eventOf(1) } }],
  ['an event that is null', { events: [null] }],
  ['an event without an eventId', { events: [{ ...eventOf(1), eventId: undefined }] }],
  ['an event without data', { events: [{ ...eventOf(1), data: undefined }] }],
  [
    'an event with an impossible timestamp',
    { events: [{ ...eventOf(1), timestamp: 'yesterday' }] },
  ],
  ['a gap from 0', { events: [], gaps: [gap(0, 2)] }],
  ['a gap without an end', { events: [], gaps: [gap(1, null)] }],
  ['a gap whose reason is a sentence', { events: [], gaps: [gap(1, 2, 'It was lost.')] }],
  ['an epoch that is a number', { epoch: 1 }],
  ['an etag that is a number', { etag: 7 }],
  ['expiresAt is null', { expiresAt: null }],
  ['expiresAt without a time', { expiresAt: '2030-01-01' }],
];

const unsound: readonly [string, (delivery: Json) => object][] = [
  ['numbers backwards', () => ({ events: events(2, 1) })],
  ['a number doubled', () => ({ events: events(1, 1, 2) })],
  ['a hole', () => ({ events: events(1, 3) })],
  ['the second number first', () => ({ events: events(2) })],
  ['head below what is sent', () => ({ head: 1 })],
  ['acked beyond head', () => ({ acked: 99 })],
  ['a gap over an event', () => ({ gaps: [gap(1, 2)] })],
  ['a gap that ends in an event', () => ({ events: events(3), gaps: [gap(1, 3)] })],
  ['overlapping gaps', () => ({ events: [], gaps: [gap(1, 2), gap(2, 3)] })],
  ['gaps in the wrong order', () => ({ events: [], gaps: [gap(3, 4), gap(1, 2)] })],
  ['a gap that ends before it starts', () => ({ events: events(1), gaps: [gap(2, 1)] })],
  ['a gap beyond head', () => ({ events: [], gaps: [gap(1, 7)] })],
  ['a gap up to 2^53 - 1', () => ({ events: [], gaps: [gap(1, Number.MAX_SAFE_INTEGER)] })],
];

describe('numbers', { concurrent: true }, () => {
  testRows([
    ...shapeless.flatMap(([name, members]): Row[] => [
      { name, drains: ['stream'], ...first(() => members), always: 'peer_misbehaved delivery' },
      { name, drains: ['pull'], ...first(() => members), always: 'peer_misbehaved result' },
    ]),
    ...unsound.map(([name, change]): Row => ({
      name,
      ...first(change),
      always: 'peer_misbehaved delivery',
    })),
    {
      name: 'begins after the last number read',
      proves: 'recv-missing',
      ...first(() => ({ afterSequence: 3, events: events(4, 5) })),
      always: 'peer_misbehaved hole',
    },
    {
      name: 'begins after the last number read and is empty',
      proves: 'recv-missing',
      ...first(() => ({ afterSequence: 3, events: [] })),
      always: 'peer_misbehaved hole',
    },
    {
      name: 'a delivery of another subscription',
      ...first(() => ({ subscriptionId: OTHER_ID })),
      always: 'peer_misbehaved stale',
    },
    {
      name: 'a delivery of another subscription in another epoch',
      ...first(() => ({ subscriptionId: OTHER_ID, epoch: OTHER_EPOCH })),
      always: 'peer_misbehaved stale',
    },
    {
      name: 'a delivery under another key',
      ...first(() => ({ key: 'another' })),
      always: 'peer_misbehaved stale',
    },
    {
      name: 'an empty delivery with a higher head',
      ...each(() => ({ afterSequence: 0, events: [] })),
      always: 'peer_misbehaved stalled',
    },
    {
      name: 'hasMore for events that never come',
      drains: ['pull'],
      ...each(() => ({ events: [], hasMore: true, nextPollMs: 0 })),
      always: 'peer_misbehaved stalled',
    },
    {
      name: 'the same delivery forever, with hasMore',
      drains: ['pull'],
      ...each(() => ({ afterSequence: 0, events: events(1, 2), hasMore: true, nextPollMs: 0 })),
      always: 'peer_misbehaved stalled',
      read: ['1', '2'],
      healed: ALL,
    },
    {
      name: 'more than the window',
      drains: ['stream'],
      options: { window: { events: 1 } },
      ...first(() => ({ events: events(1, 2) })),
      always: 'peer_misbehaved window',
    },
    {
      name: 'hasMore is always the opposite of the truth',
      drains: ['pull'],
      ...each(({ hasMore }) => ({ hasMore: !hasMore, nextPollMs: 0 })),
      always: 'peer_misbehaved stalled',
      read: ALL,
    },

    {
      name: 'every delivery twice',
      proves: 'recv-duplicate',
      drains: ['stream'],
      delivery: (delivery) => [delivery, delivery],
      always: 'all',
    },
    {
      name: 'everything from the beginning, every time',
      proves: 'recv-duplicate',
      delivery: (_delivery, _n, peer) => ({
        ...peer.delivery(0, 100),
        hasMore: false,
        nextPollMs: 5,
      }),
      always: 'all',
    },
    {
      name: 'overlapping by one',
      proves: 'recv-duplicate',
      ...each(({ afterSequence: after, events: sent, ...rest }) => ({
        ...rest,
        ...(after > 0
          ? { afterSequence: after - 1, events: [eventOf(after), ...sent] }
          : { afterSequence: after, events: sent }),
      })),
      always: 'all',
    },
    {
      name: 'an old delivery in between',
      drains: ['stream'],
      delivery: (delivery, n, peer) => [delivery, ...(n > 1 ? [peer.delivery(0)] : [])],
      always: 'all',
    },
    {
      name: 'counters that do not match the log',
      ...each(({ afterSequence: after, events: sent }) => ({
        head: 1_000_000 + after,
        acked: after + sent.length,
      })),
      always: 'peer_misbehaved stalled',
      read: ALL,
    },
    {
      name: 'expiresAt in another form of RFC 3339',
      proves: 'gen-instants',
      ...each(() => ({ expiresAt: '2030-01-01t02:00:00+02:00' })),
      always: 'all',
    },
    {
      name: 'a challenge without a callback',
      proves: 'gen-ignore-unknown',
      ...each(() => ({ challenge: 'c'.repeat(22) })),
      always: 'all',
    },
    {
      name: 'unknown members',
      proves: 'gen-ignore-unknown',
      ...each(() => ({ color: 'red', gapsToo: [1], constructor: 1, toString: null })),
      always: 'all',
    },
    { name: 'an empty list of gaps', ...each(() => ({ gaps: [] })), always: 'all' },
    {
      name: 'one correct gap',
      ...each(({ afterSequence: after }) =>
        after === 0 ? { events: events(2), gaps: [gap(1, 1, 'redacted')] } : {},
      ),
      always: 'all',
      read: ['1-1 redacted', ...ALL.slice(1)],
    },
  ]);
});
