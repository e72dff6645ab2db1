/** Tests which trigger types a server may declare, and what happens when a declaration changes. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { DeclaredTrigger } from '../../../src/server/engine/verbs.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { ann, refusal, tick, tock, turns, world } from './harness.ts';

const named = (name: string, type: Partial<DeclaredTrigger['type']> = {}): DeclaredTrigger => ({
  type: { ...tock.type, name, ...type },
});
const uri = { type: 'object', properties: { uri: { type: 'string' } } };

const refusedBecause = async (triggers: readonly DeclaredTrigger[], why: RegExp): Promise<void> => {
  await assert.rejects(
    world({ triggers }),
    (error) =>
      error instanceof LocalError && error.code === 'config_invalid' && why.test(error.message),
  );
};

describe('declaring', () => {
  test('[cap-levels] rejects a type without pull', () =>
    refusedBecause(
      [named('a', { drains: ['callback', 'stream'] })],
      /must offer the drain "pull"/,
    ));
  test('[list-only-usable] rejects a second type of the same name', () =>
    refusedBecause([named('a'), named('a')], /declared twice/));
  test('rejects an invalid name or retention and names its place', async () => {
    await refusedBecause([named('.a')], /\/name must be/);
    await refusedBecause(
      [named('a', { retention: { maxAgeMs: 1, maxEvents: 0 } })],
      /\/retention\/maxEvents must be/,
    );
  });

  test("[type-reserved] rejects a type with a name of the protocol unless it has the protocol's arguments", async () => {
    await refusedBecause([named('mcp.weather.changed')], /reserved/);
    await refusedBecause([named('mcp.resource.updated')], /exactly these arguments: uri/);
    const w = await world({
      triggers: [
        { ...named('mcp.resource.updated', { inputSchema: uri }), initial: () => null },
        named('mcp.tools.list_changed'),
      ],
    });
    const { triggers } = (await w.engine.list(ann, {})) as { triggers: { name: string }[] };
    assert.deepEqual(
      triggers.map(({ name }) => name),
      ['mcp.resource.updated', 'mcp.tools.list_changed'],
    );
    await w.close();
  });

  test('[log-event-id] rejects an eventId of a length that the schema does not allow before anything is accepted', async () => {
    const w = await world({ triggers: [tick] });
    for (const eventId of ['', 'x'.repeat(257)]) {
      await assert.rejects(
        w.engine.emit({ name: 'tick', eventId, data: {} }),
        (error) => error instanceof LocalError && error.code === 'payload_invalid',
      );
    }
    assert.deepEqual(await w.engine.emit({ name: 'tick', eventId: 'x'.repeat(256), data: {} }), {
      eventId: 'x'.repeat(256),
      duplicate: false,
      gap: null,
    });
    await w.close();
  });

  test('[type-breaking] withdrawing a type in order to declare it changed ends its subscriptions with schema_changed', async () => {
    const w = await world({ triggers: [tick] });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    await w.engine.remove('tick', 'schema_changed');
    w.engine.declare({ type: { ...tick.type, payloadSchema: { type: 'string' } } });
    await turns();
    const gone = await refusal(w.engine.get(ann, { subscriptionId }));
    assert.equal(gone.data['reason'], 'schema_changed');
    assert.equal((await w.engine.emit({ name: 'tick', data: 'now a string' })).duplicate, false);
    await w.close();
  });
});
