/**
 * Tests what accepting an event means when something about it is unusual: its data do not match the
 * schema, its type is unknown, it has an audience, or its source could not watch.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import type { Caller, DeclaredTrigger } from '../../../src/server/engine/verbs.ts';
import * as harness from './harness.ts';
import { ann, bob, kill, numbers, tock, turns, type World } from './harness.ts';

/** As in the harness, but `topic` can be a list. */
const topic = { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] };
const tick: DeclaredTrigger = {
  type: {
    ...harness.tick.type,
    inputSchema: { type: 'object', properties: { topic }, additionalProperties: false },
  },
};
const world = (options: harness.WorldOptions = {}): Promise<World> =>
  harness.world({ triggers: [tick, tock], ...options });
const eve: Caller = { principal: 'eve' };
const meter = () => {
  const counted = new Map<string, number>();
  return {
    counted,
    count: (name: string, by = 1, labels: object = {}) => {
      const key = [name, ...Object.values(labels)].join(' ');
      counted.set(key, (counted.get(key) ?? 0) + by);
    },
    observe: () => undefined,
    gauge: () => undefined,
  };
};
const follow = async (w: World, key: string, args: object = {}, who = ann, name = 'tick') =>
  (
    await w.engine.subscribe(who, {
      key,
      select: [{ name, arguments: args as Record<string, unknown> }],
    })
  ).subscriptionId;
const pull = async (w: World, subscriptionId: string, who = ann): Promise<Delivery> =>
  await w.engine.pull(who, { subscriptionId, maxEvents: 1000 });
const gap = (from: number, reason: string, to = from) => ({ from, to, reason });

