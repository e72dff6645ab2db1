/**
 * Tests of the control interface: its schema and its table in the documents, the answers of every
 * peer to requests that it cannot run, and the proxy that adds crashes and lost writes.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, test, type TestContext } from 'vitest';
import { callVerb, offerAt } from '../runner/control-call.ts';
import { controlCommand } from '../runner/control-command.ts';
import { ControlProxy } from '../runner/control-proxy.ts';
import { controlProblem, controlSchema, verbsOf } from '../runner/control-schema.ts';
import { main } from '../runner/main.ts';
import { NotShown } from '../runner/observations.ts';
import { serve } from '../peers/minimal-receiver.mjs';
import { ReferenceReceiver } from '../peers/reference/receiver.ts';
import { ReferenceServer } from '../peers/reference/server.ts';

const GUIDE = readFileSync(new URL('../../docs/conformance.md', import.meta.url), 'utf8');
const MINIMAL = fileURLToPath(new URL('../peers/minimal-server.mjs', import.meta.url));

/** The rows of the guide's table of verbs whose first column is one of these verbs. */
const tableOf = (verbs: readonly string[]): Record<string, string[]> =>
  Object.fromEntries(
    [...GUIDE.matchAll(/^\| `([a-z]+)` \|([^|]*)\|/gm)]
      .filter(([, verb]) => verbs.includes(verb!))
      .map(([, verb, members]) => [
        verb!,
        [...members!.matchAll(/`([A-Za-z]+\??)`/g)].map(([, member]) => member!),
      ]),
  );
const membersOf = (definition: string): string[] => {
  const { properties, required } = controlSchema.$defs[definition]!;
  return Object.keys(properties)
    .filter((name) => name !== 'do')
    .map((name) => (required.includes(name) ? name : `${name}?`));
};

describe('the schema of the control interface', () => {
  for (const role of ['Server', 'Receiver'] as const)
    test(`has the verbs and members that the guide lists for a ${role.toLowerCase()}`, () =>
      assert.deepEqual(
        tableOf(verbsOf(role)),
        Object.fromEntries(verbsOf(role).map((verb) => [verb, membersOf(`${role}.${verb}`)])),
      ));

  test('has the types and principals that the guide lists', () => {
    const offer = controlSchema.$defs['ServerOffer']!.properties as Record<
      string,
      { readonly properties: object }
    >;
    for (const name of [
      ...Object.keys(offer['types']!.properties),
      ...Object.keys(offer['tokens']!.properties),
      ...Object.keys(offer['names']!.properties),
    ])
      assert.ok(GUIDE.includes(`\`${name}\``), `the guide does not mention ${name}`);
  });

  test('has every principal and host name that a scenario uses', () => {
    const { tokens, names } = controlSchema.$defs['ServerOffer']!.properties as Record<
      string,
      { readonly properties: object }
    >;
    const known = new Set([...Object.keys(tokens!.properties), ...Object.keys(names!.properties)]);
    const used = globSync('conformance/suites/**/*.ts').flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/\b(?:as|token|hostName)\('([A-Za-z]+)'/g)].map(
        ([, name]) => name!,
      ),
    );
    assert.ok(used.length > 5);
    assert.deepEqual(
      used.filter((name) => !known.has(name)),
      [],
    );
  });

  test('accepts the requests of the guide only', () => {
    const permit = { do: 'permit', principal: 'main', name: 'x', allowed: false };
    assert.equal(controlProblem('ServerVerb', permit), null);
    assert.equal(controlProblem('Server.permit', { ...permit, told: false }), null);
    assert.match(controlProblem('Server.permit', { ...permit, too: 1 })!, /too/);
    assert.match(controlProblem('Server.advance', { do: 'advance' })!, /'ms'/);
  });
});

/** Starts the minimal server and returns its control interface. */
async function minimal(t: TestContext): Promise<string> {
  const child = spawn(process.execPath, [MINIMAL, '--drains', 'pull'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.onTestFinished(() => void child.kill());
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return (JSON.parse(line) as { readonly control: string }).control;
}

async function rejectionAt(url: string, request: unknown): Promise<[number, string]> {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(request) });
  const body: unknown = await response.json();
  assert.equal(controlProblem('ControlError', body), null, JSON.stringify(body));
  return [response.status, (body as { readonly error: string }).error];
}

