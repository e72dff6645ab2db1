/**
 * Registers the three tools on an MCP SDK server, in addition to the application's own tools. Errors
 * are returned as results, so that the model reads them with their code: the SDK would convert a
 * thrown error into a result without the code.
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
import { errorAnswer, type ToolAnswer } from './answer.ts';
import { toolNames, tools } from './tools.ts';
import { claimBinding, wireError, type BindingOptions } from '../sdk.ts';

const DAY_MS = 86_400_000;
const ANSWER_BYTES = 64 * 1024;

/** Options of {@link attachTools}. */
export interface ToolsOptions extends BindingOptions {
  /**
   * Prefix of the names `watch`, `check` and `unwatch`: at most 64 characters, which may be letters,
   * digits, `_`, `-` and `.`. Default: none.
   */
  readonly prefix?: string;
  /**
   * The lifetime to request for a watch, in milliseconds. A `watch` or `check` renews it when less
   * than two thirds are left. The engine clamps it to its bounds. Default: one day.
   */
  readonly implicitTtlMs?: number;
  /**
   * The most bytes of events in an answer, and of entries in a list, as JSON. One event is always
   * sent, however large. Default: 64 KiB.
   */
  readonly answerBytes?: number;
}

/**
 * Offers the tools `watch`, `check` and `unwatch` on `mcp`, for clients that can only call tools.
 * Order, gaps and acknowledgements are the same as on every other drain (SEP: When a peer lacks the
 * extension). Call it before connecting. The application's own tools keep working.
 * @throws LocalError `config_invalid` for an invalid prefix.
 * @throws Error if the server is connected, has the tools already, or has another tool with one of
 * the names.
 */
export function attachTools(
  mcp: McpServer,
  engine: BindableEngine,
  options: ToolsOptions = {},
): void {
  const {
    prefix = '',
    implicitTtlMs = DAY_MS,
    answerBytes = ANSWER_BYTES,
    log = silentLog,
    caller = callerOf,
  } = options;
  const names = toolNames(prefix);
  const unclaim = claimBinding(mcp, 'the tools');
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
                    implicitTtlMs,
                    answerBytes,
                    now: engine.clock.now(),
                  }),
                  args,
                ),
              );
            } catch (error) {
              return resultOf(errorAnswer(wireError(error, ctx, log), names));
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

/**
 * A schema that the SDK announces but does not validate with. The validation errors of the SDK have
 * no code and do not say what to do, so each tool validates its arguments itself.
 */
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
