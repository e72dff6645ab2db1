/** Runs the programs of `docs/examples`, which the README quotes, unmodified. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../scripts/demo/server-process.ts';
import { inheritedEnv } from '../../scripts/demo/server-process.ts';
import { eventually, temporaryFolder } from './support.ts';

const EXAMPLES = fileURLToPath(new URL('../../docs/examples', import.meta.url));
const CONDITION = '--conditions=mcp-triggers-source';

/** The server that both examples start. */
const target = (folder: string) =>
  JSON.stringify({
    command: process.execPath,
    args: [CONDITION, join(EXAMPLES, 'server.ts')],
    cwd: folder,
    env: {
      ...inheritedEnv(),
      SHOP_STORE_KEY: randomBytes(32).toString('base64'),
      SHOP_UNSAFE_LOOPBACK: 'true',
    },
  });

/** Runs a program until it has printed `lines` lines, then ends it as Ctrl+C would. */
async function lines(
  count: number,
  folder: string,
  program: string,
  args: readonly string[],
): Promise<string[]> {
  const child = spawn(process.execPath, [CONDITION, join(EXAMPLES, program), ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  let printed = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const complete = (): string[] => printed.split('\n').slice(0, -1);
  try {
    await eventually(`${count} lines of ${program}`, () => {
      assert.equal(child.exitCode, null, `${program} has ended: ${complaints}`);
      return complete().length >= count;
    });
  } finally {
    child.kill('SIGINT');
    await exited;
  }
  assert.equal(complaints, '');
  return complete();
}

describe('examples', () => {
  test('[log-contiguous] the client follows the server, and a second run continues where the first one ended', async () => {
    await using folder = await temporaryFolder();
    const shop = target(folder.path);
    const numbers = async () =>
      (await lines(4, folder.path, 'client.ts', [shop])).map((line) => Number(line.split(' ')[0]));
    const first = await numbers();
    assert.deepEqual(
      first,
      first.map((_, at) => at + 1),
    );
    const second = await numbers();
    assert.ok(second[0]! <= first.at(-1)! + 1, 'nothing is left out');
    assert.deepEqual(
      second,
      second.map((_, at) => second[0]! + at),
    );
  });

  test('[cbv-before-events, log-contiguous] the receiver is called back', async () => {
    await using folder = await temporaryFolder();
    const port = String(await freePort());
    const items = (
      await lines(3, folder.path, 'receiver.ts', [
        target(folder.path),
        `http://127.0.0.1:${port}`,
        port,
      ])
    ).map((line) => JSON.parse(line) as { type: string; position: { sequence: number } });
    assert.deepEqual(
      items.slice(0, 3).map(({ type, position }) => [type, position.sequence]),
      [
        ['event', 1],
        ['event', 2],
        ['event', 3],
      ],
    );
  });
});
