/**
 * Tests feeds read page by page, over HTTP and with the clients of both generations: order,
 * acknowledgement, gaps, positions that no longer exist, and ownership.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { TRIM_SLACK_EVENTS_MIN } from '../../../../src/protocol/core/policy.ts';
import { isModern, meter, pageOf, READERS, World, type Page, type Reader } from './world.ts';

const sequences = ({ events }: Page): number[] => events.map(({ sequence }) => sequence);

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world.close());

const METERS = 5 + TRIM_SLACK_EVENTS_MIN + 1;
let subjects = 0;
/** A subject of its own, so that no other test's logs interfere. */
const somebody = (): string => `reader-${(subjects += 1)}`;

for (const kind of READERS) {
  describe(kind, () => {
    test('follows a feed in order: each page is repeated until the next one is read, and never after that [deg-server-same-log]', async () => {
      const reader = await world.reader(kind, somebody());
      const first = await reader.read('triggers://feeds/box.opened');
      assert.deepEqual(
        [
          first.trigger,
          first.arguments,
          first.events,
          first.gaps,
          first.head,
          first.acked,
          first.hasMore,
        ],
        ['box.opened', {}, [], [], 0, 0, false],
      );
      const ids = await world.open(3);
      const page = await reader.read(first.next);
      assert.deepEqual(
        page.events.map(({ sequence, eventId, name }) => [sequence, eventId, name]),
        ids.map((id, n) => [n + 1, id, 'box.opened']),
      );
      for (const { data, eventId, timestamp } of page.events) {
        assert.equal(`e${(data as { n: number }).n}`, eventId);
        assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
      }
      assert.deepEqual([page.after, page.head, page.acked, page.hasMore], [0, 3, 0, false]);
      // Not acknowledged yet: a repeated read returns it again, with and without the position.
      assert.deepEqual(sequences(await reader.read('triggers://feeds/box.opened')), [1, 2, 3]);
      assert.deepEqual(sequences(await reader.read(first.next)), [1, 2, 3]);
      const rest = await reader.read(page.next);
      assert.deepEqual([sequences(rest), rest.acked], [[], 3]);
      await world.open();
      assert.deepEqual(sequences(await reader.read('triggers://feeds/box.opened')), [4]);
    });

    test('gets only what its arguments select, and finds its log by their meaning', async () => {
      const reader = await world.reader(kind, somebody());
      const odd = await reader.read(
        'triggers://feeds/box.opened?box=odd&floors=%5B1,2%5D&_after=x',
      );
      assert.deepEqual(odd.arguments, { box: 'odd', floors: [1, 2], after: 'x' });
      const same = await reader.read(
        'triggers://feeds/box%2Eopened?_after=%78&floors=%5B1%2C%202%5D&box=odd',
      );
      assert.equal(same.subscriptionId, odd.subscriptionId);
      assert.equal(
        same.next.split('&after=')[0],
        'triggers://feeds/box.opened?box=odd&floors=%5B1%2C2%5D&_after=x',
      );
      assert.notEqual(
        (await reader.read('triggers://feeds/box.opened?box=even')).subscriptionId,
        odd.subscriptionId,
      );
    });

    test('reads many events in pages without overlap', async () => {
      const reader = await world.reader(kind, somebody());
      let { next } = await reader.read('triggers://feeds/box.opened');
      await world.open(250);
      const taken: number[] = [];
      let page: Page;
      do {
        page = await reader.read(next);
        assert.equal(page.after, taken.length);
        taken.push(...sequences(page));
        next = page.next;
      } while (page.hasMore);
      assert.deepEqual(
        taken,
        Array.from({ length: 250 }, (_, n) => n + 1),
      );
    });

    test('gets gaps for expired and for withdrawn events', async () => {
      const reader = await world.reader(kind, somebody());
      const { next } = await reader.read('triggers://feeds/meter%2Fread');
      // More than are kept, and more than may accumulate before trimming.
      for (let value = 1; value <= METERS; value += 1)
        await world.engine.emit(meter.event({ eventId: `${subjects}-${value}`, data: { value } }));
      await world.engine.settled();
      await world.engine.redact({ name: 'meter/read', eventId: `${subjects}-${METERS - 1}` });
      const page = await reader.read(next);
      assert.deepEqual(sequences(page), [METERS - 4, METERS - 3, METERS - 2, METERS]);
      assert.deepEqual(page.gaps, [
        { from: 1, to: METERS - 5, reason: 'retention' },
        { from: METERS - 1, to: METERS - 1, reason: 'redacted' },
      ]);
      assert.deepEqual(sequences(await reader.read(page.next)), []);
    });

    test('continues, with a notice, from a position of a log that no longer exists or beyond what was sent', async () => {
      const subject = somebody();
      const reader = await world.reader(kind, subject);
      const uri = 'triggers://feeds/box.opened';
      const old = await reader.read(uri);
      await world.call(
        'triggers/unsubscribe',
        { subscriptionId: old.subscriptionId },
        { as: subject },
      );
      const reset = await reader.read(old.next);
      assert.notEqual(reset.epoch, old.epoch);
      assert.deepEqual(
        [reset.reset?.reason, reset.reset?.asked],
        ['epoch', { epoch: old.epoch, sequence: 0 }],
      );
      assert.match(reset.reset?.message ?? '', /missing/);
      await world.open();
      const ahead = await reader.read(`${uri}?after=${reset.epoch}.99`);
      assert.deepEqual([sequences(ahead), ahead.acked, ahead.reset?.reason], [[1], 0, 'position']);
      const unsent = await reader.read(`${uri}?after=${reset.epoch}.1`);
      assert.deepEqual([unsent.acked, unsent.reset], [1, undefined]);
    });

    test('sees in the capabilities that feeds can be subscribed to, and must not cache a page', async () => {
      const reader = await world.reader(kind, somebody());
      assert.deepEqual(reader.capabilities['resources'], { subscribe: true, listChanged: true });
      const { contents, ttlMs, cacheScope } = await reader.result(
        'triggers://feeds/box.opened?box=a',
      );
      assert.deepEqual(
        (contents as { uri: string }[]).map(({ uri }) => uri),
        ['triggers://feeds/box.opened?box=a'],
      );
      if (isModern(kind)) assert.deepEqual([ttlMs, cacheScope], [0, 'private']);
      else assert.deepEqual([ttlMs, cacheScope], [undefined, undefined]);
    });

    test('finds its feeds and subscriptions in the list, and a template for every type', async () => {
      const subject = somebody();
      const reader = await world.reader(kind, subject);
      const { subscriptionId } = await reader.read('triggers://feeds/box.opened?box=a%20b');
      const made = await world.call(
        'triggers/subscribe',
        { key: 'mine', select: [{ name: 'box.opened' }, { name: 'meter/read' }] },
        { as: subject },
      );
      const entries = (await reader.list())['resources'] as {
        uri: string;
        name: string;
        description: string;
      }[];
      assert.deepEqual(
        entries.map(({ uri, name }) => [uri, name]),
        [
          ['triggers://feeds/box.opened?box=a%20b', 'feed box.opened'],
          [`triggers://subscriptions/${made.result?.['subscriptionId']}`, 'subscription mine'],
        ],
      );
      assert.equal((await reader.read(entries[0]!.uri)).subscriptionId, subscriptionId);
      const other = await reader.read(entries[1]!.uri);
      assert.deepEqual(
        other.select?.map(({ name }) => name),
        ['box.opened', 'meter/read'],
      );
      assert.match(other.next, /^triggers:\/\/subscriptions\/[^?]+\?after=/);
      const templates = (await reader.templates())['resourceTemplates'] as {
        name: string;
        uriTemplate: string;
        description: string;
        mimeType: string;
        title?: string;
      }[];
      assert.deepEqual(
        templates.map(({ uriTemplate }) => uriTemplate),
        [
          'triggers://feeds/box.opened{?box,floors,_after,after}',
          'triggers://feeds/meter%2Fread{?after}',
          'triggers://subscriptions/{subscriptionId}{?after}',
        ],
      );
      assert.equal(templates[0]?.title, 'A box');
      assert.match(
        templates[0]?.description ?? '',
        /A box was opened\..*"box" \(plain text\), "floors" \(JSON text\)/,
      );
      for (const { description } of templates) assert.match(description, /read the URI in "next"/);
    });

    test("gets the error of the base protocol for an unknown log, and the same for another principal's log", async () => {
      const subject = somebody();
      const [reader, mallory] = [
        await world.reader(kind, subject),
        await world.reader(kind, somebody()),
      ];
      const { subscriptionId } = await reader.read('triggers://feeds/box.opened');
      const refusal = async (
        who: Reader,
        uri: string,
      ): Promise<{ code?: number; message: string; data?: unknown }> => {
        const error = await who.read(uri).then(
          () => assert.fail(`read ${uri}`),
          (one: { code?: number; message: string; data?: unknown }) => one,
        );
        return {
          message: error.message,
          ...(error.code === undefined ? {} : { code: error.code }),
          data: JSON.stringify(error.data ?? {}).replaceAll(uri, '…'),
        };
      };
      const foreign = await refusal(mallory, `triggers://subscriptions/${subscriptionId}`);
      assert.deepEqual(
        foreign,
        await refusal(mallory, 'triggers://subscriptions/sub_0123456789012345678901234567'),
      );
      assert.equal(foreign.code, -32602);
      assert.equal((await refusal(reader, 'triggers://feeds/no.such')).code, foreign.code);
      await world.call('triggers/unsubscribe', { subscriptionId }, { as: subject });
      assert.match(
        String((await refusal(reader, `triggers://subscriptions/${subscriptionId}`)).data),
        /"reason":"unsubscribed"/,
      );
    });
  });
}

