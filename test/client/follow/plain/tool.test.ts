/**
 * Tests following by repeated calls of a tool, allowed only for a tool that declares no side
 * effects.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { toolMode } from '../../../../src/client/follow/modes/plain/tool.ts';
import { Board, NOTICE } from '../../../interop/peers/servers/board.ts';
import { startSdk1 } from '../../../interop/peers/servers/sdk1.ts';
import { sdk2Program, startSdk2 } from '../../../interop/peers/servers/sdk2.ts';
import { markOf, reached, started } from './support.ts';

const POSTED = { name: 'notice.posted' };
const tool = (name: string) => ({ otherwise: { tool: { name, arguments: { of: 'today' } } } });

describe('tool', () => {
  for (const [name, start] of [
    ['SDK 1.x', startSdk1],
    ['SDK 2.x', startSdk2],
  ] as const) {
    test(`${name}: another result is an event, compared by structuredContent if there is any`, async (t) => {
      await using server = await start();
      const connection = await reached(t, server);
      const [structured, plain] = [
        await started(t, toolMode, connection, POSTED, tool('status')),
        await started(t, toolMode, connection, POSTED, tool('unmarked')),
      ];
      await Promise.all([structured.has(1), plain.has(1)]);
      server.board.texts.set(NOTICE, 'second');
      await Promise.all([structured.has(2), plain.has(2)]);
      const events = [structured, plain].map(({ yields }) =>
        yields[1]?.type === 'event' ? yields[1].event : undefined,
      );
      assert.deepEqual(events[0]?.data, {
        tool: 'status',
        result: {
          content: [{ type: 'text', text: 'see structuredContent' }],
          structuredContent: { texts: { [NOTICE]: 'second' } },
        },
      });
      assert.deepEqual(events[1]?.data, {
        tool: 'unmarked',
        result: { content: [{ type: 'text', text: 'second' }] },
      });
      assert.equal(events[0]?.name, 'mcp.tool.result');
      assert.deepEqual(
        server.board.asked.find(({ method }) => method === 'tools/call')?.params.arguments,
        { of: 'today' },
      );
    });
  }

  test('notices another result on a pipe', async (t) => {
    const connection = await reached(t, sdk2Program());
    const run = await started(t, toolMode, connection, POSTED, tool('status'));
    await run.has(1);
    await connection.call('tools/call', { name: 'write', arguments: { text: 'second' } });
    await run.has(2);
  });

  test('never calls a tool that declares side effects or contradicts itself', async (t) => {
    await using server = await startSdk1();
    server.board.tools.push({
      name: 'torn',
      annotations: { readOnlyHint: true, destructiveHint: true },
    });
    const connection = await reached(t, server);
    for (const name of ['write', 'announce', 'exit', 'torn']) {
      const { error } = await (await started(t, toolMode, connection, POSTED, tool(name))).outcome;
      assert.deepEqual([error?.code, error?.reason], ['not_supported', 'tool_not_read_only'], name);
    }
    const { error } = await (
      await started(t, toolMode, connection, POSTED, tool('nowhere'))
    ).outcome;
    assert.deepEqual([error?.code, error?.reason], ['not_supported', 'no_such_tool']);
    assert.equal(server.board.count('tools/call'), 0);
  });

  test('a failed call is an error and not a state: permanent before the first success, temporary afterwards', async (t) => {
    await using server = await startSdk1();
    const connection = await reached(t, server);
    const broken = (): object => ({
      content: [{ type: 'text', text: 'out of order' }],
      isError: true,
    });
    server.board.replaced.set('tools/call', broken);
    const never = await started(t, toolMode, connection, POSTED, tool('status'));
    assert.deepEqual([(await never.outcome).error?.code, never.words()], ['not_supported', []]);
    server.board.replaced.clear();
    const once = await started(t, toolMode, connection, POSTED, tool('status'));
    await once.has(1);
    server.board.replaced.set('tools/call', broken);
    assert.deepEqual([(await once.outcome).error?.code, once.words()], ['unreachable', ['mark']]);
    const again = await started(t, toolMode, connection, POSTED, {
      ...tool('status'),
      mark: markOf(once),
    });
    const { error } = await again.outcome;
    assert.deepEqual(
      [error?.code, (error as { reason?: string }).reason],
      ['unreachable', 'tool_error'],
    );
    assert.ok(!String(error).includes('out of order'), 'no error repeats what a tool returned');
  });

  test('is offered for a named tool on a server with tools', async (t) => {
    const board = new Board();
    await using server = await startSdk1({ board });
    const offer = async (otherwise: object | undefined) =>
      (
        await toolMode.offer(
          await reached(t, server),
          { selection: POSTED, otherwise, callback: undefined },
          AbortSignal.timeout(1000),
        )
      )?.guarantee;
    assert.equal(await offer(undefined), undefined);
    assert.deepEqual(await offer({ tool: { name: 'status' } }), {
      mode: 'tool',
      order: 'observed',
      loss: 'latest state only',
      gaps: 'none',
      numbers: 'client',
    });
    board.capabilities = { resources: {} };
    assert.equal(await offer({ tool: { name: 'status' } }), undefined);
  });
});
