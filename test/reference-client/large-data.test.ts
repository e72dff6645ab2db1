/** Tests `watch` with events whose data are too large for a delivery (SEP: Data by reference). */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { World } from '../server/mcp/resources/world.ts';
import { Running } from './run.ts';

const LARGE = 'x'.repeat(250_000);

for (const fetches of [false, true])
  test(`[ref-event, ref-read] ${fetches ? 'with --fetch-data prints the data' : 'prints where the data are'}`, async (t) => {
    const world = await World.start();
    t.onTestFinished(() => world.close());
    const watching = new Running(
      [
        ...['--url', world.url.href, '--json', 'watch', 'box.opened', '--drain', 'pull'],
        ...['--count', '2', ...(fetches ? ['--fetch-data'] : [])],
      ],
      { MCP_TRIGGERS_TOKEN: await world.token('alice') },
      process.cwd(),
    );
    await watching.shows('"type":"subscription"');
    await world.engine.emit({ name: 'box.opened', data: { box: 'small' } });
    await world.engine.emit({ name: 'box.opened', data: { box: LARGE } });
    const { code, json } = await watching.outcome();
    assert.equal(code, 0);
    const events = json.filter(({ type }) => type === 'event').map(({ event }) => event);
    const [small, large] = events as { data?: unknown; dataRef?: { uri: string; bytes: number } }[];
    assert.deepEqual([small?.data, small?.dataRef], [{ box: 'small' }, undefined]);
    if (fetches) assert.deepEqual([large?.data, large?.dataRef], [{ box: LARGE }, undefined]);
    else assert.deepEqual([large?.data, large?.dataRef?.bytes], [undefined, LARGE.length + 10]);
  });

test('[ref-event] as text, prints the size and the place', async (t) => {
  const world = await World.start();
  t.onTestFinished(() => world.close());
  const watching = new Running(
    ['--url', world.url.href, 'watch', 'box.opened', '--drain', 'pull', '--count', '1'],
    { MCP_TRIGGERS_TOKEN: await world.token('alice') },
    process.cwd(),
  );
  await watching.shows('acknowledged, expires');
  await world.engine.emit({ name: 'box.opened', data: { box: LARGE } });
  const { stdout } = await watching.outcome();
  assert.match(stdout, /^ +1 .* 250010 bytes at triggers-data:\/\/log\/sub_\S+\/1$/m);
});
