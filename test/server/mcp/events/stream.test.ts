/**
 * Tests `events/stream` over HTTP: what comes first, the order of the rest, what a gap looks like,
 * and how a stream ends.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import { attachEvents } from 'mcp-triggers-experimental/server';
import { alarm, startEngine, until, type Message } from '../harness.ts';
import {
  box,
  eventsWorld,
  eventually,
  mail,
  meter,
  SEP,
  TAG,
  TRIGGERS,
  type Json,
} from './world.ts';

const SHORT = { engine: { streamHeartbeatMs: 1000 } };

describe('a stream', () => {
  test('sends active at once, then events, each with its cursor, its number and the id of its request [SEP-3415 D19 D20 D21 D24] [deg-events-meta]', async (t) => {
    const w = await eventsWorld(t);
    await w.open(1, { text: 'before' });
    const stream = await w.listen({}, { ...SEP, id: 'str-1' });
    const active = await stream.expect('active');
    assert.deepEqual(
      [active['truncated'], typeof active['cursor'], active['_meta'][TAG]],
      [false, 'string', 'str-1'],
    );
    await w.open(1, { text: 'one' });
    const event = await stream.expect('event');
    const { _meta, cursor, ...occurrence } = event;
    assert.deepEqual(
      [occurrence['name'], occurrence['data']['text'], _meta[TAG]],
      [box.type.name, 'one', 'str-1'],
    );
    assert.deepEqual(Object.keys(occurrence).sort(), ['data', 'eventId', 'name', 'timestamp']);
    assert.equal(_meta[TRIGGERS].sequence, 1);
    assert.ok(stream.messages.every(({ method }) => method.startsWith('notifications/events/')));
    // The cursor is the event's own position: nothing is left after it.
    assert.deepEqual((await w.poll({ cursor }))['events'], []);
  });

  test('continues from a cursor: active first, then everything behind it in order [SEP-3415 D27 U14]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    await w.open(3);
    const stream = await w.listen({ cursor });
    assert.equal((await stream.expect('active'))['cursor'], cursor);
    const numbers = [];
    for (let n = 0; n < 3; n += 1)
      numbers.push((await stream.expect('event'))['_meta'][TRIGGERS].sequence);
    assert.deepEqual(numbers, [1, 2, 3]);
    // Events that were lost on the way are sent again.
    const again = await w.listen({ cursor });
    await again.expect('active');
    assert.equal((await again.expect('event'))['_meta'][TRIGGERS].sequence, 1);
  });

  test('sends more than a window without acknowledgements, because sending acknowledges', async (t) => {
    const w = await eventsWorld(t);
    const stream = await w.listen();
    await stream.expect('active');
    await w.open(350);
    await eventually('all events', () => stream.messages.length >= 351);
    const numbers = stream.messages
      .filter(({ method }) => method === 'notifications/events/event')
      .map(({ params }) => params['_meta'][TRIGGERS].sequence);
    assert.deepEqual(
      numbers,
      Array.from({ length: 350 }, (_, at) => at + 1),
    );
    await eventually(
      'the acknowledgement',
      async () => (await w.ok('triggers/subscriptions'))['subscriptions'][0]['acked'] === 350,
    );
  });

  test('sends more than a window also from a start that skips events', async (t) => {
    const w = await eventsWorld(t);
    await w.poll({});
    await w.open(5);
    const fromNow = await w.listen();
    await fromNow.expect('active');
    await w.pass(10_000);
    const { cursor } = await w.poll({});
    const recent = await w.listen({ cursor, maxAgeMs: 1000 });
    await recent.expect('active');
    await w.open(250);
    for (const stream of [fromNow, recent])
      await eventually('all new events', () => stream.messages.length >= 251);
    await eventually(
      'the acknowledgement',
      async () => (await w.ok('triggers/subscriptions'))['subscriptions'][0]['acked'] === 255,
    );
  });

  test('sends heartbeats as data with a cursor [SEP-3415 R15 R16 D25 D55]', async (t) => {
    const w = await eventsWorld(t, SHORT);
    const stream = await w.listen();
    const { cursor } = await stream.expect('active');
    await w.open();
    const { cursor: later } = await stream.expect('event');
    await w.pass(1000);
    const beat = await stream.expect('heartbeat');
    assert.deepEqual([beat['cursor'], typeof beat['_meta'][TAG]], [later, 'number']);
    assert.notEqual(later, cursor);
  });

  test('has a default heartbeat below the required thirty seconds [SEP-3415 R16 U9]', async (t) => {
    const w = await eventsWorld(t);
    const stream = await w.listen();
    await stream.expect('active');
    await w.pass(15_000);
    await stream.expect('heartbeat');
  });

  test('carries only its own notifications, even when the list changes [SEP-3415 D24]', async (t) => {
    const w = await eventsWorld(t, SHORT);
    const stream = await w.listen();
    await stream.expect('active');
    await w.poll({ name: meter.type.name });
    w.engine.declare(mail);
    await w.engine.emit(meter.event({ data: { value: 1 } }));
    await w.open();
    assert.equal((await stream.expect('event'))['name'], box.type.name);
    assert.equal(stream.messages.length, 2);
  });

  test('may be open many times for one client [SEP-3415 R20]', async (t) => {
    const w = await eventsWorld(t);
    const streams = await Promise.all(
      Array.from({ length: 40 }, (_, n) => w.listen({ arguments: { box: `d${n}` } })),
    );
    for (const stream of streams) await stream.expect('active');
    await w.open(1, { box: 'd7' });
    assert.equal((await streams[7]!.expect('event'))['data']['box'], 'd7');
    assert.equal((await w.engine.health()).streams, 40);
  });

  test('keeps its log for as long as it is open', async (t) => {
    const w = await eventsWorld(t, { engine: { ttl: { maxMs: 120_000 } } });
    const stream = await w.listen();
    const { cursor } = await stream.expect('active');
    for (let minutes = 0; minutes < 10; minutes += 1) {
      const before = stream.messages.length;
      for (let quarter = 0; quarter < 4; quarter += 1) await w.pass(15_000);
      await eventually('heartbeats', () => stream.messages.length > before);
      // The renewal goes through the store; it must settle before time advances.
      await w.ok('triggers/subscriptions');
    }
    await w.open();
    assert.equal(stream.over, false);
    assert.partialDeepStrictEqual(await w.poll({ cursor }), { truncated: false });
  });
});

describe('a gap on a stream', () => {
  test('is another active with truncated and a fresh cursor, in its place between the events; delivery continues [SEP-3415 D23 D22]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    // Two adjacent gaps of different reasons are one, since this protocol does not carry reasons.
    for (const eventId of ['a', 'b', 'c', 'd', 'e'])
      await w.engine.emit(
        box.event({
          eventId,
          data: { box: 'front', ...(eventId === 'b' ? { text: 'x'.repeat(300_000) } : {}) },
        }),
      );
    await w.engine.settled();
    for (const eventId of ['c', 'e']) await w.engine.redact({ name: box.type.name, eventId });
    const stream = await w.listen({ cursor });
    assert.equal((await stream.expect('active'))['truncated'], false);
    assert.equal((await stream.expect('event'))['eventId'], 'a');
    const gap = await stream.expect('active');
    assert.equal(gap['truncated'], true);
    assert.deepEqual(
      (await w.poll({ cursor: gap['cursor'], maxEvents: 1 }))['events'].map(
        ({ eventId }: Json) => eventId,
      ),
      ['d'],
    );
    assert.equal((await stream.expect('event'))['eventId'], 'd');
    assert.equal((await stream.expect('active'))['truncated'], true);
    await w.open(1, { text: 'goes on' });
    assert.equal((await stream.expect('event'))['data']['text'], 'goes on');
  });

  test('at the beginning is reported by the first active, as is a cursor that cannot be served [SEP-3415 D57 R76]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    await w.engine.emit(box.event({ eventId: 'a', data: { box: 'front' } }));
    await w.engine.settled();
    await w.engine.redact({ name: box.type.name, eventId: 'a' });
    for (const given of [cursor, 'nonsense']) {
      const stream = await w.listen({ cursor: given });
      assert.equal((await stream.expect('active'))['truncated'], true);
      stream.close();
    }
    await w.open();
    await w.pass(60_000);
    const stream = await w.listen({ cursor, maxAgeMs: 30_000 });
    assert.equal((await stream.expect('active'))['truncated'], true);
    await w.open(1, { text: 'young' });
    assert.equal((await stream.expect('event'))['data']['text'], 'young');
  });
});

describe('a stream ends', () => {
  test('with a typed error before it is open, and then no log was opened [SEP-3415 D18]', async (t) => {
    const w = await eventsWorld(t, {
      triggers: [box, { ...mail, type: { ...mail.type, drains: ['pull'] } }],
    });
    for (const [params, error] of [
      [{ name: 'no.such' }, { code: -32023, data: { kind: 'event' } }],
      [
        { name: box.type.name, arguments: { box: 7 } },
        { code: -32602, data: { path: '/arguments/box' } },
      ],
      [
        { name: mail.type.name },
        { code: -32026, data: { feature: 'deliveryMode', value: 'push' } },
      ],
    ] as const)
      assert.partialDeepStrictEqual(await w.refused('events/stream', params, SEP), error);
    assert.partialDeepStrictEqual(
      await w.refused('events/stream', { name: box.type.name }, { ...SEP, as: null }),
      { code: -32024 },
    );
    assert.equal((await w.engine.health()).streams, 0);
  });

  test('when the client goes, and everything it held is released [SEP-3415 R19]', async (t) => {
    const w = await eventsWorld(t);
    const stream = await w.listen();
    await stream.expect('active');
    assert.equal((await w.engine.health()).streams, 1);
    stream.close();
    await eventually('the release', async () => (await w.engine.health()).streams === 0);
  });

  test('with terminated and the error, then the result, when the server ends what it follows [SEP-3415 R8 D9 D22 D26 D58]', async (t) => {
    const w = await eventsWorld(t);
    const principal = JSON.stringify(['https://issuer.example', 'alice', 'test']);
    for (const [end, error] of [
      [
        () => w.engine.terminate({ principal }, 'revoked'),
        { code: -32024, data: { reason: 'revoked' } },
      ],
      [
        () => w.engine.remove(box.type.name, 'schema_changed'),
        { code: -32026, data: { feature: 'payloadSchema', reason: 'schema_changed' } },
      ],
      [() => w.engine.remove(meter.type.name), { code: -32023, data: { kind: 'event' } }],
    ] as const) {
      const name = error.code === -32023 ? meter.type.name : box.type.name;
      const stream = await w.listen({ name }, { ...SEP, id: 'ends' });
      await stream.expect('active');
      await end();
      const terminated = await stream.expect('terminated');
      assert.partialDeepStrictEqual(terminated, { error, _meta: { [TAG]: 'ends' } });
      const { id, result } = await stream.end();
      assert.deepEqual(
        [id, result['resultType'], result['_meta'][TAG]],
        ['ends', 'complete', 'ends'],
      );
    }
  });

  test('without terminated when the client requested the end', async (t) => {
    const w = await eventsWorld(t);
    const stream = await w.listen();
    await stream.expect('active');
    const {
      subscriptions: [{ subscriptionId }],
    } = await w.ok('triggers/subscriptions');
    await w.ok('triggers/unsubscribe', { subscriptionId });
    await stream.end();
    assert.deepEqual(
      stream.messages.map(({ method }) => method),
      ['notifications/events/active', undefined],
    );
  });

  test('with Forbidden on the stream when the permission is gone at the renewal [SEP-3415 R87]', async (t) => {
    let banned = false;
    const w = await eventsWorld(t, {
      engine: { ttl: { maxMs: 60_000 }, authorize: () => !banned, visible: () => true },
    });
    const stream = await w.listen();
    await stream.expect('active');
    banned = true;
    await w.pass(45_000);
    await eventually('the termination notice', () =>
      stream.messages.some(({ method }) => method === 'notifications/events/terminated'),
    );
    assert.partialDeepStrictEqual(
      stream.messages.find(({ method }) => method === 'notifications/events/terminated')?.[
        'params'
      ],
      { error: { code: -32024 } },
    );
    assert.ok((await stream.end())['result']);
  });

  test('with the authorization it was opened with', async (t) => {
    const w = await eventsWorld(t, { tokensExpireAt: Date.UTC(2026, 10, 21, 9, 30) / 1000 + 2 });
    const stream = await w.listen();
    await stream.expect('active');
    await w.pass(2000);
    assert.ok((await stream.end())['result']);
  });

  test('on a pipe when the client cancels it, after which it sends nothing more [SEP-3415 R19 D20]', async (t) => {
    const engine = await startEngine();
    const mcp = new McpServer({ name: 'test', version: '1' });
    attachEvents(mcp, engine);
    const [near, far] = InMemoryTransport.createLinkedPair();
    const messages: Message[] = [];
    near.onmessage = (message) => void messages.push(message as Message);
    await mcp.connect(far);
    await near.start();
    t.onTestFinished(async () => {
      await near.close();
      await engine.close();
    });
    const send = (message: object) =>
      near.send({ jsonrpc: '2.0', ...message } as Parameters<typeof near.send>[0]);
    const about = (id: number) =>
      messages.filter(({ params }) => (params?.['_meta'] as Json | undefined)?.[TAG] === id);
    await send({
      id: 0,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'test', version: '1' },
      },
    });
    await send({ method: 'notifications/initialized' });
    for (const id of [1, 2])
      await send({
        id,
        method: 'events/stream',
        params: { name: alarm.type.name, arguments: id === 1 ? {} : { house: 'x' } },
      });
    await until(async () => about(1).length === 1 && about(2).length === 1);
    await send({ method: 'notifications/cancelled', params: { requestId: 1 } });
    await until(async () => (await engine.health()).streams === 1);
    await engine.emit(alarm.event({ data: { house: 'x' } }));
    await until(async () => about(2).length === 2);
    assert.equal(about(1).length, 1);
    assert.deepEqual(
      about(2).map(({ method }) => method),
      ['notifications/events/active', 'notifications/events/event'],
    );
  });
});
