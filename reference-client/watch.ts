/**
 * `watch`: follows a trigger type, a resource or a tool in the best mode that the server supports,
 * and prints events as they arrive.
 */
import { Option } from 'commander';
import type { Drain, Selection } from 'mcp-triggers-experimental';
import {
  fileLedger,
  type FollowOptions,
  type Following,
  type ModeName,
  type TriggersClient,
  type TriggersModeOptions,
} from 'mcp-triggers-experimental/client';
import {
  SKIP_AFTER_MAX_MS,
  lingerTime,
  skipTime,
  argument,
  count,
  duration,
  instant,
  lifetime,
  type Lifetime,
  oneOf,
  selections,
  subscriptionKey,
  UsageError,
} from './arguments.ts';
import { openEndpoint, type Endpoint } from './endpoint.ts';
import { follow, stateNotices } from './follow.ts';
import type { Printer } from './printer.ts';
import { isLocal, run, type Globals, type Shell } from './session.ts';

interface Options {
  readonly arg?: Readonly<Record<string, unknown>>;
  readonly select?: Selection[];
  readonly resource?: string;
  readonly tool?: string;
  readonly toolArg?: Readonly<Record<string, unknown>>;
  readonly every?: number;
  readonly mode?: readonly ModeName[];
  readonly drain: Drain | 'auto';
  readonly key?: string;
  readonly ttl?: Lifetime;
  readonly since?: string;
  readonly skipAfter?: number | true;
  readonly maxEvents?: number;
  readonly maxBytes?: number;
  readonly maxPerMinute?: number;
  readonly linger?: number;
  readonly port: number;
  readonly count?: number;
  readonly unsubscribe?: true;
  readonly fetchData?: true;
}

const MODES: readonly ModeName[] = [
  'triggers',
  'events.webhook',
  'events.push',
  'events.poll',
  'listen',
  'read',
  'tool',
];
/** The modes that can use a callback endpoint. */
const CALLBACK_MODES: readonly ModeName[] = ['triggers', 'events.webhook'];

export function watch(shell: Shell): void {
  shell.program
    .command('watch')
    .description('print events as they arrive, in the best mode that the server supports')
    .argument('[trigger]', 'name of a trigger type')
    .option(
      '--arg <name=value>',
      'argument of the trigger type; can be repeated',
      argument('--arg'),
    )
    .option(
      '--select <json>',
      'selections as JSON, instead of a trigger type and --arg',
      selections,
    )
    .option('--resource <uri>', 'resource to watch if the server does not have the trigger type')
    .option(
      '--tool <name>',
      'tool to call at intervals if the server has neither the trigger type nor the resource; it must not change anything',
    )
    .option(
      '--tool-arg <name=value>',
      'argument of the tool; can be repeated',
      argument('--tool-arg'),
    )
    .option(
      '--every <time>',
      'interval of polling if the server names none, for example 10s or 5m',
      duration('--every'),
    )
    .addOption(
      new Option(
        '--mode <mode>',
        `use only this mode; can be repeated: ${MODES.join(', ')}`,
      ).argParser(oneOf('--mode', MODES)),
    )
    .addOption(
      new Option(
        '--drain <drain>',
        'drain of the mode "triggers"; auto tries callback, stream, pull',
      )
        .choices(['callback', 'stream', 'pull', 'auto'])
        .default('auto'),
    )
    .option(
      '--key <key>',
      'key of the subscription; the same key continues the same log',
      subscriptionKey,
    )
    .option('--ttl <time>', 'suggest a lifetime: 90s, 1h, 7d or none', lifetime)
    .option(
      '--since <instant>',
      'start a new log with the events since this date and time',
      instant,
    )
    .option(
      '--skip-after [time]',
      'let the server skip an event that the callback fails to take for this long; default 24h',
      skipTime,
    )
    .option(
      '--max-events <n>',
      'let the server send at most this many events in one callback request',
      count('--max-events', 1, Number.MAX_SAFE_INTEGER),
    )
    .option(
      '--max-bytes <n>',
      'let the server send at most this many bytes in one callback request',
      count('--max-bytes', 1024, Number.MAX_SAFE_INTEGER),
    )
    .option(
      '--max-per-minute <n>',
      'let the server send at most this many callback requests in any minute',
      count('--max-per-minute', 1, 60_000),
    )
    .option(
      '--linger <time>',
      'let the server wait this long for more events for one callback request; at most 60s',
      lingerTime,
    )
    .option(
      '--port <port>',
      'port of the callback endpoint on 127.0.0.1; 0 = any free port',
      count('--port', 0, 65_535),
      0,
    )
    .option(
      '--count <n>',
      'stop after this many events',
      count('--count', 1, Number.MAX_SAFE_INTEGER),
    )
    .option(
      '--fetch-data',
      'read the data of events that are too large for a delivery; without it, print where they are',
    )
    .option(
      '--unsubscribe',
      'end the subscription when stopping; without it, the next watch continues the subscription',
    )
    .action(async (trigger: string | undefined, options: Options) => {
      const select = selectionOf(trigger, options);
      await run(shell, async (client, printer, globals) => {
        const endpoint = await endpointFor(client, printer, globals, options);
        try {
          await watchWith(
            shell,
            client,
            printer,
            followOptions(select, options, globals, endpoint),
            options,
          );
        } finally {
          await endpoint?.close();
        }
      });
    });
}