describe('a request that a control interface cannot run', () => {
  const peers: Readonly<Record<string, (t: TestContext) => Promise<string>>> = {
    'the reference server': async (t) => {
      const server = await ReferenceServer.start();
      t.onTestFinished(() => server.close());
      return server.control;
    },
    'the minimal server': minimal,
    'the receiver library': async (t) => {
      const receiver = await ReferenceReceiver.start();
      t.onTestFinished(() => receiver.close());
      return receiver.control;
    },
    'the minimal receiver': async (t) => {
      const receiver = await serve();
      t.onTestFinished(() => receiver.close());
      return receiver.control;
    },
  };
  for (const [name, start] of Object.entries(peers))
    test(`gets 400 and its kind from ${name}, also for a name of Object.prototype`, async (t) => {
      const url = await start(t);
      for (const verb of ['no_such_verb', 'toString', undefined])
        assert.deepEqual(await rejectionAt(url, { do: verb }), [400, 'unknown_verb']);
    });

  test('is not shown when the verb is unknown, and an error when it failed', async (t) => {
    const answers = [
      [400, '{"error":"unknown_verb","message":"No."}'],
      [500, '{"error":"failed","message":"The disk is full."}'],
      [500, 'plain text'],
    ] as const;
    let at = 0;
    const server = createServer((_, response) => {
      const [status, body] = answers[at++]!;
      response.writeHead(status).end(body);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    await assert.rejects(callVerb(url, 'Server', 'crash', {}, 1000), NotShown);
    await assert.rejects(callVerb(url, 'Server', 'crash', {}, 1000), /HTTP 500 The disk is full\./);
    await assert.rejects(callVerb(url, 'Server', 'crash', {}, 1000), /HTTP 500 plain text/);
  });
});

/**
 * A server that stores the names of its events, and forgets its clock, its permissions and its
 * types when it ends.
 */
const SIMPLE = `
import { createServer } from 'node:http';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
const [port, file] = process.argv.slice(2);
const events = existsSync(file) ? JSON.parse(readFileSync(file)) : [];
let aheadMs = 0;
const did = [];
const verbs = {
  emit: ({ events: more }) => { events.push(...more.map(({ name }) => name)); writeFileSync(file, JSON.stringify(events)); },
  advance: ({ ms }) => { aheadMs += ms; },
  permit: (order) => void did.push(order),
  declare: (order) => void did.push(order),
  remove: (order) => { if (order.name === 'fixed') throw new Error('This type stays.'); did.push(order); },
};
createServer(async (request, response) => {
  if (request.method === 'GET')
    return response.end(JSON.stringify({ verbs: Object.keys(verbs), types: { plain: 'p' }, tokens: {}, aheadMs,
      names: { pid: String(process.pid), events: events.join(), did: JSON.stringify(did), start: process.env.MCP_CONFORMANCE_AHEAD_MS } }));
  let text = '';
  for await (const chunk of request) text += chunk;
  const { do: verb, ...order } = JSON.parse(text);
  try { verbs[verb]({ ...order }); response.end('{}'); }
  catch (error) { response.writeHead(500).end(JSON.stringify({ error: 'failed', message: error.message })); }
}).listen(Number(port), '127.0.0.1');
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** The simple server behind the proxy. */
async function proxied(
  t: TestContext,
): Promise<{ readonly inner: string; readonly command: string; readonly data: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'proxy-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const data = join(folder, 'data');
  mkdirSync(data);
  writeFileSync(join(folder, 'simple.mjs'), SIMPLE);
  const port = await freePort();
  const quoted = [process.execPath, join(folder, 'simple.mjs'), String(port), join(data, 'e.json')];
  return {
    inner: `http://127.0.0.1:${port}/`,
    command: quoted.map((word) => JSON.stringify(word)).join(' '),
    data,
  };
}

