/**
 * Registers the three tools on an MCP SDK server, beside whatever tools it has already. Refusals are results of the call, which a model gets to
 * read: the SDK turns whatever a tool throws into such a result anyway, without its code.
 */
import type {
  CallToolResult,
  McpServer,
  RegisteredTool,
  ServerContext,
} from '@modelcontextprotocol/server';
import type { JsonObject } from '../../../../spec-schema/draft/schema.ts';
import { silentLog } from '../../engine/ports.ts';
import type { BindableEngine } from '../../engine/verbs.ts';
import { callerOf } from '../principal.ts';
import { refused, type ToolAnswer } from './answer.ts';
import { toolNames, tools } from './index.ts';
import { claimServer, wireError, type BindingOptions } from '../sdk.ts';

const DAY_MS = 86_400_000;
const ANSWER_BYTES = 64 * 1024;

/** How the three tools are offered on one SDK server. */
export interface ToolsOptions extends BindingOptions {
  /** Put in front of the names `watch`, `check` and `unwatch`: at most 64 letters, digits, `_`, `-` and `.`. Default: nothing. */
  readonly prefix?: string;
  /** How long a watch lives after its last check, in milliseconds, within the engine's own bounds. Default: a day. */
  readonly leaseMs?: number;
  /** Room for the events of one answer, and for a list, in bytes of JSON; one event is always sent. Default: 64 KiB. */
  readonly answerBytes?: number;
}

/**
 * Offers `watch`, `check` and `unwatch` on `mcp`: for clients that have tools and nothing else, with the order, the gaps and the
 * acknowledgement of every other drain (SEP: When a peer lacks the extension). Call it before connecting; the server's other tools go on working.
 * @throws LocalError `config_invalid` for a prefix that no tool name may have.
 * @throws Error if the server is connected, has the tools already, or has another tool of one of the names.
 */
export function attachTools(
  mcp: McpServer,
  engine: BindableEngine,
  options: ToolsOptions = {},
): void {
  const {
    prefix = '',
    leaseMs = DAY_MS,
    answerBytes = ANSWER_BYTES,
    log = silentLog,
    caller = callerOf,
  } = options;
  const names = toolNames(prefix);
  const unclaim = claimServer(mcp, 'the tools');
  const registered: RegisteredTool[] = [];
  try {
    for (const { kind, title, description, hints, inputSchema, outputSchema, call } of tools) {
      const announced = {
        title,
        description: description(names),
        annotations: hints,
        inputSchema: announce(inputSchema),
        outputSchema: announce(outputSchema),
      };
      registered.push(
        mcp.registerTool(
          names[kind],
          announced,
          async (args: unknown, ctx: ServerContext): Promise<CallToolResult> => {
            try {
              await options.ready?.();
              return resultOf(
                await call(
                  () => ({
                    engine,
                    caller: caller(ctx),
                    names,
                    leaseMs,
                    answerBytes,
                    now: engine.clock.now(),
                  }),
                  args,
                ),
              );
            } catch (error) {
              return resultOf(refused(wireError(error, ctx, log), names));
            }
          },
        ),
      );
    }
  } catch (error) {
    for (const tool of registered) tool.remove();
    unclaim();
    throw error;
  }
}

/** What the SDK shows of a schema. It must not judge by it: its complaint has no code and says nothing of what to do. */
const announce = (schema: JsonObject) => ({
  '~standard': {
    version: 1 as const,
    vendor: 'mcp-triggers',
    validate: (value: unknown) => ({ value }),
    jsonSchema: { input: () => schema, output: () => schema },
  },
});

const resultOf = ({ structured, text, isError }: ToolAnswer): CallToolResult => ({
  content: [{ type: 'text', text }],
  structuredContent: { ...structured },
  ...(isError ? { isError } : {}),
});
