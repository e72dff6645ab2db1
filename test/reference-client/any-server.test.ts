/** `watch` on servers without the extension: by which way, what that guarantees, and every change of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { EXIT } from '../../reference-client/exit.ts';
import { EventsServer } from '../client/follow/events-server.ts';
import { startRaw } from '../client/follow/raw-server.ts';
import { Running } from './run.ts';

const watch = (url: string, ...args: string[]) =>
  new Running(['--url', url, 'watch', ...args], {}, process.cwd());

describe('watch without the extension', () => {
  test('[deg-say, deg-no-invented-numbers] events/*: one line says how and what it promises, numbers of the client are marked', async (t) => {
    const events = Object.assign(new EventsServer(), {
      dialect: 'sketch',
      delivery: ['push', 'poll'],
    });
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    const watching = watch(server.url, 'timer', '--count', '2');
    await watching.shows(
      /^-- upgraded: timer by events\.push: order sent; loss flagged; gaps flag; numbers client$/m,
    );
    events.happen(2);
    const { code, stdout, stderr } = await watching.outcome();
    assert.deepEqual([code, stderr], [EXIT.ok, '']);
    assert.match(
      stdout,
      /^timer by events\.push: order sent; loss undetected; gaps none; numbers client\n/,
    );
    assert.deepEqual(
      [...stdout.matchAll(/^ +~(\d) {2}\S+ {2}timer {2}(e\d)/gm)].map(([, count, id]) => [
        count,
        id,
      ]),
      [
        ['1', 'e1'],
        ['2', 'e2'],
      ],
    );
  });

  test('only one way, if that is wanted; a refused one is told with its reason', async (t) => {
    const events = Object.assign(new EventsServer(), { delivery: ['push', 'poll'] });
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    server.handlers['events/stream'] = () => events.refuse('Forbidden');
    const watching = watch(
      server.url,
      'timer',
      '--rung',
      'events.push',
      '--rung',
      'events.poll',
      '--count',
      '1',
    );
    await watching.shows(
      /^-- refused: timer by events\.poll: .* \(Forbidden: refused with -32024\)$/m,
    );
    await watching.shows('-- upgraded: timer by events.poll');
    events.happen();
    assert.equal((await watching.outcome()).code, EXIT.ok);
    const refused = await watch(server.url, 'timer', '--rung', 'events.push').outcome();
    assert.equal(refused.code, EXIT.refused);
    assert.match(refused.stderr, /^Forbidden: /);
  });

  test('a resource and a tool to look at', async (t) => {
    let text = 'one';
    const server = await startRaw(t, (raw) => {
      raw.capabilities = { resources: {}, tools: {} };
      Object.assign(raw.handlers, {
        'resources/read': () => ({
          contents: [{ uri: 'note://1', text }],
          ttlMs: 1,
          cacheScope: 'private',
        }),
        'tools/list': () => ({
          tools: [{ name: 'look', inputSchema: { type: 'object' } }],
          ttlMs: 0,
          cacheScope: 'private',
        }),
        'tools/call': () => ({ content: [{ type: 'text', text }] }),
      });
    });
    for (const [args, line, name, method] of [
      [
        ['--resource', 'note://1'],
        'mcp.resource.updated by read: order observed; loss latest state only',
        'mcp.resource.updated',
        'resources/read',
      ],
      [
        ['--tool', 'look', '--every', '1s'],
        'mcp.tool.result by tool: order observed; loss latest state only',
        'mcp.tool.result',
        'tools/call',
      ],
    ] as const) {
      const before = server.countOf(method);
      const watching = watch(server.url, ...args, '--count', '1');
      await watching.shows(line);
      while (server.countOf(method) === before)
        await new Promise((resolve) => {
          setTimeout(resolve, 10);
        });
      text += '.';
      const { code, stdout } = await watching.outcome();
      assert.equal(code, EXIT.ok);
      assert.ok(
        new RegExp(`^ +~1 {2}\\S+ {2}${name.replaceAll('.', '\\.')} `, 'm').test(stdout),
        stdout,
      );
    }
  });

  test('nothing that tells of it: exit code and a hint', async (t) => {
    const server = await startRaw(t);
    const { code, stderr } = await watch(server.url, 'timer').outcome();
    assert.equal(code, EXIT.unsupported);
    assert.match(stderr, /^not_supported: .*tells of timer.*\n {2}hint {2}.*--resource or --tool/);
  });

  for (const [what, args, message] of [
    [
      'an unknown way',
      ['timer', '--rung', 'fax'],
      /--rung must be one of triggers, events\.webhook/,
    ],
    ['an interval that is none', ['timer', '--every', 'often'], /--every must look like/],
  ] as const) {
    test(`${what}: wrong usage`, async () => {
      const { code, stderr } = await watch('http://127.0.0.1:9/mcp', ...args).outcome();
      assert.equal(code, EXIT.usage);
      assert.match(stderr, message);
    });
  }
});