describe('the control proxy', () => {
  const started = async (t: TestContext, warn?: (message: string) => void) => {
    const proxy = await ControlProxy.start({ ...(await proxied(t)), ...(warn && { warn }) });
    t.onTestFinished(() => proxy.close());
    return {
      url: proxy.url,
      go: (verb: string, params: object = {}) =>
        callVerb(proxy.url, 'Server', verb, params, 30_000),
      names: async (): Promise<Record<string, string>> =>
        (await offerAt(proxy.url, 'Server')).names,
      offer: () => offerAt(proxy.url, 'Server'),
    };
  };
  const emit = (name: string) => ({ events: [{ name, data: {} }] });

  test('adds the verbs of a process and a store', async (t) => {
    const { url, offer } = await started(t);
    assert.deepEqual((await offer()).verbs, [
      'emit',
      'advance',
      'permit',
      'declare',
      'remove',
      'crash',
      'remember',
      'lose',
    ]);
    assert.deepEqual(await rejectionAt(url, { do: 'redact' }), [400, 'unknown_verb']);
    assert.deepEqual(await rejectionAt(url, { do: 'advance' }), [400, 'invalid']);
    assert.deepEqual(
      await rejectionAt(url, { do: 'remove', name: 'fixed', reason: 'schema_changed' }),
      [500, 'failed'],
    );
    assert.equal((await fetch(url, { headers: { origin: 'http://x.example' } })).status, 403);
  });

  test('crashes the process, which keeps its store, its clock, its permissions and its types', async (t) => {
    const { go, names, offer } = await started(t);
    const before = await names();
    await go('emit', emit('a'));
    await go('advance', { ms: 5000 });
    await go('advance', { ms: 2000 });
    const permit = { principal: 'main', name: 'x' };
    await go('permit', { ...permit, allowed: false });
    await go('declare', { name: 'more' });
    await go('declare', { name: 'gone' });
    await go('remove', { name: 'gone', reason: 'trigger_removed' });
    await go('remove', { name: 'builtin', reason: 'schema_changed' });
    await go('permit', { ...permit, allowed: true });
    await go('crash');
    const after = await names();
    assert.notEqual(after['pid'], before['pid']);
    assert.deepEqual([after['events'], after['start']], ['a', '7000']);
    assert.equal((await offer()).aheadMs, 7000);
    assert.deepEqual(JSON.parse(after['did']!), [
      { name: 'more' },
      { name: 'builtin', reason: 'schema_changed' },
      { ...permit, allowed: true, told: false },
    ]);
  });

  test('restores the remembered store, and keeps the clock', async (t) => {
    const { url, go, names, offer } = await started(t);
    assert.deepEqual(await rejectionAt(url, { do: 'lose' }), [500, 'failed']);
    await go('emit', emit('a'));
    await go('remember');
    await go('emit', emit('b'));
    await go('advance', { ms: 1000 });
    await go('lose');
    assert.equal((await names())['events'], 'a');
    assert.equal((await offer()).aheadMs, 1000);
    await go('emit', emit('c'));
    await go('lose');
    assert.equal((await names())['events'], 'a');
  });

  test('rejects a command that ends, or that serves elsewhere', async (t) => {
    const { inner } = await proxied(t);
    await assert.rejects(
      ControlProxy.start({ inner, command: 'exit 3' }),
      /ended before it served/,
    );
  });

  test('runs as a command until it is stopped', async (t) => {
    const { inner, command, data } = await proxied(t);
    let stop!: () => void;
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    let out = '';
    const served = new Promise<void>((resolve) => {
      void controlCommand(
        ['--command', command, '--inner', inner, '--data', data],
        {
          out: (text) => {
            out += text;
            resolve();
          },
          err: () => undefined,
        },
        stopped,
      ).then((code) => (out += code));
    });
    await served;
    const { control } = JSON.parse(out) as { readonly control: string };
    await offerAt(control, 'Server');
    stop();
    while (!out.endsWith('0')) await new Promise((resolve) => setTimeout(resolve, 20));
    await assert.rejects(fetch(inner), 'the server still runs');
  });

  for (const [args, message] of [
    [[], /needs --command/],
    [['--command', 'x'], /--inner is not a URL/],
    [['--command', 'x', '--inner', 'http://x/', '--port', '99999'], /--port is not a port/],
    [['--nothing'], /Unknown option/],
  ] as const)
    test(`rejects "${args.join(' ')}" as wrong usage`, async () => {
      let err = '';
      const code = await main(['control', ...args], {
        out: () => undefined,
        err: (text) => void (err += text),
      });
      assert.equal(code, 2);
      assert.match(err, message);
      assert.match(err, /\n\nUsage\n {2}mcp-triggers-conformance control/);
    });
});
