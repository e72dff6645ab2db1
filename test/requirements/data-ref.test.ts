/** Tests events whose data are delivered by reference (SEP: Data by reference). */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { box, eventually, EXTENSION, lastOf, sequencesOf, world, type Json } from './world.ts';

/** More than a delivery takes; the characters have one, two and four bytes, and need escapes. */
const LARGE = `"\\${'xü𝄞'.repeat(40_000)}`;
const DATA = JSON.stringify({ box: 'front', text: LARGE });
const BYTES = Buffer.byteLength(DATA);

const declared = (options: readonly string[], place = 'extensions') => ({
  clientCapabilities: { [place]: { [EXTENSION]: { options } } },
});
const reader = declared(['dataRef']);

type World = Awaited<ReturnType<typeof world>>;

/** Emits a small, a large and a small event. */
async function three(w: World): Promise<void> {
  await w.open(1);
  await w.engine.emit(box.event({ eventId: 'large', data: { box: 'front', text: LARGE } }));
  await w.open(1);
}
const read = (w: World, uri: string, asking = {}) => w.call('resources/read', { uri }, asking);
const textOf = async (w: World, uri: string): Promise<unknown> =>
  (await read(w, uri)).result?.['contents'];
const fromStart = ({ subscriptionId, epoch }: Json) => ({
  subscriptionId,
  after: { epoch, sequence: 0 },
});
/** The reference in number 2. */
const refIn = async (w: World, log: Json): Promise<{ uri: string; bytes: number }> => {
  const { events } = await w.ok('triggers/pull', fromStart(log));
  return (events as Json[]).find(({ sequence }) => sequence === 2)?.['dataRef'];
};

describe('an event above 240 KiB', () => {
  test('[ref-event, ref-read] is in the log of a client that declares dataRef, the same on every drain, and its data are a resource', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const log = await w.subscribeTo(endpoint, {}, reader);
    await three(w);
    await eventually('acked', async () => (await w.get(log['subscriptionId']))['acked'] === 3);
    // The reader of a log need not be the client that created it.
    const pulled = await w.ok('triggers/pull', fromStart(log));
    const stream = await w.stream(fromStart(log));
    const streamed = await stream.next();
    const posted = endpoint.deliveries.flatMap(({ delivery }) => delivery['events']);
    assert.deepEqual([sequencesOf(pulled), pulled['gaps']], [[1, 2, 3], undefined]);
    const [small, large] = pulled['events'] as Json[];
    assert.deepEqual(small!['data'], { box: 'front' });
    assert.deepEqual(Object.keys(large!).toSorted(), [
      'acceptedAt',
      'dataRef',
      'eventId',
      'name',
      'sequence',
      'timestamp',
    ]);
    assert.equal(large!['dataRef'].bytes, BYTES);
    assert.deepEqual(streamed['events'], pulled['events']);
    assert.deepEqual(posted, pulled['events']);
    assert.ok(endpoint.deliveries.every(({ raw }) => raw.byteLength < 2048));
    const { uri } = large!['dataRef'];
    assert.deepEqual(await textOf(w, uri), [{ uri, mimeType: 'application/json', text: DATA }]);
  });

  test('[ref-unknown, gap-too-large] is a gap in every other log, whoever reads it', async (t) => {
    const w = await world(t);
    const logs = [
      await w.subscribe(),
      await w.subscribe({}, declared([])),
      await w.subscribe({}, declared(['skip'])),
      await w.subscribe(
        {},
        { clientCapabilities: { extensions: { [EXTENSION]: { options: 3 } } } },
      ),
    ];
    const found = await w.subscribe({ key: logs[0]!['key'] }, reader);
    assert.equal(found['created'], false);
    await three(w);
    for (const log of logs) {
      const pulled = await w.ok('triggers/pull', fromStart(log), reader);
      assert.deepEqual(
        [sequencesOf(pulled), pulled['gaps']],
        [[1, 3], [{ from: 2, to: 2, reason: 'too_large' }]],
      );
    }
  });

  test('[ref-event] the declaration of the request that created the log holds, also after a restart, an update and a renewal without it', async (t) => {
    const w = await world(t);
    const log = await w.subscribe({}, reader);
    await w.subscribe({ key: log['key'] });
    await w.ok('triggers/update', {
      subscriptionId: log['subscriptionId'],
      select: [{ name: 'box.opened' }, { name: 'meter.read' }],
    });
    await w.restart();
    await three(w);
    await w.restart();
    const { uri } = await refIn(w, log);
    assert.equal(((await textOf(w, uri)) as Json[])[0]!['text'], DATA);
  });

  test('[ref-event] a log that starts with past events has them by reference too, if they match', async (t) => {
    const w = await world(t);
    await three(w);
    const since = '2026-11-21T09:00:00.000Z';
    const log = await w.subscribe({ since }, reader);
    assert.equal((await refIn(w, log)).bytes, BYTES);
    const gap = await w.subscribe({ since });
    assert.equal(await refIn(w, gap), undefined);
    const other = await w.subscribe(
      { since, select: [{ name: 'box.opened', arguments: { box: 'back' } }] },
      reader,
    );
    assert.equal(other['head'], 0);
  });

  test('[ref-event] counts with its data towards the bytes of its log', async (t) => {
    const w = await world(t, {
      triggers: [
        {
          ...box,
          type: {
            ...box.type,
            retention: { maxAgeMs: 3_600_000, maxEvents: 100, maxBytes: 250_000 },
          },
        },
      ],
    });
    const log = await w.subscribe({}, reader);
    const plain = await w.subscribe();
    await three(w);
    await w.open(2, { text: LARGE });
    await w.open(1);
    await eventually('the large events to be trimmed', async () => {
      await w.pass(1000);
      return (await w.get(log['subscriptionId']))['oldest'] === 6;
    });
    assert.equal((await w.get(plain['subscriptionId']))['oldest'], 1);
  });

  test('[gap-too-large] is a gap in every log if it is larger than the server stores', async (t) => {
    const w = await world(t, { engine: { maxEventBytes: 300_000 } });
    const log = await w.subscribe({}, reader);
    const other = await w.subscribe(
      { select: [{ name: 'box.opened', arguments: { box: 'back' } }] },
      reader,
    );
    const empty = JSON.stringify({ box: 'front', text: '' }).length;
    await w.open(1, { text: 'x'.repeat(300_000 - empty) });
    await w.open(1, { text: 'x'.repeat(300_001 - empty) });
    await w.open(1);
    const pulled = await w.ok('triggers/pull', fromStart(log));
    assert.deepEqual(
      [sequencesOf(pulled), pulled['gaps'], lastOf(pulled)],
      [[1, 3], [{ from: 2, to: 2, reason: 'too_large' }], 3],
    );
    assert.equal((await w.get(other['subscriptionId']))['head'], 0);
  });
});