async function watchWith(
  shell: Shell,
  client: TriggersClient,
  printer: Printer,
  options: FollowOptions,
  { count: limit = Infinity, unsubscribe, fetchData }: Options,
): Promise<void> {
  const following: Following = client.follow({
    ...options,
    onState: stateNotices(printer, () => following),
  });
  const close = () => following.close({ unsubscribe: unsubscribe === true });
  let closing: Promise<void> | undefined;
  const stopped = () => {
    closing = close();
    // The promise is awaited below. Until then a rejection would be unhandled.
    closing.catch(() => undefined);
  };
  shell.stop.addEventListener('abort', stopped, { once: true });
  if (shell.stop.aborted) stopped();
  try {
    await follow(following, printer, {
      names: options.select.map(({ name }) => name),
      limit,
      dataOf:
        fetchData === true ? (event) => client.data(event, { signal: shell.stop }) : undefined,
    });
  } catch (error) {
    if (!shell.stop.aborted) throw error;
  } finally {
    shell.stop.removeEventListener('abort', stopped);
    await (closing ?? close());
  }
}

/**
 * Opens a callback endpoint if one can be used. A remote server cannot reach a loopback address.
 */
async function endpointFor(
  client: TriggersClient,
  printer: Printer,
  globals: Globals,
  { drain, port, mode = MODES }: Options,
): Promise<Endpoint | undefined> {
  const isReachable =
    isLocal(globals) &&
    client.capability?.levels.includes('callback') !== false &&
    CALLBACK_MODES.some((name) => mode.includes(name));
  const isNeeded = drain === 'callback' || (drain === 'auto' && isReachable);
  if (!isNeeded) return undefined;
  return openEndpoint({
    port,
    server: globals.url,
    jwksUri: client.capability?.jwksUri,
    onRejected: (code) =>
      printer.notice(
        { type: 'refused', code },
        `-- request to the callback endpoint rejected: ${code}`,
      ),
  });
}

function followOptions(
  select: Selection[],
  options: Options,
  globals: Globals,
  endpoint: Endpoint | undefined,
): FollowOptions {
  const { drain, key, ttl, since, skipAfter, resource, tool, toolArg, every, mode } = options;
  const otherwise = {
    ...(resource === undefined ? {} : { resource }),
    ...(tool === undefined
      ? {}
      : { tool: { name: tool, ...(toolArg === undefined ? {} : { arguments: toolArg }) } }),
  };
  return {
    select,
    otherwise: Object.fromEntries(select.map(({ name }) => [name, otherwise])),
    ...(mode === undefined ? {} : { modes: mode }),
    ...(every === undefined ? {} : { tuning: { pollMs: every } }),
    ...(endpoint === undefined ? {} : { callback: endpoint.receiver }),
    ...(globals.ledger === undefined ? {} : { ledger: fileLedger(globals.ledger) }),
    triggers: {
      drain,
      ...(key === undefined ? {} : { key }),
      ...ttl,
      ...(since === undefined ? {} : { since }),
      ...(skipAfter === undefined
        ? {}
        : { skipAfterMs: skipAfter === true ? SKIP_AFTER_MAX_MS : skipAfter }),
      ...callbackLimits(options),
    },
  };
}

/** The limits of the callback that the options set. */
function callbackLimits({
  maxEvents,
  maxBytes,
  maxPerMinute,
  linger,
}: Options): Pick<TriggersModeOptions, 'callbackLimits'> {
  const limits = {
    ...(maxEvents === undefined ? {} : { maxEvents }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(maxPerMinute === undefined ? {} : { maxPerMinute }),
    ...(linger === undefined ? {} : { lingerMs: linger }),
  };
  return Object.keys(limits).length === 0 ? {} : { callbackLimits: limits };
}

function selectionOf(
  trigger: string | undefined,
  { arg, select, resource, tool }: Options,
): Selection[] {
  if (select !== undefined) {
    if (trigger !== undefined || arg !== undefined)
      throw new UsageError(
        'A trigger type or --arg cannot be combined with --select. Give one or the other.',
      );
    return select;
  }
  if (trigger !== undefined)
    return [{ name: trigger, ...(arg === undefined ? {} : { arguments: { ...arg } }) }];
  if (resource !== undefined)
    return [{ name: 'mcp.resource.updated', arguments: { uri: resource } }];
  if (tool !== undefined) return [{ name: 'mcp.tool.result' }];
  throw new UsageError(
    'Nothing to watch. Name a trigger type, or give --select, --resource or --tool; "list" shows the trigger types.',
  );
}
