/**
 * Tests `watch` on servers without the extension: the mode it uses, its guarantee, and every change
 * of mode.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { EXIT } from '../../reference-client/exit.ts';
import { EventsServer } from '../client/follow/events-server.ts';
import { startRaw } from '../client/follow/raw-server.ts';
import { Running } from './run.ts';

const watch = (url: string, ...args: string[]) =>
  new Running(['--url', url, 'watch', ...args], {}, process.cwd());

describe('watch without the extension', () => {
  test('[deg-say, deg-no-invented-numbers] prints one line with the mode and guarantee of events/*, and marks numbers of the client', async (t) => {
    const events = Object.assign(new EventsServer(), {
      dialect: 'sketch',
      delivery: ['push', 'poll'],
    });
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    const watching = watch(server.url, 'timer', '--count', '2');
    await watching.shows(
      /^-- upgraded: timer, mode events\.push: order sent; loss flagged; gaps flag; numbers client$/m,
    );
    events.happen(2);
    const { code, stdout, stderr } = await watching.outcome();
    assert.deepEqual([code, stderr], [EXIT.ok, '']);
    assert.match(
      stdout,
      /^timer, mode events\.push: order sent; loss undetected; gaps none; numbers client\n/,
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

  test('uses only the allowed mode, and reports a refused one with its reason', async (t) => {
    const events = Object.assign(new EventsServer(), { delivery: ['push', 'poll'] });
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    server.handlers['events/stream'] = () => events.refuse('Forbidden');
    const watching = watch(
      server.url,
      'timer',
      '--mode',
      'events.push',
      '--mode',
      'events.poll',
      '--count',
      '1',
    );
    await watching.shows(
      /^-- refused: timer, mode events\.poll: .* \(Forbidden: refused with -32024\)$/m,
    );
    await watching.shows('-- upgraded: timer, mode events.poll');
    events.happen();
    assert.equal((await watching.outcome()).code, EXIT.ok);
    const refused = await watch(server.url, 'timer', '--mode', 'events.push').outcome();
    assert.equal(refused.code, EXIT.rejected);
    assert.match(refused.stderr, /^Forbidden: /);
  });

  test('follows a resource and a tool', async (t) => {
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
        'mcp.resource.updated, mode read: order observed; loss latest state only',
        'mcp.resource.updated',
        'resources/read',
      ],
      [
        ['--tool', 'look', '--every', '1s'],
        'mcp.tool.result, mode tool: order observed; loss latest state only',
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

  test('exits with its own code and a hint when no mode is available', async (t) => {
    const server = await startRaw(t);
    const { code, stderr } = await watch(server.url, 'timer').outcome();
    assert.equal(code, EXIT.unsupported);
    assert.match(
      stderr,
      /^not_supported: .*no resource for timer.*\n {2}hint {2}.*--resource or --tool/,
    );
  });

  for (const [what, args, message] of [
    [
      'an unknown mode',
      ['timer', '--mode', 'fax'],
      /--mode must be one of triggers, events\.webhook/,
    ],
    ['an invalid interval', ['timer', '--every', 'often'], /--every must be a time such as/],
  ] as const) {
    test(`rejects ${what} as wrong usage`, async () => {
      const { code, stderr } = await watch('http://127.0.0.1:9/mcp', ...args).outcome();
      assert.equal(code, EXIT.usage);
      assert.match(stderr, message);
    });
  }
});