describe('the data', () => {
  test('[ref-owner] are for the owner only; for everybody else the resource does not exist, as one that never did', async (t) => {
    const w = await world(t);
    const log = await w.subscribe({}, reader);
    await three(w);
    const { uri } = await refIn(w, log);
    const answers = [
      await read(w, uri, { as: 'bob' }),
      await read(w, uri, { as: 'https://other.example|alice' }),
      await read(w, uri.replace(/2$/, '1')),
      await read(w, uri.replace(/2$/, '4')),
      await read(w, uri.replace(/2$/, '02')),
      await read(w, uri.replace(log['epoch'], 'AAAAAAAAAAAAAAAAAAAAAA')),
      await read(w, uri.replace(log['subscriptionId'], 'sub_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')),
      await read(w, `${uri}/3`),
      await read(w, 'triggers-data:'),
    ];
    for (const { result, error } of answers) {
      assert.equal(result, undefined);
      assert.deepEqual(
        { ...error, message: '', data: '' },
        { code: answers[0]!.error!.code, message: '', data: '' },
      );
    }
    const shown = answers.map(({ error }) =>
      JSON.stringify(error).replace(/triggers-data:[^" ]*/g, ''),
    );
    assert.equal(new Set(shown).size, 1, shown.join('\n'));
    const anonymous = await read(w, uri, { as: null });
    assert.equal(anonymous.error?.code, -32024);
  });

  test('[ref-owner, ref-read] are gone once they are redacted, trimmed, or the subscription has ended', async (t) => {
    const w = await world(t);
    const log = await w.subscribe({}, reader);
    const ended = await w.subscribe({}, reader);
    await three(w);
    const { uri } = await refIn(w, log);
    const other = await refIn(w, ended);
    assert.ok((await read(w, other.uri)).result);
    await w.ok('triggers/unsubscribe', { subscriptionId: ended['subscriptionId'] });
    assert.ok((await read(w, other.uri)).error);
    assert.ok((await read(w, uri)).result);
    await w.engine.redact({ name: 'box.opened', eventId: 'large' });
    assert.ok((await read(w, uri)).error);
    assert.deepEqual((await w.ok('triggers/pull', fromStart(log)))['gaps'], [
      { from: 2, to: 2, reason: 'redacted' },
    ]);
    const short = await w.subscribe({ ttlMs: 30 * 86_400_000 }, reader);
    await w.engine.emit(box.event({ data: { box: 'front', text: LARGE } }));
    const [event] = (await w.ok('triggers/pull', fromStart(short)))['events'] as Json[];
    assert.ok((await read(w, event!['dataRef'].uri)).result);
    await w.pass(8 * 86_400_000);
    await eventually('the data to be gone', async () => {
      await w.pass(1000);
      return (await read(w, event!['dataRef'].uri)).error !== undefined;
    });
  });

  test('[ref-read] have another URI after a change of the epoch', async (t) => {
    const w = await world(t);
    const log = await w.subscribe({}, reader);
    await three(w);
    const { uri } = await refIn(w, log);
    const backup = w.backup();
    await w.open(1);
    await w.restart(backup);
    const { epoch } = await w.get(log['subscriptionId']);
    assert.notEqual(epoch, log['epoch']);
    const moved = await refIn(w, { ...log, epoch });
    assert.notEqual(moved.uri, uri);
    assert.ok((await read(w, uri)).error);
    assert.equal(((await textOf(w, moved.uri)) as Json[])[0]!['text'], DATA);
  });

  test('[cap-levels, ref-read] leave the resources of the application alone, and the option can be left out', async (t) => {
    const w = await world(t, {
      install: (mcp) =>
        void mcp.registerResource('note', 'note:1', {}, () => ({
          contents: [{ uri: 'note:1', text: 'own' }],
        })),
    });
    assert.deepEqual(await textOf(w, 'note:1'), [{ uri: 'note:1', text: 'own' }]);
    assert.deepEqual(
      ((await w.ok('resources/list'))['resources'] as Json[]).map(({ uri }) => uri),
      ['note:1'],
    );
    const without = await world(t, { attach: { dataRef: false } });
    const log = await without.subscribe({}, reader);
    await three(without);
    assert.deepEqual((await without.ok('triggers/pull', fromStart(log)))['gaps'], [
      { from: 2, to: 2, reason: 'too_large' },
    ]);
    const { capabilities } = await without.ok('server/discover');
    assert.equal(capabilities.resources, undefined);
  });
});
