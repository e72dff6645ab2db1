/** Tests level-triggered types: the first event of a new log is the present state. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import type { DeclaredTrigger } from '../../../src/server/engine/verbs.ts';
import {
  ann,
  bob,
  CALLBACK,
  refusal,
  SECOND,
  tick,
  tock,
  turns,
  world,
  type World,
} from './harness.ts';

interface Status {
  readonly topic: string;
  readonly n: number;
}
/** A source with a state for each topic, which a test can change while the engine reads it. */
function source(): {
  readonly states: Map<string, Status>;
  readonly type: DeclaredTrigger;
  before: () => Promise<void> | void;
} {
  const one = {
    states: new Map<string, Status>(),
    before: (): Promise<void> | void => undefined,
    type: {
      type: {
        ...tick.type,
        name: 'status',
        inputSchema: {
          type: 'object',
          properties: { topic: { type: 'string' } },
          required: ['topic'],
          additionalProperties: false,
        },
        history: undefined,
      },
      async initial({ topic }: Readonly<Record<string, unknown>>) {
        const data = one.states.get(topic as string);
        await one.before();
        return data === undefined ? null : { data, eventId: `${data.topic}@${data.n}` };
      },
    } as unknown as DeclaredTrigger,
  };
  delete (one.type.type as { history?: unknown }).history;
  return one;
}
const select = (...topics: string[]) =>
  topics.map((topic) => ({ name: 'status', arguments: { topic } }));
const pull = async (w: World, subscriptionId: string, who = ann): Promise<Delivery> =>
  await w.engine.pull(who, { subscriptionId, maxEvents: 1000 });
const states = ({ events }: Delivery): string[] =>
  events.map(({ sequence, data }) => `${sequence} ${(data as Status).topic}@${(data as Status).n}`);
const change = (w: World, s: ReturnType<typeof source>, topic: string, n: number) => {
  s.states.set(topic, { topic, n });
  return w.engine.emit({ name: 'status', eventId: `${topic}@${n}`, data: { topic, n } });
};

