/**
 * Tests the process from start to exit: its output, its access control, its shutdown, and its exit
 * codes.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, request, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { freePort, modern } from './harness.ts';
import { inDirectory, startProcess, type ServerProcess } from './process.ts';

const environment = async (directory: string) => ({
  TRIGGERS_DATA_DIR: directory,
  TRIGGERS_PORT: String(await freePort()),
  TRIGGERS_SCHEDULES: 'tick=* * * * * *',
});

async function call(
  env: { TRIGGERS_PORT: string },
  token: string,
  method: string,
  params: object = {},
): Promise<Response> {
  const { body, headers } = modern(method, params);
  return fetch(`http://127.0.0.1:${env.TRIGGERS_PORT}/mcp`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
      ...headers,
    },
  });
}

test('development: starts without configuration, prints its URL, writes a token that only its owner can read, and requires that token', () =>
  inDirectory(async (directory) => {
    const env = await environment(directory);
    const server = startProcess(env);
    await server.says(/Stop with Ctrl\+C/);
    assert.match(
      server.stdout(),
      new RegExp(`endpoint +http://127\\.0\\.0\\.1:${env.TRIGGERS_PORT}/mcp`),
    );
    assert.match(server.stdout(), /mode +development/);
    assert.ok(server.stdout().includes(directory));
    const file = join(directory, 'token');
    const token = await readFile(file, 'utf8');
    for (const name of ['token', 'issuer.jwk', 'delivery.jwk', 'store.key', 'triggers.db'])
      assert.equal((await stat(join(directory, name))).mode & 0o777, 0o600, name);
    assert.ok(!(server.stdout() + server.stderr()).includes(token));
    assert.equal((await call(env, token, 'triggers/list')).status, 200);
    assert.equal((await call(env, `${token.slice(0, -4)}AAAA`, 'triggers/list')).status, 401);
    await stopped(server);
  }));

test('a restart keeps subscriptions, keys and the validity of a token', () =>
  inDirectory(async (directory) => {
    const env = await environment(directory);
    const first = startProcess(env);
    await first.says(/Stop with/);
    const token = await readFile(join(directory, 'token'), 'utf8');
    const select = [{ name: await firstTrigger(env, token) }];
    const made = (await (
      await call(env, token, 'triggers/subscribe', { key: 'kept', select })
    ).json()) as { result: { subscriptionId: string; epoch: string } };
    await stopped(first);
    const second = startProcess(env);
    await second.says(/Stop with/);
    const again = (await (
      await call(env, token, 'triggers/subscribe', { key: 'kept', select })
    ).json()) as { result: { subscriptionId: string; epoch: string; created: boolean } };
    assert.partialDeepStrictEqual(again.result, {
      subscriptionId: made.result.subscriptionId,
      epoch: made.result.epoch,
      created: false,
    });
    await stopped(second);
  }));

test('SIGTERM: an open stream ends with the empty result, a long poll is answered, then it exits 0 [stream-end]', () =>
  inDirectory(async (directory) => {
    const env = await environment(directory);
    const server = startProcess(env);
    await server.says(/Stop with/);
    const token = await readFile(join(directory, 'token'), 'utf8');
    const select = [{ name: await firstTrigger(env, token) }];
    const { result } = (await (
      await call(env, token, 'triggers/subscribe', { key: 'lost', select })
    ).json()) as { result: { subscriptionId: string } };
    const stream = await call(env, token, 'triggers/stream', {
      subscriptionId: result.subscriptionId,
    });
    assert.equal(stream.headers.get('content-type'), 'text/event-stream');
    const waiting = call(env, token, 'triggers/pull', {
      subscriptionId: result.subscriptionId,
      waitMs: 25_000,
    });
    // This request is sent after the long poll and is answered, so the long poll is waiting.
    for (let n = 0; n < 3; n += 1)
      await (
        await call(env, token, 'triggers/get', { subscriptionId: result.subscriptionId })
      ).json();
    server.child.kill('SIGTERM');
    const messages = (await stream.text())
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .map((line) => JSON.parse(line.slice(6)) as Record<string, unknown>);
    assert.partialDeepStrictEqual(messages.at(-1), { id: 1, result: { resultType: 'complete' } });
    assert.ok(
      messages.slice(0, -1).every(({ method }) => method === 'notifications/triggers/delivery'),
    );
    assert.partialDeepStrictEqual(await (await waiting).json(), {
      result: { events: [], hasMore: false },
    });
    assert.equal(await server.exited, 0);
  }));

test('a second signal of another name ends a shutdown that takes long', () =>
  inDirectory(async (directory) => {
    const env = await environment(directory);
    const server = startProcess(env);
    await server.says(/Stop with/);
    const token = await readFile(join(directory, 'token'), 'utf8');
    // The shutdown waits for the rest of this request.
    const slow = connect(Number(env.TRIGGERS_PORT), '127.0.0.1').on('error', () => undefined);
    await once(slow, 'connect');
    slow.write(
      `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:${env.TRIGGERS_PORT}\r\nauthorization: Bearer ${token.trim()}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: 10\r\n\r\n{`,
    );
    await call(env, token, 'triggers/list');
    server.child.kill('SIGTERM');
    await server.logs(/ stopping$/m);
    await setTimeout(500);
    assert.equal(server.child.exitCode, null, 'it waits');
    server.child.kill('SIGINT');
    await server.exited;
    assert.equal(server.child.signalCode, 'SIGINT');
    slow.destroy();
  }));

test('production: generates nothing, writes no token, answers under its public name only, logs JSON', () =>
  inDirectory(async (directory) => {
    const env = await environment(directory);
    const server = startProcess({
      ...env,
      TRIGGERS_MODE: 'production',
      TRIGGERS_PUBLIC_URL: 'https://triggers.example',
      TRIGGERS_STORE_KEY: Buffer.alloc(32, 1).toString('base64'),
      TRIGGERS_DELIVERY_KEY: JSON.stringify(
        generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }),
      ),
      TRIGGERS_AUTH_ISSUER: 'https://id.example',
      TRIGGERS_AUTH_JWKS_URI: 'https://id.example/jwks.json',
    });
    await server.says(/endpoint +https:\/\/triggers\.example\/mcp/);
    assert.deepEqual(
      (await readdir(directory)).filter((name) => /token|jwk|key$/.test(name)),
      [],
    );
    const asked = async (host: string) => {
      const outgoing = request({
        host: '127.0.0.1',
        port: env.TRIGGERS_PORT,
        path: '/mcp',
        method: 'POST',
        headers: { host },
      }).end();
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      answer.resume();
      return [
        answer.statusCode,
        /resource_metadata="([^"]*)"/.exec(answer.headers['www-authenticate'] ?? '')?.[1],
      ];
    };
    assert.deepEqual(await asked('triggers.example'), [
      401,
      'https://triggers.example/.well-known/oauth-protected-resource/mcp',
    ]);
    assert.deepEqual(await asked('localhost'), [403, undefined]);
    await stopped(server);
    for (const line of lines(server.stderr()))
      assert.equal(typeof (JSON.parse(line) as { level: string }).level, 'string');
  }));

describe('exits with the cause on standard error and its own code', () => {
  test('2: invalid configuration', async () => {
    const server = startProcess({ TRIGGERS_PORT: 'x' });
    assert.equal(await server.exited, 2);
    assert.equal(
      server.stderr(),
      'The configuration is not valid:\n  TRIGGERS_PORT: must be a whole number in digits\n',
    );
  });
  test('2: an unknown option', async () => {
    const server = startProcess({}, ['--port=1']);
    assert.equal(await server.exited, 2);
    assert.match(
      server.stderr(),
      /^Unknown option --port=1\. Run with --help to list the options\.\n$/,
    );
  });
  test('3: a store that another process owns', () =>
    inDirectory(async (directory) => {
      const env = await environment(directory);
      const first = startProcess(env);
      await first.says(/Stop with/);
      const token = await readFile(join(directory, 'token'), 'utf8');
      const second = startProcess({ ...env, TRIGGERS_PORT: String(await freePort()) });
      assert.equal(await second.exited, 3);
      assert.equal(lines(second.stderr()).length, 1, second.stderr());
      assert.equal(second.stdout(), '');
      assert.equal(await readFile(join(directory, 'token'), 'utf8'), token);
      await stopped(first);
    }));
  test("3: a key that is not the store's", () =>
    inDirectory(async (directory) => {
      const env = await environment(directory);
      const first = startProcess(env);
      await first.says(/Stop with/);
      await stopped(first);
      const second = startProcess({
        ...env,
        TRIGGERS_STORE_KEY: Buffer.alloc(32, 5).toString('base64'),
      });
      assert.equal(await second.exited, 3);
      assert.equal(lines(second.stderr()).length, 1, second.stderr());
    }));
  test('3: a damaged store', () =>
    inDirectory(async (directory) => {
      await writeFile(
        join(directory, 'triggers.db'),
        'this is not a database, but it is long enough to be read'.repeat(100),
      );
      const server = startProcess(await environment(directory));
      assert.equal(await server.exited, 3);
      assert.equal(lines(server.stderr()).length, 1, server.stderr());
    }));
  for (const [file, content] of [
    ['store.key', Buffer.from('short').toString('base64')],
    ['delivery.jwk', '{}'],
    ['issuer.jwk', 'not JSON'],
  ] as const)
    test(`3: a damaged ${file}`, () =>
      inDirectory(async (directory) => {
        await writeFile(join(directory, file), content, { mode: 0o600 });
        const server = startProcess(await environment(directory));
        assert.equal(await server.exited, 3);
        assert.match(
          server.stderr(),
          new RegExp(`^\\S*${file} is damaged: expected .* Restore .*\\n$`),
        );
      }));
  test('3: a data directory that is a file', () =>
    inDirectory(async (directory) => {
      await writeFile(join(directory, 'file'), '');
      const server = startProcess({
        ...(await environment(directory)),
        TRIGGERS_DATA_DIR: join(directory, 'file'),
      });
      assert.equal(await server.exited, 3);
      assert.match(
        server.stderr(),
        /^Cannot use the data directory: .*file \(.*TRIGGERS_DATA_DIR.*\n$/,
      );
    }));
  test('2: a watch folder that does not exist', () =>
    inDirectory(async (directory) => {
      const server = startProcess({
        ...(await environment(directory)),
        TRIGGERS_WATCH_FOLDER: join(directory, 'missing'),
        TRIGGERS_LOG_LEVEL: 'warn',
      });
      assert.equal(await server.exited, 2);
      assert.match(server.stderr(), /^The watch folder .*ENOENT.*TRIGGERS_WATCH_FOLDER.*\n$/);
    }));
  for (const [what, cron] of [
    ['never comes', '0 0 31 2 *'],
    ['has a minute 61', '61 * * * *'],
  ] as const)
    test(`2: a schedule that ${what}`, () =>
      inDirectory(async (directory) => {
        const server = startProcess({
          ...(await environment(directory)),
          TRIGGERS_SCHEDULES: `wrong=${cron}`,
        });
        assert.equal(await server.exited, 2);
        assert.match(server.stderr(), /^The .*"wrong".*TRIGGERS_SCHEDULES.*\n$/);
      }));
  test('4: an address of another machine', () =>
    inDirectory(async (directory) => {
      const server = startProcess({
        ...(await environment(directory)),
        TRIGGERS_HOST: '192.0.2.1',
        TRIGGERS_LOG_LEVEL: 'warn',
      });
      assert.equal(await server.exited, 4);
      assert.equal(lines(server.stderr()).length, 1, server.stderr());
    }));
  test('4: an address in use', () =>
    inDirectory(async (directory) => {
      const env = await environment(directory);
      const other = createServer().listen(Number(env.TRIGGERS_PORT), '127.0.0.1');
      await once(other, 'listening');
      const server = startProcess({ ...env, TRIGGERS_LOG_LEVEL: 'warn' });
      assert.equal(await server.exited, 4);
      assert.deepEqual(lines(server.stderr()), [
        `Port ${env.TRIGGERS_PORT} is in use. Stop the other process, or set TRIGGERS_PORT to a free port.`,
      ]);
      other.close();
    }));
});

async function firstTrigger(env: { TRIGGERS_PORT: string }, token: string): Promise<string> {
  const { result } = (await (await call(env, token, 'triggers/list')).json()) as {
    result: { triggers: { name: string }[] };
  };
  return result.triggers[0]?.name ?? assert.fail('no trigger types');
}

async function stopped(server: ServerProcess): Promise<void> {
  server.child.kill('SIGTERM');
  assert.equal(await server.exited, 0, server.stderr());
}

const lines = (text: string) => text.trimEnd().split('\n');
