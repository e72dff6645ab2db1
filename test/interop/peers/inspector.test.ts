/**
 * Tests the MCP Inspector in its command-line mode, in which many people meet a server for the
 * first time: it lists and calls what the reference server offers, each time from a new process. It
 * gets an empty home directory, and connections to anything but the loopback interface fail.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { webhooks } from '../../../scripts/demo/github.ts';
import { inheritedEnv, SERVER_ARGS } from '../../../scripts/demo/server-process.ts';
import type { Checked } from '../../../src/server/mcp/tools/schemas.ts';
import type { Refused, Watching } from '../../server/mcp/tools/support.ts';
import { startHttpServer, temporaryFolder, type HttpServer } from '../../journeys/support.ts';
import { peerTest } from './matrix.ts';

const PEER = '@modelcontextprotocol/inspector';
const PACKAGE = join(import.meta.dirname, '../../../node_modules', PEER);
const COMMAND = join(
  PACKAGE,
  (
    JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as {
      bin: Record<string, string>;
    }
  ).bin['mcp-inspector']!,
);
const DEADLINE_MS = 60_000;
/** Its exit code when a tool returns an error. */
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

/** The part of a feed's page that the test reads. */
interface Feed {
  readonly events: readonly { readonly sequence: number; readonly eventId: string }[];
  readonly next: string;
}

