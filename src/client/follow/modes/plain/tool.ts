/**
 * The mode `tool`: calls a tool at intervals. Never calls a tool that declares that it changes
 * something. Calls a tool without a declaration, because the application has named it for this
 * (SEP: When a peer lacks the extension).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { callTool, type McpCallOptions, type Tool } from '../../../sdk/mcp-calls.ts';
import { latestStateOnly } from '../../guarantee.ts';
import type { Mode, ModeContext, ModeYield, Offer, Otherwise } from '../../types.ts';
import { canonicalText, ChangeDetector, observationOf, pagesOf } from './observation.ts';
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
  const callOptions = { signal, timeoutMs: tuning.silenceMs };
  const differences = new ChangeDetector(EVENT_NAME, { mark, clock });
  const tool = await harmlessTool(connection, wanted.name, callOptions);
  // Before the first success an error is more likely in the arguments than in the tool.
  let hasWorked = mark !== undefined;
  for (;;) {
    const { isError, ...result } = await callTool(
      connection,
      tool,
      wanted.arguments ?? {},
      callOptions,
    );
    if (isError)
      throw new LocalError(
        hasWorked ? 'unreachable' : 'not_supported',
        `The tool ${tool.name} reports an error. Call it by hand to see the error.`,
        { reason: 'tool_error' },
      );
    hasWorked = true;
    yield* differences.detect(
      observationOf(canonicalText(result.structuredContent ?? result.content), {
        tool: tool.name,
        result,
      }),
    );
    await sleep(clock, pauseAfter({}, tuning), signal);
    signal.throwIfAborted();
  }
}

/**
 * Finds the tool in the server's list. Throws `LocalError` `not_supported` when the server has no
 * such tool, or when the tool declares that it changes something.
 */
async function harmlessTool(
  connection: Connection,
  name: string,
  callOptions: McpCallOptions,
): Promise<Tool> {
  for await (const { items } of pagesOf(connection, 'tools', callOptions)) {
    const tool = (items as readonly Tool[]).find((item) => item.name === name);
    if (!tool) continue;
    const { readOnlyHint, destructiveHint } = Object(tool.annotations) as NonNullable<
      Tool['annotations']
    >;
    if (readOnlyHint !== false && destructiveHint !== true) return tool;
    throw new LocalError(
      'not_supported',
      `The tool ${name} declares that it changes something. Name a tool that only reads.`,
      { reason: 'tool_not_read_only' },
    );
  }
  throw new LocalError(
    'not_supported',
    `The server has no tool ${name}. Name a tool that it lists.`,
    {
      reason: 'no_such_tool',
    },
  );
}