describe('events that do not match their type', () => {
  test('[type-payload-valid] become a gap in every log that selects the type, unless a valid argument shows that they do not match', async () => {
    const counter = meter();
    const w = await world({ meter: counter });
    const all = await follow(w, 'all');
    const red = await follow(w, 'red', { topic: 'red' });
    const blue = await follow(w, 'blue', { topic: ['blue', 'green'] });
    const other = await follow(w, 'other', {}, ann, 'tock');
    const emit = (data: unknown) => w.engine.emit({ name: 'tick', data });
    assert.deepEqual((await emit({ n: 1, topic: 'red' })).gap, null);
    assert.deepEqual((await emit({ n: 'two', topic: 'red' })).gap, 'invalid');
    // The topic is not valid, so it shows nothing.
    await emit({ n: 'three', topic: 3 });
    await emit([]);
    await emit('five');
    await emit({ n: 6, topic: 'blue' });
    await w.engine.settled();
    const seen = async (id: string) => {
      const { events, gaps = [] } = await pull(w, id);
      return [numbers({ events }), gaps];
    };
    assert.deepEqual(await seen(all), [[1, 6], [gap(2, 'invalid', 5)]]);
    assert.deepEqual(await seen(red), [[1], [gap(2, 'invalid', 5)]]);
    assert.deepEqual(await seen(blue), [[4], [gap(1, 'invalid', 3)]]);
    assert.deepEqual(await seen(other), [[], []]);
    assert.equal(counter.counted.get('triggers_events_invalid_total'), 4);
    const told = w.logged.filter(({ message }) => message.includes('payloadSchema'));
    assert.equal(told.length, 4);
    assert.ok(!JSON.stringify(told).includes('three'), 'the log must not repeat data');
    await w.close();
  });

  test('[type-payload-valid] the predicate of the type is not asked about them, and an attribute that throws shows nothing', async () => {
    const asked: unknown[] = [];
    const w = await world({
      triggers: [
        {
          type: tick.type,
          attributes: { topic: (data: never) => (data as { deep: { topic: string } }).deep.topic },
          match: (_args, data: never) => asked.push(data) < 0,
        },
      ],
    });
    const red = await follow(w, 'red', { topic: 'red' });
    await w.engine.emit({ name: 'tick', data: { n: 'x', deep: { topic: 'blue' } } });
    await w.engine.emit({ name: 'tick', data: { n: 'x' } });
    await w.engine.settled();
    assert.deepEqual((await pull(w, red)).gaps, [gap(1, 'invalid')]);
    assert.deepEqual(asked, []);
    await w.close();
  });

  test('[type-payload-valid log-once] stay gaps: for data that JSON cannot express, after a repetition, with since, and after a crash before they had their numbers', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'acceptance-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'triggers.db');
    const before = await world({ path, sequencerChunk: 1 });
    const ids = [await follow(before, 'a'), await follow(before, 'b'), await follow(before, 'c')];
    const emit = (data: unknown) => before.engine.emit({ name: 'tick', eventId: 'same', data });
    before.meddled.asked = (question) =>
      question === 'accepted' ? new Promise<void>(() => undefined) : undefined;
    assert.deepEqual(await emit({ n: 1n }), { eventId: 'same', duplicate: false, gap: 'invalid' });
    assert.deepEqual(await emit({ n: 1 }), { eventId: 'same', duplicate: true, gap: null });
    await kill(before);
    const w = await world({ path, seed: 2 });
    await w.engine.settled();
    for (const id of ids) {
      const { events, gaps } = await pull(w, id);
      assert.deepEqual([events, gaps], [[], [gap(1, 'invalid')]]);
    }
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'since',
      select: [{ name: 'tick' }],
      since: new Date(w.clock.now() - 1000).toISOString(),
    });
    assert.deepEqual((await pull(w, subscriptionId)).gaps, [gap(1, 'invalid')]);
    await w.close();
  });

  test('[type-unknown-event] an event of an unknown type, or without a usable identifier, is rejected, logged and counted', async () => {
    const counter = meter();
    const w = await world({ meter: counter });
    for (const [event, code] of [
      [{ name: 'nothing', eventId: 'e1', data: {} }, 'trigger_unknown'],
      [{ name: 'tick', eventId: 'x'.repeat(300), data: {} }, 'payload_invalid'],
      [{ name: 'tick', eventId: 'e2', timestamp: 'yesterday', data: {} }, 'payload_invalid'],
    ] as const)
      await assert.rejects(w.engine.emit(event), { code });
    assert.deepEqual(
      w.logged
        .filter(({ level }) => level === 'warn')
        .map(({ fields }) => (fields as { code: string }).code),
      ['trigger_unknown', 'payload_invalid', 'payload_invalid'],
    );
    assert.deepEqual(
      [...counter.counted].filter(([name]) => name.includes('rejected')),
      [
        ['triggers_events_rejected_total trigger_unknown', 1],
        ['triggers_events_rejected_total payload_invalid', 2],
      ],
    );
    await w.close();
  });
});

describe('sources that could not watch', () => {
  test('[log-unwatched] a gap of reason unwatched enters every log of the type that the arguments do not exclude, in order', async () => {
    const w = await world();
    const all = await follow(w, 'all');
    const red = await follow(w, 'red', { topic: 'red' });
    const blue = await follow(w, 'blue', { topic: 'blue' });
    const unwatched = (args?: Record<string, unknown>, eventId?: string) =>
      w.engine.emit({
        name: 'tick',
        gap: 'unwatched',
        ...(args === undefined ? {} : { arguments: args }),
        ...(eventId === undefined ? {} : { eventId }),
      });
    await w.emit(1, { topic: 'red' });
    assert.equal((await unwatched({ topic: 'red' }, 'outage')).gap, 'unwatched');
    assert.equal((await unwatched({ topic: 'red' }, 'outage')).duplicate, true);
    await unwatched();
    await unwatched({ topic: ['blue', 'green'] });
    await w.emit(2, { topic: 'red' });
    await w.engine.settled();
    const seen = async (id: string) => {
      const { events, gaps = [] } = await pull(w, id);
      return [numbers({ events }), gaps];
    };
    assert.deepEqual(await seen(all), [[1, 5], [gap(2, 'unwatched', 4)]]);
    assert.deepEqual(await seen(red), [[1, 4], [gap(2, 'unwatched', 3)]]);
    assert.deepEqual(await seen(blue), [[], [gap(1, 'unwatched', 2)]]);
    for (const wrong of [{ topic: 7 }, { subject: 'red' }, { topic: ['red', 7] }])
      await assert.rejects(unwatched(wrong), { code: 'payload_invalid' });
    await w.close();
  });
});

