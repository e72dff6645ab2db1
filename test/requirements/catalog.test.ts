/**
 * Tests trigger types: the list, its ETag, the effects of a change, and what a client without the
 * extension sees (SEP: Trigger types, Settings).
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { createEgress, createEngine, defineTrigger } from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';
import {
  box,
  EXTENSION,
  eventually,
  mail,
  meter,
  sequencesOf,
  world,
  type Json,
  type World,
} from './world.ts';

/** Another type, derived from `box`. */
const another = (name: string, change: Partial<typeof box.type> = {}): typeof box => ({
  ...box,
  type: { ...box.type, name, ...change },
});

describe('triggers/list', () => {
  test('[list-etag] every change of the list changes the etag, and an equal list has an equal etag', async (t) => {
    const w = await world(t);
    const seen = new Map<string, string>();
    const look = async (): Promise<string> => {
      const { etag, triggers } = await w.ok('triggers/list');
      const list = JSON.stringify(triggers);
      assert.ok(!seen.has(list) || seen.get(list) === etag);
      for (const [other, its] of seen)
        assert.equal(its === etag, other === list, 'two lists never share an etag');
      seen.set(list, etag);
      assert.equal((await w.ok('triggers/list', { ifNoneMatch: etag }))['notModified'], true);
      return etag;
    };
    const first = await look();
    w.engine.declare(another('box.closed'));
    await look();
    w.engine.declare(another('box.closed', { description: 'A box was closed.' }));
    await look();
    w.engine.declare(
      another('box.closed', {
        description: 'A box was closed.',
        retention: { maxAgeMs: 1, maxEvents: 1 },
      }),
    );
    const last = await look();
    await w.engine.remove('box.closed');
    await look();
    assert.notEqual(first, last);
    assert.ok(seen.size >= 4);
    const stale = await w.ok('triggers/list', { ifNoneMatch: last });
    assert.equal(stale['notModified'], undefined);
    assert.equal(stale['triggers'].length, 3);
  });

  test('[list-etag, list-private] each principal has its own etag when the list depends on the caller', async (t) => {
    const mayMail = new Set(['alice']);
    const w = await world(t, {
      engine: {
        authorize: ({ claims }, { name }) =>
          name !== 'mail.arrived' || mayMail.has(String(claims?.['sub'])),
      },
    });
    const of = async (as: string): Promise<[string[], string, string]> => {
      const { triggers, etag, cacheScope } = await w.ok('triggers/list', {}, { as });
      return [triggers.map(({ name }: Json) => name), etag, cacheScope];
    };
    const alice = await of('alice');
    const bob = await of('bob');
    assert.deepEqual(
      [alice[0], bob[0]],
      [
        ['box.opened', 'mail.arrived', 'meter.read'],
        ['box.opened', 'meter.read'],
      ],
    );
    assert.notEqual(alice[1], bob[1]);
    assert.deepEqual([alice[2], bob[2]], ['private', 'private']);
    mayMail.add('bob');
    assert.deepEqual(await of('bob'), alice);
  });

  test('[list-only-usable, list-etag-pages] no name comes twice over all pages, even when a type is declared a second time', async (t) => {
    const w = await world(t, {
      triggers: [box, ...Array.from({ length: 230 }, (_, at) => another(`many.${at}`))],
    });
    w.engine.declare(another('box.opened', { description: 'Again.' }));
    w.engine.declare(another('many.7', { description: 'Once more.' }));
    const names: string[] = [];
    const etags = new Set<string>();
    let cursor: string | undefined;
    do {
      const page: Json = await w.ok('triggers/list', cursor === undefined ? {} : { cursor });
      names.push(...page['triggers'].map(({ name }: Json) => name));
      etags.add(page['etag']);
      cursor = page['nextCursor'];
    } while (cursor !== undefined);
    assert.deepEqual([names.length, new Set(names).size, etags.size], [231, 231, 1]);
  });

  test("[type-source-order] a type is `arrival` unless it declares that it keeps the upstream's order, and then it is numbered in that order", async (t) => {
    const ordered = defineTrigger<object, { value: number }>({
      name: 'tick.ordered',
      description: 'Ordered.',
      ordering: 'source',
      input: { type: 'object' },
      payload: { type: 'object', required: ['value'], properties: { value: { type: 'integer' } } },
    });
    const w = await world(t, { triggers: [box, ordered] });
    const { triggers } = await w.ok('triggers/list');
    assert.deepEqual(
      triggers.map(({ name, ordering }: Json) => [name, ordering]),
      [
        ['box.opened', 'arrival'],
        ['tick.ordered', 'source'],
      ],
    );
    const { subscriptionId } = await w.subscribe({ select: [{ name: 'tick.ordered' }] });
    await Promise.all(
      Array.from({ length: 300 }, (_, value) => w.engine.emit(ordered.event({ data: { value } }))),
    );
    await w.engine.settled();
    const { events } = await w.pull(subscriptionId, { maxEvents: 1000 });
    assert.deepEqual(
      events.map(({ data }: Json) => data.value),
      Array.from({ length: 300 }, (_, at) => at),
    );
  });
});

