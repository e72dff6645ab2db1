/**
 * Contract of the accept log and the logs of subscriptions: reading, gaps, trim, renumber, redact,
 * forget and statistics.
 */
import assert from 'node:assert/strict';
import type { Store } from '../../server/store/port.ts';
import { eventBytes } from '../../protocol/wire/envelope.ts';
import { check, NOW, assertRejected, type Behavior } from './context.ts';
import { checkpoint, create, entry, event, filled, plain, tombstone } from './samples.ts';

const text = (offset: number): string => `{"eventId":"e${offset}","name":"issue.opened"}`;
const sequences = async (store: Store, row: number, after = 0): Promise<number[]> =>
  (await store.read(row, after, 1000, 1e6)).map(({ sequence }) => sequence);
const offsets = async (store: Store): Promise<number[]> =>
  (await store.accepted(0, 1000)).map(({ offset }) => offset);

export const logs: readonly Behavior[] = [
  check(
    '[log-stable] read returns each number after a given one with its event, ascending',
    async ({ store }) => {
      await store.commit([create(1, plain('a')), ...filled(1, 4, 8)]);
      assert.deepEqual(
        await store.read(1, 3, 10, 1000),
        [4, 5].map((sequence) => ({
          sequence,
          offset: sequence + 3,
          gap: null,
          encoded: text(sequence + 3),
          acceptedAt: NOW + sequence + 3,
        })),
      );
      assert.deepEqual(await store.read(1, 5, 10, 1000), []);
      assert.deepEqual(await store.read(2, 0, 10, 1000), []);
    },
  ),
  check(
    'read stays within maxEvents and roughly within maxBytes, but returns at least one entry',
    async ({ store }) => {
      await store.commit([create(1, plain('a')), ...filled(1, 1, 6)]);
      const size = text(1).length;
      assert.equal((await store.read(1, 0, 2, 1e6)).length, 2);
      assert.equal((await store.read(1, 0, 10, 3 * size)).length, 3);
      assert.equal((await store.read(1, 0, 10, 1)).length, 1);
    },
  ),
  check('logs of different subscriptions do not mix', async ({ store }) => {
    await store.commit([
      create(1, plain('a')),
      create(2, plain('b')),
      ...filled(1, 1, 3),
      entry(2, 1, 2),
    ]);
    await store.commit([
      { type: 'trim', row: 1, upTo: 2 },
      { type: 'gap', row: 1, from: 3, to: 3, reason: 'rejected' },
    ]);
    assert.deepEqual(await sequences(store, 1), [3]);
    assert.deepEqual(
      (await store.read(2, 0, 10, 1000)).map(({ gap, encoded }) => [gap, encoded]),
      [[null, text(2)]],
    );
  }),
  check(
    'an event that was too large to store, and an entry that is a gap, have no text',
    async ({ store }) => {
      await store.commit([
        create(1, plain('a')),
        event(1, 'issue.opened', null),
        event(2),
        entry(1, 1, 1, 'too_large'),
        entry(1, 2, 2, 'redacted'),
      ]);
      assert.deepEqual(await store.read(1, 0, 10, 1000), [
        { sequence: 1, offset: 1, gap: 'too_large', encoded: null, acceptedAt: NOW + 1 },
        { sequence: 2, offset: 2, gap: 'redacted', encoded: null, acceptedAt: NOW + 2 },
      ]);
    },
  ),
  check(
    '[log-contiguous] a gap marks existing entries and creates missing ones',
    async ({ store }) => {
      await store.commit([
        create(1, plain('a')),
        ...filled(1, 1, 3),
        { type: 'gap', row: 1, from: 2, to: 5, reason: 'skipped' },
      ]);
      assert.deepEqual(
        (await store.read(1, 0, 10, 1000)).map(({ sequence, gap, encoded }) => [
          sequence,
          gap,
          encoded,
        ]),
        [
          [1, null, text(1)],
          [2, 'skipped', null],
          [3, 'skipped', null],
          [4, 'skipped', null],
          [5, 'skipped', null],
        ],
      );
      await store.commit([{ type: 'gap', row: 1, from: 5, to: 5, reason: 'rejected' }]);
      assert.equal((await store.read(1, 4, 10, 1000))[0]?.gap, 'rejected');
      assert.equal((await store.stats()).entries, 5);
    },
  ),
  check(
    '[ref-read] large data are apart from the text of the event, count with it, and go with it',
    async ({ store }) => {
      const data = '{"pad":"ü𝄞"}';
      const large = (offset: number) => event(offset, undefined, undefined, {}, data);
      const bytes = Buffer.byteLength(data);
      await store.commit([
        create(1, plain('a')),
        large(1),
        large(2),
        event(3),
        ...[1, 2, 3].map((number) => entry(1, number, number)),
        entry(1, 4, 1, 'too_large'),
      ]);
      const sizes = async () =>
        (await store.read(1, 0, 10, 1000)).map(({ gap, encoded, dataBytes }) => [
          gap,
          encoded,
          dataBytes,
        ]);
      assert.deepEqual(await sizes(), [
        [null, text(1), bytes],
        [null, text(2), bytes],
        [null, text(3), undefined],
        ['too_large', null, undefined],
      ]);
      assert.deepEqual(
        (await store.accepted(0, 10)).map(({ dataBytes }) => dataBytes),
        [bytes, bytes, undefined],
      );
      assert.deepEqual(
        [await store.data(1), await store.data(3), await store.data(77)],
        [data, null, null],
      );
      const whole = await store.oversize(1, 1000);
      await store.commit([{ type: 'redact', offset: 1 }]);
      assert.deepEqual([await store.data(1), await store.data(2)], [null, data]);
      assert.deepEqual((await sizes())[0], ['redacted', null, undefined]);
      const rest = await store.oversize(1, 1000);
      assert.equal(whole.bytes - rest.bytes, eventBytes(text(1)) + bytes);
      await store.commit([
        { type: 'trim', row: 1, upTo: 4 },
        checkpoint(3),
        { type: 'forget', acceptedBefore: NOW + 1000, now: NOW + 1000 },
      ]);
      assert.equal(await store.data(2), null);
    },
  ),
  check(
    '[gap-same-everywhere] a redacted event loses its text and reads as a gap, in logs that got its number before and after',
    async ({ store }) => {
      await store.commit([
        create(1, plain('a')),
        create(2, plain('b')),
        event(1),
        event(2),
        entry(1, 1, 1),
        entry(1, 2, 2),
      ]);
      await store.commit([
        { type: 'redact', offset: 1 },
        { type: 'redact', offset: 77 },
      ]);
      await store.commit([entry(2, 1, 1)]);
      const redacted = {
        sequence: 1,
        offset: 1,
        gap: 'redacted',
        encoded: null,
        acceptedAt: NOW + 1,
      };
      assert.deepEqual(
        (await store.read(1, 0, 10, 1000)).map(({ gap, encoded }) => [gap, encoded]),
        [
          ['redacted', null],
          [null, text(2)],
        ],
      );
      assert.deepEqual(await store.read(2, 0, 10, 1000), [redacted]);
      assert.deepEqual(
        (await store.accepted(0, 10)).map(({ encoded }) => encoded),
        [null, text(2)],
      );
      assert.deepEqual(
        await store.known([{ scope: '', name: 'issue.opened', eventId: 'e1' }]),
        [1],
      );
    },
  ),
  check('an event keeps its audience and its gap, also when it is redacted', async ({ store }) => {
    const audience = ['alice', '["https://issuer.example","ü"]'];
    await store.commit([
      create(1, plain('a')),
      event(1, 'issue.opened', text(1), { audience }),
      event(2, 'issue.opened', text(2), { gap: 'unwatched', audience: [] }),
      event(3, 'issue.opened', null, { gap: 'invalid' }),
      entry(1, 1, 1),
      entry(1, 2, 2, 'unwatched'),
      entry(1, 3, 3, 'invalid'),
      { type: 'redact', offset: 1 },
    ]);
    assert.deepEqual(
      (await store.accepted(0, 10)).map((one) => [one.gap, one.audience, one.encoded]),
      [
        [null, audience, null],
        ['unwatched', [], text(2)],
        ['invalid', null, null],
      ],
    );
    assert.deepEqual(
      (await store.read(1, 0, 10, 1000)).map(({ gap, encoded }) => [gap, encoded]),
      [
        ['redacted', null],
        ['unwatched', null],
        ['invalid', null],
      ],
    );
  }),
  check('trim deletes everything up to its number, and nothing after it', async ({ store }) => {
    await store.commit([
      create(1, plain('a')),
      ...filled(1, 1, 5),
      { type: 'trim', row: 1, upTo: 3 },
    ]);
    assert.deepEqual(await sequences(store, 1), [4, 5]);
    await store.commit([
      { type: 'trim', row: 1, upTo: 3 },
      { type: 'trim', row: 1, upTo: 0 },
    ]);
    assert.deepEqual(await sequences(store, 1), [4, 5]);
  }),
  check(
    '[log-epoch-renumber] renumber lowers the numbers of the remaining events and gaps',
    async ({ store }) => {
      await store.commit([
        create(1, plain('a')),
        create(2, plain('b')),
        ...filled(1, 1, 9),
        entry(2, 4, 4),
        { type: 'gap', row: 1, from: 8, to: 8, reason: 'rejected' },
      ]);
      await store.commit([
        { type: 'trim', row: 1, upTo: 5 },
        { type: 'renumber', row: 1, by: 5 },
      ]);
      assert.deepEqual(
        (await store.read(1, 0, 10, 1000)).map(({ sequence, offset, gap }) => [
          sequence,
          offset,
          gap,
        ]),
        [
          [1, 6, null],
          [2, 7, null],
          [3, 8, 'rejected'],
          [4, 9, null],
        ],
      );
      assert.deepEqual(await sequences(store, 2), [4]);
      await store.commit([
        { type: 'renumber', row: 1, by: 1 },
        { type: 'renumber', row: 1, by: 0 },
      ]);
      assert.deepEqual(await sequences(store, 1), [1, 2, 3]);
    },
  ),
  check(
    '[gap-retention-announced] agedOut returns the last number that is too old, and when the next one was accepted',
    async ({ store }) => {
      await store.commit([create(1, plain('a')), ...filled(1, 1, 5)]);
      assert.deepEqual(await store.agedOut(1, NOW + 1), { upTo: 0, oldestAt: NOW + 1 });
      assert.deepEqual(await store.agedOut(1, NOW + 4), { upTo: 3, oldestAt: NOW + 4 });
      assert.deepEqual(await store.agedOut(1, NOW + 99), { upTo: 5, oldestAt: null });
      assert.deepEqual(await store.agedOut(2, NOW + 99), { upTo: 0, oldestAt: null });
      await store.commit([
        { type: 'gap', row: 1, from: 2, to: 3, reason: 'rejected' },
        { type: 'trim', row: 1, upTo: 1 },
      ]);
      assert.deepEqual(await store.agedOut(1, NOW + 3), { upTo: 2, oldestAt: NOW + 3 });
    },
  ),
  check(
    '[gap-retention-announced] oversize returns the last number beyond the bytes of the newest, and counts no gaps',
    async ({ store }) => {
      await store.commit([create(1, plain('a')), ...filled(1, 1, 5)]);
      assert.deepEqual(await store.oversize(2, 1000), { upTo: 0, bytes: 0, last: 0 });
      const { bytes, last } = await store.oversize(1, 1_000_000);
      const each = bytes / 5;
      assert.deepEqual([Number.isInteger(each), each > 40, last], [true, true, 5]);
      assert.deepEqual(await store.oversize(1, bytes), { upTo: 0, bytes, last: 5 });
      assert.deepEqual(await store.oversize(1, bytes - 1), { upTo: 1, bytes: 4 * each, last: 5 });
      assert.deepEqual(await store.oversize(1, each - 1), { upTo: 5, bytes: 0, last: 5 });
      await store.commit([
        { type: 'gap', row: 1, from: 4, to: 4, reason: 'rejected' },
        { type: 'redact', offset: 2 },
        { type: 'trim', row: 1, upTo: 1 },
      ]);
      assert.deepEqual(await store.oversize(1, 2 * each), { upTo: 0, bytes: 2 * each, last: 5 });
      assert.deepEqual(await store.oversize(1, 2 * each - 1), { upTo: 3, bytes: each, last: 5 });
    },
  ),
  check(
    'acceptedAt returns when the event of a number was accepted, and null for an unknown number',
    async ({ store }) => {
      await store.commit([create(1, plain('a')), ...filled(1, 7, 8)]);
      assert.deepEqual(
        [
          await store.acceptedAt(1, 1),
          await store.acceptedAt(1, 2),
          await store.acceptedAt(1, 3),
          await store.acceptedAt(2, 1),
        ],
        [NOW + 7, NOW + 8, null, null],
      );
    },
  ),
  check(
    '[log-contiguous] accepted returns pages of the accept log in the order of offsets',
    async ({ store }) => {
      await store.commit([
        event(1),
        event(2, 'build.done'),
        event(3, 'issue.opened', null),
        event(5),
      ]);
      assert.deepEqual(await store.accepted(1, 2), [
        {
          offset: 2,
          scope: '',
          name: 'build.done',
          eventId: 'e2',
          gap: null,
          audience: null,
          acceptedAt: NOW + 2,
          encoded: '{"eventId":"e2","name":"build.done"}',
        },
        {
          offset: 3,
          scope: '',
          name: 'issue.opened',
          eventId: 'e3',
          gap: null,
          audience: null,
          acceptedAt: NOW + 3,
          encoded: null,
        },
      ]);
      assert.deepEqual(
        (await store.accepted(3, 10)).map(({ offset }) => offset),
        [5],
      );
    },
  ),
  check(
    'history returns the accepted events of some types since an instant, in order, in pages',
    async ({ store }) => {
      await store.commit([
        event(1),
        event(2, 'build.done'),
        event(3, 'other'),
        event(4),
        event(5, 'build.done'),
        event(6),
      ]);
      const page = async (names: string[], since: number, after: number, limit: number) =>
        (await store.history(names, NOW + since, after, limit)).map(({ offset }) => offset);
      assert.deepEqual(await page(['issue.opened', 'build.done'], 2, 0, 10), [2, 4, 5, 6]);
      assert.deepEqual(await page(['issue.opened', 'build.done'], 2, 0, 3), [2, 4, 5]);
      assert.deepEqual(await page(['build.done', 'issue.opened', 'build.done'], 2, 5, 3), [6]);
      assert.deepEqual(await page(['issue.opened'], 0, 0, 10), [1, 4, 6]);
      assert.deepEqual(await page([], 0, 0, 10), []);
    },
  ),
  check(
    '[log-once] known returns the offset of each accepted upstream identity, separately for each scope and name',
    async ({ store }) => {
      const elsewhere = event(5, 'issue.opened', '{}', { scope: 'hook-7' });
      await store.commit([event(3), event(4, 'build.done'), elsewhere]);
      const sameId = { scope: 'hook-7', eventId: 'e3' };
      await store.commit([event(6, 'issue.opened', '{}', sameId)]);
      const ids = [
        { scope: '', name: 'issue.opened', eventId: 'e3' },
        { scope: '', name: 'build.done', eventId: 'e3' },
        { scope: '', name: 'build.done', eventId: 'e4' },
        { scope: '', name: 'x', eventId: 'y' },
        { scope: 'hook-7', name: 'issue.opened', eventId: 'e3' },
        { scope: 'hook-8', name: 'issue.opened', eventId: 'e3' },
        { scope: '', name: 'issue.opened', eventId: 'e5' },
      ];
      assert.deepEqual(await store.known(ids), [3, null, 4, null, 6, null, null]);
      assert.deepEqual(
        (await store.accepted(4, 9)).map(({ scope, eventId }) => [scope, eventId]),
        [
          ['hook-7', 'e5'],
          ['hook-7', 'e3'],
        ],
      );
      await assertRejected(store, [event(9, 'issue.opened', '{}', sameId)], 'store_failed');
      assert.deepEqual(await store.known([]), []);
    },
  ),
  check(
    'forget keeps recent events, events in a log and events without a number, and deletes the others with their identities',
    async ({ store }) => {
      await store.commit([
        create(1, plain('a')),
        ...filled(1, 1, 3),
        event(4),
        event(5),
        event(6),
        event(7),
        checkpoint(6),
      ]);
      await store.commit([
        { type: 'trim', row: 1, upTo: 1 },
        { type: 'gap', row: 1, from: 2, to: 2, reason: 'rejected' },
      ]);
      await store.commit([{ type: 'forget', acceptedBefore: NOW + 5, now: NOW }]);
      const kept = await offsets(store);
      assert.ok(kept.includes(3), 'event 3 is in a log');
      assert.deepEqual(
        kept.filter((offset) => offset > 3),
        [5, 6, 7],
        'event 4 is in no log; events 5 to 7 are recent',
      );
      assert.ok(!kept.includes(1), 'event 1 was trimmed from its only log');
      assert.deepEqual(
        await store.known([
          { scope: '', name: 'issue.opened', eventId: 'e4' },
          { scope: '', name: 'issue.opened', eventId: 'e5' },
        ]),
        [null, 5],
      );
      await store.commit([{ type: 'forget', acceptedBefore: NOW + 100, now: NOW }]);
      assert.deepEqual(
        (await offsets(store)).filter((offset) => offset > 3),
        [7],
        'event 7 has no number yet',
      );
      assert.equal((await store.read(1, 2, 1, 1000))[0]?.encoded, text(3));
    },
  ),
  check('repeated calls of forget delete any number of events', async ({ store }) => {
    const total = 4500;
    await store.commit([
      create(1, plain('a')),
      ...Array.from({ length: total }, (_, at) => event(at + 1)),
      entry(1, 1, 2000),
      checkpoint(total),
    ]);
    for (let round = 0; round < total && (await store.stats()).events > 1; round += 1)
      await store.commit([{ type: 'forget', acceptedBefore: NOW + total + 1, now: NOW }]);
    assert.deepEqual(await offsets(store), [2000]);
  }),
  check(
    'repeated calls of forget reach the events behind any number of events that are in a log',
    async ({ store }) => {
      const inLog = 2500;
      await store.commit([
        create(1, plain('a')),
        ...filled(1, 1, inLog),
        event(inLog + 1),
        event(inLog + 2),
        checkpoint(inLog + 1),
      ]);
      for (let round = 0; round < inLog && (await store.stats()).events > inLog + 1; round += 1)
        await store.commit([{ type: 'forget', acceptedBefore: NOW + 2 * inLog, now: NOW }]);
      assert.deepEqual(
        (await store.accepted(inLog, 10)).map(({ offset }) => offset),
        [inLog + 2],
      );
    },
  ),
  check('stats counts subscriptions, events and entries', async ({ store }) => {
    await store.commit([
      create(1, plain('a')),
      create(2, plain('b')),
      ...filled(1, 1, 4),
      entry(2, 1, 1),
      checkpoint(4),
    ]);
    const { subscriptions, events, entries, bytes } = await store.stats();
    assert.deepEqual([subscriptions, events, entries], [2, 4, 5]);
    assert.ok(bytes >= 0);
    await store.commit([
      { type: 'trim', row: 1, upTo: 2 },
      { type: 'end', row: 2, tombstone: tombstone(plain('b')) },
      { type: 'forget', acceptedBefore: NOW + 3, now: NOW },
    ]);
    const after = await store.stats();
    assert.deepEqual([after.subscriptions, after.events, after.entries], [1, 2, 2]);
  }),
];