describe('a feed', () => {
  test('with an invalid URI is rejected with a typed error that has the path and does not repeat the input [iso-own]', async () => {
    for (const [uri, expected] of [
      ['triggers://feeds/box.opened?box=', /at "\/box", a string of at least 1 characters/],
      ['triggers://feeds/box.opened?floors=%5B%22x%22%5D', /at "\/floors\/0", an integer/],
      [
        'triggers://feeds/box.opened?secret=1',
        /no variables but "box", "floors", "_after", "after"/,
      ],
      ['triggers://feeds/box.opened?floors=x', /"floors" as JSON text/],
      ['triggers://feeds/box.opened?after=1', /"after" copied from the "next"/],
      ['triggers://elsewhere', /triggers:\/\/feeds\//],
    ] as const) {
      const { error } = await world.call('resources/read', { uri });
      assert.deepEqual([error?.code, error?.data?.['path']], [-32602, '/uri'], uri);
      assert.match(String(error?.data?.['expected']), expected);
      assert.ok(!error?.message.includes('secret'));
    }
  });

  test('is hidden from a principal that may not see its type, also if it could see it before', async () => {
    const subject = somebody();
    const { result } = await world.call(
      'resources/read',
      { uri: 'triggers://feeds/meter%2Fread' },
      { as: subject },
    );
    const page = pageOf(result!);
    world.forbidden.add(`${subject} meter/read`);
    const { error } = await world.call('resources/read', { uri: page.next }, { as: subject });
    assert.deepEqual([error?.code, error?.data], [-32602, { uri: page.next }]);
    const shown = await world.call('resources/templates/list', {}, { as: subject });
    assert.deepEqual(
      (shown.result?.['resourceTemplates'] as { name: string }[]).map(({ name }) => name),
      ['box.opened', 'triggers.subscription'],
    );
    const stranger = somebody();
    world.forbidden.add(`${stranger} meter/read`);
    const hidden = await world.call(
      'resources/read',
      { uri: 'triggers://feeds/meter%2Fread' },
      { as: stranger },
    );
    const unknown = await world.call(
      'resources/read',
      { uri: 'triggers://feeds/meter%2Fnone' },
      { as: stranger },
    );
    assert.deepEqual(hidden.error?.code, -32602);
    assert.deepEqual({ ...hidden.error, data: null }, { ...unknown.error, data: null });
    const templates = await world.call('resources/templates/list', {}, { as: stranger });
    assert.deepEqual(
      (templates.result?.['resourceTemplates'] as { name: string }[]).map(({ name }) => name),
      ['box.opened', 'triggers.subscription'],
    );
  });

  test('counts as a subscription of its reader', async () => {
    const small = await World.start({ TRIGGERS_MAX_SUBSCRIPTIONS_PER_PRINCIPAL: '1' });
    await small.call('resources/read', { uri: 'triggers://feeds/box.opened' });
    const { error } = await small.call('resources/read', {
      uri: 'triggers://feeds/box.opened?box=a',
    });
    assert.deepEqual([error?.code, error?.data?.['limit']], [-32025, 'subscriptions']);
    await small.close();
  });

  test('is listed in pages, however many there are', async () => {
    const subject = somebody();
    for (let n = 0; n < 60; n += 1)
      await world.call(
        'resources/read',
        { uri: `triggers://feeds/box.opened?box=${n}` },
        { as: subject },
      );
    const uris: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const { result } = await world.call(
        'resources/list',
        cursor === undefined ? {} : { cursor },
        { as: subject },
      );
      uris.push(...(result?.['resources'] as { uri: string }[]).map(({ uri }) => uri));
      cursor = result?.['nextCursor'] as string | undefined;
      pages += 1;
    } while (cursor !== undefined);
    assert.deepEqual(
      uris,
      Array.from({ length: 60 }, (_, n) => `triggers://feeds/box.opened?box=${n}`),
    );
    assert.equal(pages, 2);
  });
});