describe('names', () => {
  test('[type-reserved] one that belongs to the protocol is not offered, neither at the start nor later', async (t) => {
    const w = await world(t);
    for (const name of ['mcp.made.up', 'mcp.', 'mcp.tools.list_changed']) {
      assert.throws(() => w.engine.declare(another(name)), /mcp\./, name);
      assert.throws(
        () =>
          createEngine({
            store: sqliteStore({ path: ':memory:', key: undefined }),
            egress: createEgress(),
            triggers: [another(name)],
          }),
        /mcp\./,
        name,
      );
    }
    w.engine.declare(another('mcpx.fine'));
    assert.deepEqual(
      (await w.ok('triggers/list'))['triggers']
        .map(({ name }: Json) => name)
        .filter((name: string) => name.startsWith('mcp')),
      ['mcpx.fine'],
    );
  });

  test('[subs-unknown-trigger] one that the principal may not see is answered like one that does not exist', async (t) => {
    const w = await world(t, { engine: { authorize: (_, { name }) => name !== 'mail.arrived' } });
    const select = (name: string): object => ({ key: 'k', select: [{ name }] });
    assert.deepEqual(
      await w.refused('triggers/subscribe', select('mail.arrived')),
      await w.refused('triggers/subscribe', select('nobody.knows')),
    );
    const { subscriptionId } = await w.subscribe();
    assert.deepEqual(
      await w.refused('triggers/update', { subscriptionId, ...select('mail.arrived') }),
      await w.refused('triggers/update', { subscriptionId, ...select('nobody.knows') }),
    );
  });
});

