/**
 * Calling a tool again and again. A tool may do anything, so one that says of itself that it changes something is not called. One that
 * says nothing is called, because the application has named it for this (SEP: When a peer lacks the extension).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { callTool, type AskOptions, type Tool } from '../../../sdk/mcp-calls.ts';
import type { Offer, Otherwise, Mode, ModeContext, ModeYield } from '../../types.ts';
import { Differences, latestStateOnly } from './differences.ts';
import { pagesOf } from './look.ts';
import { canonical, observationOf } from './observation.ts';
import { pauseAfter } from './read.ts';
import { isReadable } from './subject.ts';

const EVENT_NAME = 'mcp.tool.result';

/** `tools/call`. */
export const toolMode: Mode = {
  name: 'tool',
  offer(connection, { otherwise }) {
    const wanted = otherwise?.tool;
    const isOffered =
      wanted !== undefined && isReadable({ kind: 'tools' }, connection.serverCapabilities);
    return Promise.resolve<Offer | null>(
      isOffered
        ? { guarantee: latestStateOnly('tool'), run: (context) => run(wanted, context) }
        : null,
    );
  },
};

async function* run(
  wanted: NonNullable<Otherwise['tool']>,
  { connection, clock, signal, mark, tuning }: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const asking = { signal, timeoutMs: tuning.silenceMs };
  const differences = new Differences(EVENT_NAME, { mark, clock });
  const tool = await harmlessTool(connection, wanted.name, asking);
  // Until it has worked once, a failure is more likely the question's than the moment's.
  let hasWorked = mark !== undefined;
  for (;;) {
    const { isError, ...result } = await callTool(connection, tool, wanted.arguments ?? {}, asking);
    if (isError)
      throw new LocalError(
        hasWorked ? 'unreachable' : 'not_supported',
        `The tool ${tool.name} reports an error. Call it by hand to see which.`,
        { reason: 'tool_error' },
      );
    hasWorked = true;
    yield* differences.tell(
      observationOf(canonical(result.structuredContent ?? result.content), {
        tool: tool.name,
        result,
      }),
    );
    await sleep(clock, pauseAfter({}, tuning), signal);
    signal.throwIfAborted();
  }
}

/** The tool as the server lists it. Throws `LocalError` `not_supported` when it is not there, or says that it changes something. */
async function harmlessTool(
  connection: Connection,
  name: string,
  asking: AskOptions,
): Promise<Tool> {
  for await (const { items } of pagesOf(connection, 'tools', asking)) {
    const tool = (items as readonly Tool[]).find((item) => item.name === name);
    if (!tool) continue;
    const { readOnlyHint, destructiveHint } = Object(tool.annotations) as NonNullable<
      Tool['annotations']
    >;
    if (readOnlyHint !== false && destructiveHint !== true) return tool;
    throw new LocalError(
      'not_supported',
      `The tool ${name} says that it changes something, so it is not called again and again. Name one that only reads.`,
      { reason: 'tool_not_read_only' },
    );
  }
  throw new LocalError('not_supported', `The server has no tool ${name}.`, {
    reason: 'no_such_tool',
  });
}
