/**
 * The MCP Inspector in its command-line mode, which is how many people meet a server for the first time: it lists and calls what the reference server
 * offers, each time from a new process. It gets an empty home directory, and a connection to anything but the loopback interface fails.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { webhooks } from '../../../scripts/demo/github.ts';
import { SERVER_ARGS } from '../../../scripts/demo/server-process.ts';
import type { Checked } from '../../../src/bindings/tools/schemas.ts';
import type { Listed, Refused, Watching } from '../../bindings/tools/support.ts';
import { startHttpServer, temporaryFolder } from '../../journeys/support.ts';
import { peerTest } from './matrix.ts';

const PEER = '@modelcontextprotocol/inspector';
const PACKAGE = join(import.meta.dirname, '../../../node_modules', PEER);
const COMMAND = join(PACKAGE, (JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { bin: Record<string, string> }).bin['mcp-inspector']!);
const DEADLINE_MS = 60_000;
/** What it exits with when a tool answers with a refusal. */
const TOOL_REFUSED = 5;

/** Runs in the Inspector's process before anything else. */
const GUARD = `import net from 'node:net';
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const { host, path } = [args[0]].flat()[0];
  if (path === undefined && !/^(127[.]|localhost$|::1$)/.test(host ?? 'localhost')) throw new Error('Not the loopback interface: ' + host);
  return connect.apply(this, args);
};`;

interface Inspected {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The Inspector against one server. `home` is its home directory. */
function inspector(home: string, server: readonly string[], era: string) {
  const run = (target: readonly string[], ...args: string[]): Promise<Inspected> => new Promise((resolve) => {
    const env = { PATH: process.env['PATH'], HOME: home, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(GUARD)}` };
    const all = [COMMAND, '--cli', '--protocol-era', era, '--stored-auth-only', '--format', 'json', ...args, ...target];
    const child = execFile(process.execPath, all, { env, timeout: DEADLINE_MS, maxBuffer: 2 ** 24 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr });
    });
    child.stdin?.end();
  });
  const result = async <T>(...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await run(server, ...args);
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { result: T }).result;
  };
  return {
    run, result,
    async call<T>(tool: string, args: object = {}): Promise<T> {
      return (await result<{ structuredContent: T }>('--method', 'tools/call', '--tool-name', tool, '--tool-args-json', JSON.stringify(args))).structuredContent;
    },
    async refused(tool: string, args: object): Promise<Refused> {
      const { code, stdout, stderr } = await run(server, '--method', 'tools/call', '--tool-name', tool, '--tool-args-json', JSON.stringify(args));
      assert.equal(code, TOOL_REFUSED, stderr);
      return (JSON.parse(stdout) as { result: { structuredContent: Refused } }).result.structuredContent;
    },
    /** Its own judgement of the tools' schemas; it exits with another code when it finds an error. */
    tools: () => result<{ tools: { name: string }[] }>('--method', 'tools/list', '--strict'),
  };
}

const named = ({ tools }: { readonly tools: readonly { readonly name: string }[] }): string[] => tools.map(({ name }) => name);

for (const [era, revision] of [['legacy', '2025-11-25'], ['modern', '2026-07-28']] as const) {
  peerTest({ peer: PEER, role: 'tool', era: revision, drain: 'tools', exercised: 'command line over HTTP: lists and judges the tools, calls watch, check and unwatch' }, async () => {
    await using server = await startHttpServer();
    await using home = await temporaryFolder();
    const { run, tools, call, refused } = inspector(home.path, [server.process.url, '--header', `Authorization: Bearer ${await server.process.token()}`], era);

    const [listed, list, elsewhere] = await Promise.all([tools(), call<Listed>('watch'), run(['http://192.0.2.1/mcp'], '--method', 'tools/list')]);
    assert.deepEqual(named(listed), ['watch', 'check', 'unwatch']);
    assert.ok(list.triggers.some(({ name }) => name === 'github.issues'));
    assert.notEqual(elsewhere.code, 0);
    assert.match(elsewhere.stderr, /Not the loopback interface/);

    const { watchId } = await call<Watching>('watch', { trigger: 'github.issues' });
    const webhook = webhooks(['issues']).next().value;
    assert.equal((await server.github.post(webhook, AbortSignal.timeout(DEADLINE_MS))).status, 202);
    const { events, next } = await call<Checked>('check', { watchId });
    assert.deepEqual(events.map(({ sequence, eventId }) => [sequence, eventId]), [[1, webhook.id]]);
    assert.deepEqual((await call<Checked>(next.tool, next.arguments)).events, []);
    assert.deepEqual(await call('unwatch', { watchId }), { watchId, ended: true, discarded: 0 });
    assert.equal((await refused('check', { watchId })).error.data['reason'], 'unsubscribed');
  });
}

peerTest({ peer: PEER, role: 'tool', era: '2026-07-28', drain: 'tools', exercised: 'command line on stdio: lists and judges the tools, calls watch, check and unwatch, each in another process of the server' }, async () => {
  await using folder = await temporaryFolder();
  const [home, watched] = [join(folder.path, 'home'), join(folder.path, 'watched')];
  await Promise.all([mkdir(home), mkdir(watched)]);
  const variables = { TRIGGERS_DATA_DIR: join(folder.path, 'data'), TRIGGERS_WATCH_FOLDER: watched, TRIGGERS_LOG_LEVEL: 'error' };
  const server = [...Object.entries(variables).flatMap(([name, value]) => ['-e', `${name}=${value}`]), '--', process.execPath, ...SERVER_ARGS, '--stdio'];
  const { tools, call } = inspector(home, server, 'modern');
  assert.deepEqual(named(await tools()), ['watch', 'check', 'unwatch']);
  const { watchId, created } = await call<Watching>('watch', { trigger: 'file.changed' });
  assert.equal(created, true);
  assert.deepEqual((await call<Checked>('check', { watchId })).events, []);
  assert.deepEqual(await call('unwatch', { watchId }), { watchId, ended: true, discarded: 0 });
});