describe('changes of the catalog', () => {
  test('[type-breaking] removing a type, for good or to declare it with another schema, ends every subscription that selects it, with that reason', async (t) => {
    for (const reason of ['schema_changed', 'trigger_removed'] as const) {
      const w = await world(t);
      const endpoint = await w.endpoint();
      const both = await w.subscribe({ select: [{ name: 'meter.read' }, { name: 'box.opened' }] });
      const called = await w.subscribeTo(endpoint, { key: 'called' });
      const other = await w.subscribe({ select: [{ name: 'meter.read' }] });
      const stream = await w.stream({ subscriptionId: both['subscriptionId'] });
      await stream.next();
      await w.engine.remove('box.opened', reason);
      w.engine.declare(
        another('box.opened', {
          payloadSchema: {
            type: 'object',
            required: ['box'],
            properties: { box: { type: 'integer' } },
          },
        }),
      );
      assert.equal((await stream.end())['result']?.['resultType'], 'complete');
      assert.equal(stream.deliveries.at(-1)?.['terminated'].reason, reason);
      assert.equal((await endpoint.nth(1)).delivery['terminated'].reason, reason);
      for (const { subscriptionId } of [both, called]) {
        assert.partialDeepStrictEqual((await w.refused('triggers/pull', { subscriptionId })).data, {
          kind: 'subscription',
          reason,
          final: { head: 0 },
        });
      }
      assert.equal((await w.get(other['subscriptionId']))['head'], 0);
      assert.equal((await w.subscribe({ key: 'called' }))['created'], true);
    }
  });

  const wider = another('box.opened', {
    inputSchema: {
      ...box.type.inputSchema,
      properties: {
        ...(box.type.inputSchema['properties'] as object),
        floor: { type: 'integer' },
      },
    },
    payloadSchema: {
      ...box.type.payloadSchema,
      properties: {
        ...(box.type.payloadSchema['properties'] as object),
        floor: { type: 'integer' },
      },
    },
  });

  test('[type-breaking, type-additive] an additional optional member keeps subscriptions, their arguments and their log', async (t) => {
    const w = await world(t);
    const made = await w.subscribe({
      select: [{ name: 'box.opened', arguments: { box: 'front' } }],
    });
    await w.open(1);
    w.engine.declare(wider);
    await w.open(1);
    await w.engine.emit(box.event({ data: { box: 'front', floor: 2 } as never }));
    await w.engine.settled();
    const { subscriptionId, epoch, etag } = made;
    const now = await w.get(subscriptionId);
    assert.deepEqual([now['epoch'], now['etag'], now['head']], [epoch, etag, 3]);
    assert.deepEqual(
      (await w.pull(subscriptionId))['events'].map(({ data }: Json) => data),
      [{ box: 'front' }, { box: 'front' }, { box: 'front', floor: 2 }],
    );
    await w.subscribe({ select: [{ name: 'box.opened', arguments: { floor: 2 } }] });
  });

  test('[list-changed-send, cap-unasked] are announced on open streams, and nowhere else; deliveries come on their own stream only', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    const other = await w.subscribe({ select: [{ name: 'meter.read' }] });
    const stream = await w.stream({ subscriptionId });
    const quiet = await w.stream({ subscriptionId: other['subscriptionId'] });
    await stream.next();
    await quiet.next();
    const listen = await w.request('subscriptions/listen', {
      notifications: { toolsListChanged: true, triggersListChanged: true },
    });
    const heard: string[] = [];
    const reading = (async () => {
      for await (const chunk of listen.body?.pipeThrough(new TextDecoderStream()) ?? [])
        heard.push(String(chunk));
    })().catch(() => undefined);
    const responses = [
      await w.request('triggers/get', { subscriptionId }),
      await w.request('tools/list'),
    ];
    await w.open(2);
    w.engine.declare(another('box.closed'));
    await eventually('both streams have received it', () =>
      [stream, quiet].every(({ messages }) =>
        messages.some(({ method }) => method === 'notifications/triggers/list_changed'),
      ),
    );
    await eventually('both events', () => stream.deliveries.flatMap(sequencesOf).join() === '1,2');
    assert.deepEqual(quiet.deliveries.flatMap(sequencesOf), [], 'another log');
    for (const response of responses)
      assert.ok(!(await response.text()).includes('notifications/triggers/'));
    await w.stop();
    await reading;
    assert.ok(!heard.join('').includes('notifications/triggers/delivery'), heard.join(''));
    await w.start();
  });

  test('[list-changed-listen] subscriptions/listen is served without this extension and honors only the part of the filter that it can', async (t) => {
    const w = await world(t);
    const response = await w.request('subscriptions/listen', {
      notifications: { triggersListChanged: true },
    });
    w.engine.declare(another('box.closed'));
    const text = await response.text();
    assert.ok(!text.includes('list_changed'), text);
    assert.ok(!text.includes('"triggersListChanged":true'), 'not honored, and reported so');
  });
});

