/**
 * Tests every command against the real server: what it prints, as text and as JSON, and its exit
 * code.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { githubFeed, type Feed } from '../journeys/feeds.ts';
import { startHttpServer, temporaryFolder, type HttpServer } from '../journeys/support.ts';
import { EXIT } from '../../reference-client/exit.ts';
import { freePort, SERVER_ARGS } from '../../scripts/demo/server-process.ts';
import { Running, type Outcome } from './run.ts';

interface Shown {
  readonly subscriptionId: string;
  readonly etag: string;
  readonly epoch: string;
  readonly head: number;
  readonly acked: number;
  readonly paused?: true;
  readonly ttlMs: number;
}

describe('reference client', () => {
  let server: HttpServer;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let token: string;
  let feed: Feed;

  beforeAll(async () => {
    [server, folder] = await Promise.all([startHttpServer(), temporaryFolder()]);
    token = await server.process.token();
    feed = githubFeed(server.github, 'push');
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  const start = (...args: string[]) =>
    new Running(['--url', server.process.url, ...args], { MCP_TRIGGERS_TOKEN: token }, folder.path);
  const run = (...args: string[]): Promise<Outcome> => start(...args).outcome();
  const shown = (outcome: Outcome): Shown => outcome.json[0] as unknown as Shown;
  const get = async (id: string): Promise<Shown> => shown(await run('--json', 'get', id));
  const find = async (key: string): Promise<Shown> => {
    const all = (await run('--json', 'subscriptions')).json;
    return all.find((one) => one['key'] === key) as unknown as Shown;
  };

  test('list shows every trigger type', async () => {
    const text = await run('list');
    assert.equal(text.code, EXIT.ok);
    assert.match(text.stdout, /^github\.push\n +about +Commits or a tag were pushed\./m);
    assert.equal(text.stderr, '');
    const json = await run('--json', 'list');
    assert.ok(json.json.some((type) => type['name'] === 'github.push' && 'payloadSchema' in type));
  });

  for (const [drain, protocol] of [
    ['callback', '2026-07-28'],
    ['stream', '2026-07-28'],
    ['pull', '2025-11-25'],
    ['auto', 'auto'],
  ] as const) {
    test(`[log-contiguous, ack-cumulative] watch by ${drain}, ${protocol}: prints the guarantee, then events with their numbers, and acknowledges everything printed`, async () => {
      const watching = start(
        '--protocol',
        protocol,
        'watch',
        'github.push',
        '--drain',
        drain,
        '--key',
        drain,
        '--count',
        '3',
      );
      await watching.shows('acknowledged, expires');
      const ids = [await feed.happen(), await feed.happen(), await feed.happen()];
      const { code, stdout, stderr } = await watching.outcome();
      assert.equal(code, EXIT.ok, stderr);
      assert.match(
        stdout,
        new RegExp(
          `^github\\.push, mode triggers \\(${drain === 'auto' ? 'callback' : drain}\\): order total; loss none silent; gaps exact; numbers server\n {2}log: 0 of 0 acknowledged, expires 20.*, server storage durable\n`,
        ),
      );
      const lines = [
        ...stdout.matchAll(/^ +(\d+) {2}\d\d:\d\d:\d\d\.\d{3} {2}github\.push {2}(\S+) {2}\S/gm),
      ];
      assert.deepEqual(
        lines.map(([, sequence, id]) => [Number(sequence), id]),
        ids.map((id, at) => [at + 1, id]),
      );
      assert.equal(stderr, '');
      assert.equal((await find(drain)).acked, 3);
    });
  }

  test('watch --json prints one object per line: the mode, the subscription, states, events', async () => {
    const watching = start(
      '--json',
      'watch',
      '--select',
      '[{"name":"github.push"}]',
      '--drain',
      'stream',
      '--key',
      'lines',
      '--count',
      '1',
      '--unsubscribe',
    );
    await watching.shows('"type":"subscription"');
    const id = await feed.happen();
    const outcome = await watching.outcome();
    assert.equal(outcome.code, EXIT.ok);
    assert.deepEqual(
      outcome.json.map(({ type }) => type),
      ['mode', 'state', 'subscription', 'event'],
    );
    assert.equal((outcome.json[3]!['event'] as { eventId: string }).eventId, id);
    assert.equal(await find('lines'), undefined, '--unsubscribe ended it');
  });

  test('[rec-from-applied] watch with a ledger continues after Ctrl+C, which keeps the subscription', async () => {
    const args = [
      '--ledger',
      'positions.json',
      'watch',
      'github.push',
      '--drain',
      'stream',
      '--key',
      'ledger',
    ];
    const first = start(...args);
    await first.shows('acknowledged, expires');
    await feed.happen();
    await first.shows(/^ +1 {2}/m);
    first.interrupt();
    const { code, stderr } = await first.outcome();
    assert.deepEqual([code, stderr], [EXIT.ok, '']);
    assert.equal((await stat(join(folder.path, 'positions.json'))).mode & 0o777, 0o600);
    await feed.happen();
    const second = await run(...args, '--count', '1');
    assert.match(second.stdout, /log: 1 of 2 acknowledged/);
    assert.match(second.stdout, /^ +2 {2}/m);
    assert.doesNotMatch(second.stdout, /^ +1 {2}/m);
  });

  test('watch reports a server that goes away and comes back', async () => {
    const watching = start(
      'watch',
      'github.push',
      '--drain',
      'stream',
      '--key',
      'away',
      '--count',
      '1',
    );
    await watching.shows('acknowledged, expires');
    await server.process.kill();
    await watching.shows(/^-- The server cannot be reached: .* Trying again in /m, 'stderr');
    await server.process.start();
    await feed.happen();
    const { code, stderr } = await watching.outcome();
    assert.equal(code, EXIT.ok);
    assert.match(stderr, /^-- following again, mode triggers \(stream\)$/m);
  });

  test('[upd-if-match, ack-cumulative, end-tombstone] get, update, ack and unsubscribe show and change the subscription', async () => {
    const { subscriptionId, etag, epoch } = await find('pull');
    assert.match(
      (await run('get', subscriptionId)).stdout,
      /^ +log +epoch \S+, head \d+, acknowledged 3, \d+ waiting, oldest 1$/m,
    );
    assert.equal(
      (await run('get', subscriptionId, '--if-none-match', etag)).stdout.slice(0, 12),
      'Not changed.',
    );

    const paused = shown(
      await run('--json', 'update', subscriptionId, '--pause', '--ttl', '2h', '--if-match', etag),
    );
    assert.deepEqual([paused.paused, paused.ttlMs], [true, 7_200_000]);
    const stale = await run('update', subscriptionId, '--resume', '--if-match', etag);
    assert.equal(stale.code, EXIT.rejected);
    assert.match(
      stale.stderr,
      new RegExp(
        `^Conflict: [^\\n]+\\n {2}data {2}\\{"kind":"etag","etag":"${paused.etag}"\\}\\n {2}hint {2}.*--if-match ${paused.etag}\\.\\n$`,
      ),
    );
    assert.equal((await get(subscriptionId)).paused, true);

    const behind = await run('ack', subscriptionId, epoch, '1');
    assert.match(
      behind.stdout,
      /^Acknowledged 3 of \d+\.$/m,
      'an acknowledgement never moves back',
    );
    const foreign = await run('ack', subscriptionId, 'another_epoch', '1');
    assert.equal(foreign.code, EXIT.rejected);
    assert.match(foreign.stderr, /"kind":"epoch"/);

    assert.equal((await run('unsubscribe', subscriptionId)).stdout, `Ended ${subscriptionId}.\n`);
    const gone = await run('--json', 'get', subscriptionId);
    assert.equal(gone.code, EXIT.rejected);
    const { error, exitCode } = JSON.parse(gone.stderr) as {
      error: { name: string; data: { reason: string }; hint: string };
      exitCode: number;
    };
    assert.deepEqual(
      [error.name, error.data.reason, exitCode],
      ['NotFound', 'unsubscribed', EXIT.rejected],
    );
    assert.match(
      error.hint,
      /^The subscription has ended \(unsubscribed\)\. .* Its log ended in epoch \S+ at \d+/,
    );
  });

  test('watch exits with its own code when another client ends the subscription', async () => {
    const watching = start('watch', 'github.push', '--drain', 'stream', '--key', 'ended');
    await watching.shows('acknowledged, expires');
    await run('unsubscribe', (await find('ended')).subscriptionId);
    const { code, stderr } = await watching.outcome();
    assert.equal(code, EXIT.ended, stderr);
    assert.match(
      stderr,
      /^terminated: The subscription has ended: unsubscribed\. Subscribe again/m,
    );
  });

  test('the same commands work over stdio, and a callback falls back to another drain', async () => {
    const watched = join(folder.path, 'watched');
    await mkdir(watched);
    const env = {
      TRIGGERS_DATA_DIR: join(folder.path, 'piped'),
      TRIGGERS_WATCH_FOLDER: watched,
      TRIGGERS_LOG_LEVEL: 'error',
    };
    const command = [process.execPath, ...SERVER_ARGS, '--stdio']
      .map((word) => `'${word}'`)
      .join(' ');
    const { code, stdout, stderr } = await new Running(
      ['--stdio', command, 'list'],
      env,
      folder.path,
    ).outcome();
    assert.equal(code, EXIT.ok, stderr);
    assert.match(stdout, /^file\.changed$/m);
    // This server delivers to no loopback address, so it rejects the callback, and the client uses
    // the next drain.
    const watching = new Running(
      ['--stdio', command, 'watch', 'file.changed', '--unsubscribe'],
      env,
      folder.path,
    );
    await watching.shows(
      /^-- refused: file\.changed, mode triggers \(stream\): [^\n]+\(InvalidParams: [^\n]+"\/callback\/url"/m,
    );
    assert.match(watching.stdout, /^file\.changed, mode triggers \(callback\): /m);
    watching.interrupt();
    assert.equal((await watching.outcome()).code, EXIT.ok);
  });

  test('a token may come from a file', async () => {
    const { code, stdout } = await new Running(
      ['--url', server.process.url, '--token-file', join(server.dataDir, 'token'), 'list'],
      {},
      folder.path,
    ).outcome();
    assert.equal(code, EXIT.ok);
    assert.match(stdout, /^github\.push$/m);
  });

  const nobody = async () => `http://127.0.0.1:${await freePort()}/mcp`;
  const failures: readonly (readonly [
    what: string,
    args: readonly string[] | (() => Promise<readonly string[]>),
    code: number,
    stderr: RegExp,
  ])[] = [
    ['no command', [], EXIT.usage, /hint {2}See --help\./],
    ['an unknown option', ['list', '--color'], EXIT.usage, /^usage: Unknown option '--color'\.\n/],
    [
      'an epoch that starts with "-"',
      ['ack', 'sub_x', '-3kJ_epoch', '1'],
      EXIT.usage,
      /hint {2}See --help\. If it is an argument that starts with "-", write -- before/,
    ],
    [
      'an unknown drain',
      ['watch', 'x', '--drain', 'fax'],
      EXIT.usage,
      /Allowed choices are callback, stream, pull, auto\./,
    ],
    [
      'neither trigger nor selection',
      ['watch'],
      EXIT.usage,
      /^usage: Nothing to watch\. Name a trigger type, or give --select, --resource or --tool; /,
    ],
    [
      'an invalid lifetime',
      ['watch', 'x', '--ttl', 'soon'],
      EXIT.usage,
      /^usage: --ttl must be a time such as 90s/,
    ],
    [
      'a key with a space',
      ['watch', 'x', '--key', 'two words'],
      EXIT.usage,
      /^usage: --key must be 1 to 128 letters/,
    ],
    [
      'a selection that is not JSON',
      ['watch', '--select', '{'],
      EXIT.usage,
      /^usage: --select must be JSON/,
    ],
    [
      'a selection without a name',
      ['watch', '--select', '[{}]'],
      EXIT.usage,
      /^usage: --select is not valid: expected .* at \/select\/0/,
    ],
    ['an empty update', ['update', 'sub_x'], EXIT.usage, /^usage: There is nothing to change/],
    [
      'a token file that is missing',
      ['--token-file', 'nowhere', 'list'],
      EXIT.usage,
      /^ENOENT: No such file or directory, open '.*nowhere'\.\n/,
    ],
    [
      'a URL with a password',
      ['--url', 'http://me:pass@127.0.0.1/mcp', 'list'],
      EXIT.usage,
      /^usage: --url must not contain a user name or a password\./,
    ],
    [
      'nothing listening at the address',
      async () => ['--url', await nobody(), 'list'],
      EXIT.unreachable,
      /^unreachable: The server cannot be reached/,
    ],
    [
      'nothing listening at the address, in the old protocol',
      async () => ['--url', await nobody(), '--protocol', '2025-11-25', 'list'],
      EXIT.unreachable,
      /^unreachable: /,
    ],
    [
      'a program that does not exist',
      ['--stdio', '/nonexistent/program', 'list'],
      EXIT.unreachable,
      /^unreachable: /,
    ],
    [
      'a trigger that does not exist',
      ['watch', 'no.such', '--drain', 'pull'],
      EXIT.rejected,
      /^NotFound: .*\n {2}data {2}\{"kind":"trigger"\}\n {2}hint {2}Run "list" to see the trigger types\./,
    ],
    [
      'arguments that do not fit',
      ['watch', 'github.push', '--drain', 'pull', '--arg', 'repository=5'],
      EXIT.rejected,
      /^InvalidParams: /,
    ],
    [
      'an unknown subscription',
      ['get', `sub_${'a'.repeat(32)}`],
      EXIT.rejected,
      /^NotFound: .*\n {2}data {2}\{"kind":"subscription"\}/,
    ],
    [
      'a path without an endpoint',
      async () => ['--url', `${server.process.origin}/nowhere`, 'list'],
      EXIT.unsupported,
      /^not_supported: /,
    ],
  ];
  for (const [what, args, expected, stderr] of failures) {
    test(`${what}: exit code ${expected} and a hint`, async () => {
      const outcome = await run(...(typeof args === 'function' ? await args() : args));
      assert.match(outcome.stderr, stderr);
      assert.equal(outcome.code, expected);
      assert.match(outcome.stderr, /\n {2}hint {2}\S/);
      assert.doesNotMatch(outcome.stderr, /\n +at /, 'no stack trace');
    });
  }

  test('a rejected token is reported as unauthorized, and is not printed', async () => {
    const secret = 'eyJhbGciOiJub25lIn0.secret.token';
    const { code, stdout, stderr } = await new Running(
      ['--url', server.process.url, '--token', secret, 'list'],
      {},
      folder.path,
    ).outcome();
    assert.equal(code, EXIT.unreachable);
    assert.match(stderr, /^unauthorized: /);
    assert.ok(!(stdout + stderr).includes(secret));
  });

  test('Ctrl+C ends the attempt to connect to a server that does not answer', async (t) => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const running = new Running(['--url', `http://127.0.0.1:${port}/mcp`, 'list'], {}, folder.path);
    const [socket] = (await once(silent, 'connection')) as [Socket];
    t.onTestFinished(() => {
      socket.destroy();
      silent.close();
    });
    socket.on('error', () => undefined);
    running.interrupt();
    const { code, stdout, stderr } = await running.outcome();
    assert.deepEqual([code, stdout, stderr], [EXIT.ok, '', '']);
  });

  test('--help lists commands and exit codes', async () => {
    const { code, stdout, stderr } = await run('--help');
    assert.deepEqual([code, stderr], [EXIT.ok, '']);
    for (const text of [
      'watch [options] [trigger]',
      'Exit codes:',
      '5  the subscription has ended on the server',
    ])
      assert.ok(stdout.includes(text), text);
    assert.ok(
      (await readFile(new URL('../../README.md', import.meta.url), 'utf8')).includes(
        'the subscription has ended on the server',
      ),
    );
  });
});