describe('audience', () => {
  const list = (name: string) => ({
    type: {
      ...tock.type,
      name,
      inputSchema: { type: 'object', properties: {}, additionalProperties: false },
    },
  });

  test('[log-all-matching type-reserved-audience] an event with an audience enters the logs of these owners only', async () => {
    const w = await world();
    const of = new Map<string, string>();
    for (const who of [ann, bob, eve])
      of.set(who.principal, await follow(w, 'k', { topic: 'red' }, who));
    const wide = await follow(
      w,
      'wide',
      { topic: Array.from({ length: 70 }, (_, at) => `${at}`).concat('red') },
      bob,
    );
    const emit = (n: number, audience?: readonly string[] | 'everybody') =>
      w.engine.emit({
        name: 'tick',
        data: { n, topic: 'red' },
        ...(audience === undefined ? {} : { audience }),
      });
    await emit(1, ['bob']);
    await emit(2, ['bob', 'eve', 'nobody', 'bob']);
    await emit(3);
    await emit(4, []);
    await emit(5, 'everybody');
    await w.engine.settled();
    const seen = async (who: Caller, id: string) =>
      (await pull(w, id, who)).events.map(({ data }) => (data as { n: number }).n);
    assert.deepEqual(await seen(ann, of.get('ann')!), [3, 5]);
    assert.deepEqual(await seen(bob, of.get('bob')!), [1, 2, 3, 5]);
    assert.deepEqual(await seen(bob, wide), [1, 2, 3, 5]);
    assert.deepEqual(await seen(eve, of.get('eve')!), [2, 3, 5]);
    const late = await w.engine.subscribe(eve, {
      key: 'since',
      select: [{ name: 'tick' }],
      since: new Date(w.clock.now() - 1000).toISOString(),
    });
    assert.deepEqual(await seen(eve, late.subscriptionId), [2, 3, 5], 'history');
    for (const audience of [[''], ['x'.repeat(2000)], Array(1001).fill('ann')])
      await assert.rejects(emit(6, audience), { code: 'payload_invalid' });
    await w.close();
  });

  test('[log-all-matching] an audience is kept while an event waits for its numbers, over a crash', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'acceptance-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'triggers.db');
    const before = await world({ path, sequencerChunk: 1 });
    const of = new Map<string, string>();
    for (const who of [ann, bob, eve]) of.set(who.principal, await follow(before, 'k', {}, who));
    before.meddled.asked = (question) =>
      question === 'accepted' ? new Promise<void>(() => undefined) : undefined;
    await before.engine.emit({ name: 'tick', data: { n: 1 }, audience: ['bob', 'eve'] });
    await kill(before);
    const w = await world({ path });
    await w.engine.settled();
    for (const [who, count] of [
      [ann, 0],
      [bob, 1],
      [eve, 1],
    ] as const)
      assert.equal(
        (await pull(w, of.get(who.principal)!, who)).events.length,
        count,
        who.principal,
      );
    await w.close();
  });

  test('[type-reserved-audience] types that concern an owner reject an event without an audience', async () => {
    const w = await world({
      triggers: [
        tick,
        list('mcp.tools.list_changed'),
        { ...list('profile.changed'), audience: 'required' as const },
      ],
    });
    for (const name of ['mcp.tools.list_changed', 'profile.changed']) {
      await assert.rejects(w.engine.emit({ name, data: {} }), {
        code: 'payload_invalid',
        message: /audience/,
      });
      const mine = await follow(w, name, {}, ann, name);
      const theirs = await follow(w, name, {}, bob, name);
      await w.engine.emit({ name, data: {}, audience: ['ann'] });
      await w.engine.settled();
      assert.equal((await pull(w, mine)).events.length, 1);
      assert.equal((await pull(w, theirs, bob)).events.length, 0);
    }
    await turns();
    await w.close();
  });
});