describe('a client without the extension', () => {
  /** All its answers, except to these methods, without the parts that always differ. */
  async function experience(w: World, except: readonly string[] = []): Promise<unknown[]> {
    const all: unknown[] = [];
    const asked = [
      ['server/discover', {}],
      ['tools/list', {}],
      ['resources/list', {}],
      ['prompts/list', {}],
      ['nobody/knows', {}],
      ['events/list', {}],
      ['events/subscribe', {}],
      ['events/poll', {}],
      ['events/stream', {}],
      ['tools/call', { name: 'x' }],
      ['subscriptions/listen', { notifications: {} }],
    ] as const;
    for (const [method, params] of asked.filter(([name]) => !except.includes(name))) {
      const { status, result, error } = await w.call(method, params, { id: 7 });
      const extensions = (result?.['capabilities'] as Json | undefined)?.['extensions'] as
        Json | undefined;
      const experimental = (result?.['capabilities'] as Json | undefined)?.['experimental'] as
        Json | undefined;
      if (extensions !== undefined) delete extensions[EXTENSION];
      if (experimental !== undefined) delete experimental[EXTENSION];
      const kept = JSON.stringify({ status, result, error })
        .replace(/,?"(extensions|experimental)":\{\}/g, '')
        .replaceAll('{,', '{');
      all.push([method, JSON.parse(kept)]);
    }
    return all;
  }

  test('[deg-none] is answered as by a server without the extension, apart from the declaration', async (t) => {
    const bare = await world(t, { bare: true });
    assert.deepEqual(
      await experience(await world(t, { attach: { dataRef: false } })),
      await experience(bare),
    );
    // The option `dataRef` is served by resources.
    const w = await world(t);
    const resources = ['server/discover', 'resources/list'];
    assert.deepEqual(await experience(w, resources), await experience(bare, resources));
    assert.deepEqual(Object.keys((await w.ok('server/discover'))['capabilities']).toSorted(), [
      'experimental',
      'extensions',
      'resources',
    ]);
    assert.deepEqual((await w.ok('resources/list'))['resources'], []);
  });

  test('[deg-server-same-log, deg-events-meta, deg-no-control] is not served events/* from these logs, so their rules cannot be broken', async (t) => {
    const w = await world(t);
    await w.open(1);
    for (const method of [
      'events/list',
      'events/subscribe',
      'events/stream',
      'events/poll',
      'events/unsubscribe',
    ]) {
      assert.equal(
        (await w.refused(method, { name: 'box.opened', delivery: { mode: 'poll' } })).code,
        -32601,
        method,
      );
    }
    const { result } = await w.call('server/discover');
    assert.ok(!JSON.stringify(result).includes('modelcontextprotocol/events'));
  });

  test('[cap-client-optional] gets the same answers whether it declares the identifier or not', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    await w.open(1);
    for (const method of ['triggers/list', 'triggers/get', 'triggers/pull'] as const) {
      const params = method === 'triggers/list' ? {} : { subscriptionId };
      const [without, declared] = await Promise.all(
        [{}, { extensions: { [EXTENSION]: {} } }].map((clientCapabilities) =>
          w.ok(method, params, { clientCapabilities, id: 1 }),
        ),
      );
      assert.deepEqual({ ...declared, renewAfterMs: 0 }, { ...without, renewAfterMs: 0 });
    }
  });

  test('[cap-levels] every drain that is declared is accepted', async (t) => {
    const w = await world(t);
    const { capabilities } = await w.ok('server/discover');
    assert.deepEqual(capabilities.extensions[EXTENSION].levels, [
      'log',
      'stream',
      'callback',
      'durable',
    ]);
    const endpoint = await w.endpoint();
    const { subscriptionId } = await w.subscribeTo(endpoint);
    const stream = await w.stream({ subscriptionId });
    await stream.next();
    await w.open(1);
    assert.deepEqual(
      [
        sequencesOf((await endpoint.nth(1)).delivery),
        sequencesOf(await stream.next()),
        (await w.pull(subscriptionId, { maxEvents: 0 }))['head'],
      ],
      [[1], [1], 1],
    );
  });
});

test('[type-payload-valid, sub-match] an event that does not fit is a gap; an argument admits exactly the events that its description promises', async (t) => {
  const w = await world(t);
  const one = await w.subscribe({ select: [{ name: 'box.opened', arguments: { box: 'a' } }] });
  const any = await w.subscribe({
    select: [{ name: 'box.opened', arguments: { box: ['a', 'b'] } }],
  });
  const all = await w.subscribe();
  for (const event of [
    box.event({ data: { box: 7 } as never }),
    meter.event({ data: { value: 1.5 } }),
    mail.event({ data: {} as never }),
  ])
    assert.equal((await w.engine.emit(event)).gap, 'invalid');
  for (const name of ['a', 'b', 'c', 'a']) await w.open(1, { box: name });
  for (const { subscriptionId } of [one, any, all])
    assert.deepEqual((await w.pull(subscriptionId))['gaps'][0], {
      from: 1,
      to: 1,
      reason: 'invalid',
    });
  const boxes = async ({ subscriptionId }: Json): Promise<string[]> =>
    (await w.pull(subscriptionId))['events'].map(({ data }: Json) => data.box);
  assert.deepEqual(
    [await boxes(one), await boxes(any), await boxes(all)],
    [
      ['a', 'a'],
      ['a', 'b', 'a'],
      ['a', 'b', 'c', 'a'],
    ],
  );
});