describe('level-triggered types', () => {
  test('[type-initial] the first event of a new log is the present state; another log, and a renewal, get nothing of it', async () => {
    const s = source();
    const w = await world({ triggers: [s.type, tock] });
    assert.equal(
      ((await w.engine.list(ann, {})) as { triggers: { initial?: boolean }[] }).triggers[0]
        ?.initial,
      true,
    );
    await change(w, s, 'red', 1);
    await change(w, s, 'blue', 7);
    const make = (key: string, who = ann, topics = ['red']) =>
      w.engine.subscribe(who, { key, select: select(...topics) });
    const first = await make('first');
    assert.deepEqual([first.created, first.head], [true, 1]);
    const theirs = await make('theirs', bob);
    assert.equal((await make('first')).head, 1, 'a renewal');
    await change(w, s, 'red', 2);
    await w.engine.settled();
    assert.deepEqual(states(await pull(w, first.subscriptionId)), ['1 red@1', '2 red@2']);
    assert.deepEqual(states(await pull(w, theirs.subscriptionId, bob)), ['1 red@1', '2 red@2']);
    const both = await make('both', ann, ['blue', 'red', 'red', 'green']);
    assert.deepEqual(states(await pull(w, both.subscriptionId)), ['1 blue@7', '2 red@2']);
    await w.close();
  });

  test('[type-initial subs-from-now] what happens while the state is read follows it, once', async () => {
    const s = source();
    const w = await world({ triggers: [s.type, tock] });
    await change(w, s, 'red', 1);
    s.before = async () => {
      s.before = () => undefined;
      await change(w, s, 'red', 2);
      await change(w, s, 'blue', 3);
      const unwritten = change(w, s, 'red', 4);
      await turns(1);
      void unwritten;
    };
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select: select('red') });
    await change(w, s, 'red', 5);
    await w.engine.settled();
    assert.deepEqual(states(await pull(w, subscriptionId)), [
      '1 red@1',
      '2 red@2',
      '3 red@4',
      '4 red@5',
    ]);
    const accepted = await w.inner.accepted(0, 100);
    assert.equal(new Set(accepted.map(({ offset }) => offset)).size, accepted.length);
    await w.close();
  });

  test('[type-initial] the state comes first although earlier events still lack their numbers', async () => {
    const s = source();
    const w = await world({ triggers: [s.type, tock], sequencerChunk: 1 });
    await change(w, s, 'red', 1);
    const make = async (key: string) =>
      (await w.engine.subscribe(ann, { key, select: select('red') })).subscriptionId;
    const before = [await make('a'), await make('b'), await make('c')];
    await w.engine.settled();
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    w.meddled.asked = (question) => (question === 'accepted' ? released : undefined);
    await change(w, s, 'red', 2);
    assert.ok((await w.engine.health()).sequencerLag > 0);
    const late = await make('late');
    release();
    await change(w, s, 'red', 3);
    await w.engine.settled();
    for (const id of before)
      assert.deepEqual(states(await pull(w, id)), ['1 red@1', '2 red@2', '3 red@3']);
    assert.deepEqual(states(await pull(w, late)), ['1 red@2', '2 red@3']);
    await w.close();
  });

  test('[type-initial] the state arrives by callback too', async () => {
    const s = source();
    const w = await world({ triggers: [s.type, tock] });
    s.states.set('red', { topic: 'red', n: 1 });
    await w.engine.subscribe(ann, { key: 'k', select: select('red'), callback: CALLBACK });
    await turns();
    assert.deepEqual(
      w.endpoints.requests.map(({ delivery }) => states(delivery)),
      [['1 red@1']],
    );
    await w.close();
  });

  test('[type-initial type-payload-valid] without a state there is no event, and a state that does not fit is a gap', async () => {
    const s = source();
    const w = await world({ triggers: [s.type, tock] });
    const none = await w.engine.subscribe(ann, { key: 'none', select: select('red') });
    assert.equal(none.head, 0);
    s.states.set('odd', { topic: 'odd', n: 'one' } as unknown as Status);
    const odd = await w.engine.subscribe(ann, { key: 'odd', select: select('odd') });
    assert.deepEqual((await pull(w, odd.subscriptionId)).gaps, [
      { from: 1, to: 1, reason: 'invalid' },
    ]);
    await w.close();
  });

  test('[type-initial] a state that cannot be read, or takes too long, leaves no subscription', async () => {
    const s = source();
    const w = await world({ triggers: [s.type, tock] });
    const make = () => w.engine.subscribe(ann, { key: 'k', select: select('red') });
    s.before = () => Promise.reject(new Error('the upstream is down'));
    await assert.rejects(make(), { message: /present state/ });
    s.before = () => new Promise<void>(() => undefined);
    const slow = make();
    slow.catch(() => undefined);
    await w.pass(11 * SECOND);
    await assert.rejects(slow, { message: /present state/ });
    assert.equal((await w.inner.stats()).subscriptions, 0);
    s.before = () => undefined;
    assert.equal((await make()).created, true);
    await w.close();
  });

  test('[type-reserved] types that describe a state are declared with it, and a type with a state has no history', async () => {
    const declared = (name: string, more: object = {}, initial?: () => null): DeclaredTrigger => ({
      type: { ...tock.type, name, inputSchema: { type: 'object', properties: {} }, ...more },
      ...(initial === undefined ? {} : { initial }),
    });
    const uri = { inputSchema: { type: 'object', properties: { uri: { type: 'string' } } } };
    const w = await world({ triggers: [tock] });
    for (const wrong of [
      declared('mcp.resource.updated', uri),
      declared('x', { initial: true }),
      declared('x', { history: { maxAgeMs: 1000 } }, () => null),
    ])
      assert.throws(() => w.engine.declare(wrong), { code: 'config_invalid', message: /initial/ });
    w.engine.declare(declared('mcp.resource.updated', uri, () => null));
    await refusal(
      w.engine.subscribe(ann, {
        key: 'since',
        select: [{ name: 'mcp.resource.updated', arguments: { uri: 'x:y' } }],
        since: new Date(w.clock.now()).toISOString(),
      }),
    );
    await w.close();
  });
});