/** The Inspector against one server. `home` is its home directory. */
function inspector(home: string, server: readonly string[], era: string) {
  const run = (target: readonly string[], ...args: string[]): Promise<Inspected> =>
    new Promise((resolve) => {
      const env = {
        ...inheritedEnv(),
        HOME: home,
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(GUARD)}`,
      };
      const all = [
        COMMAND,
        '--cli',
        '--protocol-era',
        era,
        '--stored-auth-only',
        '--connect-timeout',
        String(DEADLINE_MS),
        '--format',
        'json',
        ...args,
        ...target,
      ];
      const child = execFile(
        process.execPath,
        all,
        { env, timeout: DEADLINE_MS, maxBuffer: 2 ** 24 },
        (error, stdout, stderr) => {
          resolve({
            code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
            stdout,
            stderr,
          });
        },
      );
      child.stdin?.end();
    });
  const result = async <T>(...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await run(server, ...args);
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { result: T }).result;
  };
  return {
    run,
    result,
    async call<T>(tool: string, args: object = {}): Promise<T> {
      return (
        await result<{ structuredContent: T }>(
          '--method',
          'tools/call',
          '--tool-name',
          tool,
          '--tool-args-json',
          JSON.stringify(args),
        )
      ).structuredContent;
    },
    async refused(tool: string, args: object): Promise<Refused> {
      const { code, stdout, stderr } = await run(
        server,
        '--method',
        'tools/call',
        '--tool-name',
        tool,
        '--tool-args-json',
        JSON.stringify(args),
      );
      assert.equal(code, TOOL_REFUSED, stderr);
      return (JSON.parse(stdout) as { result: { structuredContent: Refused } }).result
        .structuredContent;
    },
    templates: async () =>
      (
        await result<{ resourceTemplates: { name: string; uriTemplate: string }[] }>(
          '--method',
          'resources/templates/list',
        )
      ).resourceTemplates,
    resources: async () =>
      (await result<{ resources: { uri: string }[] }>('--method', 'resources/list')).resources,
    async feed(uri: string): Promise<Feed> {
      const {
        contents: [content],
      } = await result<{ contents: { text: string }[] }>(
        '--method',
        'resources/read',
        '--uri',
        uri,
      );
      return JSON.parse(content?.text ?? '') as Feed;
    },
    /**
     * Includes its own validation of their schemas: it exits with another code when it finds an
     * error.
     */
    tools: () => result<{ tools: { name: string }[] }>('--method', 'tools/list', '--strict'),
  };
}

/** The URI of a template with all variables omitted. */
const bare = (template: string | undefined): string =>
  (template ?? assert.fail('no such template')).replace(/\{.*\}/, '');
const source = webhooks(['issues']);
const named = ({ tools }: { readonly tools: readonly { readonly name: string }[] }): string[] =>
  tools.map(({ name }) => name);

describe('over HTTP', () => {
  let server: HttpServer;
  let home: Awaited<ReturnType<typeof temporaryFolder>>;
  let token: string;
  beforeAll(async () => {
    [server, home] = await Promise.all([startHttpServer(), temporaryFolder()]);
    token = await server.process.token();
  });
  afterAll(() => Promise.all([server[Symbol.asyncDispose](), home[Symbol.asyncDispose]()]));
  const connected = (era: string) =>
    inspector(home.path, [server.process.url, '--header', `Authorization: Bearer ${token}`], era);
  const post = async (): Promise<string> => {
    const webhook = source.next().value;
    assert.equal((await server.github.post(webhook, AbortSignal.timeout(DEADLINE_MS))).status, 202);
    return webhook.id;
  };

  for (const [era, revision] of [
    ['legacy', '2025-11-25'],
    ['modern', '2026-07-28'],
  ] as const) {
    peerTest(
      {
        peer: PEER,
        role: 'tool',
        era: revision,
        drain: 'tools',
        exercised:
          'command line over HTTP: lists and validates the tools, calls watch, check and unwatch',
      },
      async () => {
        const { tools, call, refused } = connected(era);
        const [listed, { watchId }] = await Promise.all([
          tools(),
          call<Watching>('watch', { trigger: 'github.issues' }),
        ]);
        assert.deepEqual(named(listed), ['watch', 'check', 'unwatch']);
        const eventId = await post();
        const { events, next } = await call<Checked>('check', { watchId });
        assert.deepEqual(
          events.map((event) => [event.sequence, event.eventId]),
          [[1, eventId]],
        );
        assert.deepEqual((await call<Checked>(next.tool, next.arguments)).events, []);
        assert.deepEqual(await call('unwatch', { watchId }), {
          watchId,
          ended: true,
          discarded: 0,
        });
        assert.equal((await refused('check', { watchId })).error.data['reason'], 'unsubscribed');
      },
    );
  }

  peerTest(
    {
      peer: PEER,
      role: 'tool',
      era: '2026-07-28',
      drain: 'resources',
      exercised:
        'command line over HTTP: lists templates and resources, reads a feed and its next page',
    },
    async () => {
      const { run, templates, resources, feed } = connected('modern');
      const [listed, elsewhere] = await Promise.all([
        templates(),
        run(['http://192.0.2.1/mcp'], '--method', 'tools/list'),
      ]);
      assert.notEqual(elsewhere.code, 0);
      assert.match(elsewhere.stderr, /Not the loopback interface/);
      const uri = bare(listed.find(({ name }) => name === 'github.issues')?.uriTemplate);
      assert.deepEqual((await feed(uri)).events, []);
      const eventId = await post();
      const [{ events, next }, feeds] = await Promise.all([feed(uri), resources()]);
      assert.deepEqual(
        feeds.map((resource) => resource.uri),
        [uri],
        'a feed is listed once it was read',
      );
      assert.deepEqual(
        events.map((event) => [event.sequence, event.eventId]),
        [[1, eventId]],
      );
      assert.deepEqual((await feed(next)).events, []);
    },
  );
});

peerTest(
  {
    peer: PEER,
    role: 'tool',
    era: '2026-07-28',
    drain: 'tools, resources',
    exercised:
      'command line on stdio: lists and validates the tools, calls watch, check and unwatch, reads a feed, each in another process of the server',
  },
  async () => {
    await using folder = await temporaryFolder();
    const [home, watched] = [join(folder.path, 'home'), join(folder.path, 'watched')];
    await Promise.all([mkdir(home), mkdir(watched)]);
    const variables = {
      TRIGGERS_DATA_DIR: join(folder.path, 'data'),
      TRIGGERS_WATCH_FOLDER: watched,
      TRIGGERS_LOG_LEVEL: 'error',
    };
    const server = [
      ...Object.entries(variables).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
      '--',
      process.execPath,
      ...SERVER_ARGS,
      '--stdio',
    ];
    const { tools, call, feed } = inspector(home, server, 'modern');
    // The list needs no store, so a second process does not conflict with the first.
    const [listed, { watchId, created }] = await Promise.all([
      tools(),
      call<Watching>('watch', { trigger: 'file.changed' }),
    ]);
    assert.deepEqual([named(listed), created], [['watch', 'check', 'unwatch'], true]);
    assert.deepEqual((await call<Checked>('check', { watchId })).events, []);
    // Each start of the server leaves a gap, because nobody watched the folder before it.
    assert.deepEqual(await call('unwatch', { watchId }), { watchId, ended: true, discarded: 2 });
    assert.deepEqual((await feed('triggers://feeds/file.changed')).events, []);
  },
);
