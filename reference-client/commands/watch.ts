/** `watch`: follows on any server, by the best way it has, and shows events as they come. */
import { Option } from 'commander';
import type { Drain, OnFailure, Selection } from 'mcp-triggers-experimental';
import {
  fileLedger,
  type FollowOptions,
  type Following,
  type ModeName,
  type TriggersClient,
} from 'mcp-triggers-experimental/client';
import { argument, count, duration, instant, oneOf, selections, ttl } from '../arguments.ts';
import { run, type Shell } from '../command.ts';
import { openEndpoint, type Endpoint } from '../endpoint.ts';
import { follow, stateNotices } from '../follow.ts';
import type { Printer } from '../printer.ts';
import { isLocal, type Globals } from '../session.ts';
import { UsageError } from '../usage-error.ts';

interface Options {
  readonly arg?: Readonly<Record<string, unknown>>;
  readonly select?: Selection[];
  readonly resource?: string;
  readonly tool?: string;
  readonly toolArg?: Readonly<Record<string, unknown>>;
  readonly every?: number;
  readonly rung?: readonly ModeName[];
  readonly drain: Drain | 'auto';
  readonly key?: string;
  readonly ttl?: number | null;
  readonly since?: string;
  readonly onFailure?: OnFailure;
  readonly port: number;
  readonly count: number;
  readonly unsubscribe?: true;
}

const RUNGS: readonly ModeName[] = [
  'triggers',
  'events.webhook',
  'events.push',
  'events.poll',
  'listen',
  'read',
  'tool',
];
/** Ways on which the server calls back. */
const CALLING_BACK: readonly ModeName[] = ['triggers', 'events.webhook'];

export function watch(shell: Shell): void {
  shell.program
    .command('watch')
    .description('follow and show events as they come, by the best way the server has')
    .argument('[trigger]', 'name of a trigger type')
    .option('--arg <name=value>', 'argument of the trigger; may be repeated', argument)
    .option('--select <json>', 'selections as JSON, instead of a trigger and arguments', selections)
    .option('--resource <uri>', 'a resource to look at, where the server has no such trigger type')
    .option(
      '--tool <name>',
      'a tool to call again and again, where it has neither; it must change nothing',
    )
    .option('--tool-arg <name=value>', 'argument of the tool; may be repeated', argument)
    .option(
      '--every <time>',
      'how often to look when the server does not say: 10s, 5m',
      duration('--every'),
    )
    .addOption(
      new Option('--rung <way>', `only this way; may be repeated: ${RUNGS.join(', ')}`).argParser(
        oneOf('--rung', RUNGS),
      ),
    )
    .addOption(
      new Option(
        '--drain <how>',
        'how events of a trigger type get here; auto tries callback, stream, pull',
      )
        .choices(['callback', 'stream', 'pull', 'auto'])
        .default('auto'),
    )
    .option('--key <key>', 'name of the subscription; the same name continues the same log')
    .option('--ttl <time>', 'suggest a lifetime: 90s, 1h, 7d, none', ttl)
    .option('--since <instant>', 'start a new log with events accepted since then', instant)
    .addOption(
      new Option('--on-failure <what>', 'when a callback keeps failing').choices([
        'suspend',
        'skip',
      ]),
    )
    .option(
      '--port <port>',
      'port of the callback endpoint on 127.0.0.1; 0 = any',
      count('--port', 0, 65_535),
      0,
    )
    .option(
      '--count <n>',
      'stop after so many events',
      count('--count', 1, Number.MAX_SAFE_INTEGER),
      Infinity,
    )
    .option(
      '--unsubscribe',
      'end the subscription when stopping; otherwise it stays, and the next watch continues it',
    )
    .action((trigger: string | undefined, options: Options) =>
      run(shell, async (client, printer, globals) => {
        const select = selectionOf(trigger, options);
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
      }),
    );
}

async function watchWith(
  shell: Shell,
  client: TriggersClient,
  printer: Printer,
  options: FollowOptions,
  { count: limit, unsubscribe }: Options,
): Promise<void> {
  const following: Following = client.follow({
    ...options,
    onState: stateNotices(printer, () => following),
  });
  const close = () => following.close({ unsubscribe: unsubscribe === true });
  let closing: Promise<void> | undefined;
  const stopped = () => {
    closing = close();
    // Awaited below; a failure in between must not end the process.
    closing.catch(() => undefined);
  };
  shell.stop.addEventListener('abort', stopped, { once: true });
  if (shell.stop.aborted) stopped();
  try {
    await follow(
      following,
      options.select.map(({ name }) => name),
      printer,
      limit,
    );
  } catch (error) {
    if (!shell.stop.aborted) throw error;
  } finally {
    shell.stop.removeEventListener('abort', stopped);
    await (closing ?? close());
  }
}

/** A server that is not on this machine could not call back to it. */
async function endpointFor(
  client: TriggersClient,
  printer: Printer,
  globals: Globals,
  { drain, port, rung = RUNGS }: Options,
): Promise<Endpoint | undefined> {
  const mayBeCalled =
    isLocal(globals) &&
    client.capability?.drains.includes('callback') !== false &&
    CALLING_BACK.some((name) => rung.includes(name));
  const wanted = drain === 'callback' || (drain === 'auto' && mayBeCalled);
  if (!wanted) return undefined;
  return openEndpoint({
    port,
    jwksUri: client.capability?.jwksUri,
    onRefused: (code) =>
      printer.notice(
        { type: 'refused', code },
        `-- refused a request at the callback endpoint: ${code}`,
      ),
  });
}

function followOptions(
  select: Selection[],
  options: Options,
  globals: Globals,
  endpoint: Endpoint | undefined,
): FollowOptions {
  const {
    drain,
    key,
    ttl: ttlMs,
    since,
    onFailure,
    resource,
    tool,
    toolArg,
    every,
    rung,
  } = options;
  const otherwise = {
    ...(resource === undefined ? {} : { resource }),
    ...(tool === undefined
      ? {}
      : { tool: { name: tool, ...(toolArg === undefined ? {} : { arguments: toolArg }) } }),
  };
  return {
    select,
    otherwise: Object.fromEntries(select.map(({ name }) => [name, otherwise])),
    ...(rung === undefined ? {} : { modes: rung }),
    ...(every === undefined ? {} : { tuning: { pollMs: every } }),
    ...(endpoint === undefined ? {} : { callback: endpoint.receiver }),
    ...(globals.ledger === undefined ? {} : { ledger: fileLedger(globals.ledger) }),
    triggers: {
      drain,
      ...(key === undefined ? {} : { key }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(since === undefined ? {} : { since }),
      ...(onFailure === undefined ? {} : { onFailure }),
    },
  };
}

function selectionOf(
  trigger: string | undefined,
  { arg, select, resource, tool }: Options,
): Selection[] {
  if (select !== undefined) {
    if (trigger !== undefined || arg !== undefined)
      throw new UsageError('Give a trigger with --arg, or --select, not both.');
    return select;
  }
  if (trigger !== undefined)
    return [{ name: trigger, ...(arg === undefined ? {} : { arguments: { ...arg } }) }];
  if (resource !== undefined)
    return [{ name: 'mcp.resource.updated', arguments: { uri: resource } }];
  if (tool !== undefined) return [{ name: 'mcp.tool.result' }];
  throw new UsageError(
    'Name a trigger type, or give --select, --resource or --tool. "list" shows what there is.',
  );
}
