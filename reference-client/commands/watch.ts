/** `watch`: subscribes and shows events as they come, by callback, stream or pull. */
import { Option } from 'commander';
import type { Drain, OnFailure, Selection } from 'mcp-triggers-experimental';
import { fileLedger, type SubscribeOptions, type TriggersClient } from 'mcp-triggers-experimental/client';
import { argument, count, instant, selections, ttl } from '../arguments.ts';
import { run, type Shell } from '../command.ts';
import { openEndpoint, type Endpoint } from '../endpoint.ts';
import { follow, stateNotices } from '../follow.ts';
import type { Printer } from '../printer.ts';
import { isLocal, type Globals } from '../session.ts';
import { UsageError } from '../usage-error.ts';

interface Options {
  readonly arg?: Readonly<Record<string, unknown>>;
  readonly select?: Selection[];
  readonly drain: Drain | 'auto';
  readonly key?: string;
  readonly ttl?: number | null;
  readonly since?: string;
  readonly onFailure?: OnFailure;
  readonly port: number;
  readonly count: number;
  readonly unsubscribe?: true;
}

export function watch(shell: Shell): void {
  shell.program.command('watch').description('subscribe and show events as they come')
    .argument('[trigger]', 'name of a trigger type')
    .option('--arg <name=value>', 'argument of the trigger; may be repeated', argument)
    .option('--select <json>', 'selections as JSON, instead of a trigger and arguments', selections)
    .addOption(new Option('--drain <how>', 'how events get here; auto tries callback, stream, pull').choices(['callback', 'stream', 'pull', 'auto']).default('auto'))
    .option('--key <key>', 'name of the subscription; the same name continues the same log')
    .option('--ttl <time>', 'suggest a lifetime: 90s, 1h, 7d, none', ttl)
    .option('--since <instant>', 'start a new log with events accepted since then', instant)
    .addOption(new Option('--on-failure <what>', 'when a callback keeps failing').choices(['suspend', 'skip']))
    .option('--port <port>', 'port of the callback endpoint on 127.0.0.1; 0 = any', count('--port', 0, 65_535), 0)
    .option('--count <n>', 'stop after so many events', count('--count', 1, Number.MAX_SAFE_INTEGER), Infinity)
    .option('--unsubscribe', 'end the subscription when stopping; otherwise it stays, and the next watch continues it')
    .action((trigger: string | undefined, options: Options) => run(shell, async (client, printer, globals) => {
      const endpoint = await endpointFor(client, printer, globals, options);
      try {
        await watchWith(shell, client, printer, subscribeOptions(trigger, options, globals, printer, endpoint), options);
      } finally {
        await endpoint?.close();
      }
    }));
}

async function watchWith(shell: Shell, client: TriggersClient, printer: Printer, subscribe: SubscribeOptions, { count: limit, unsubscribe }: Options): Promise<void> {
  const subscription = client.subscribe(subscribe);
  const close = () => subscription.close({ unsubscribe: unsubscribe === true });
  let closing: Promise<void> | undefined;
  const stopped = () => {
    closing = close();
    // Awaited below; a failure in between must not end the process.
    closing.catch(() => undefined);
  };
  shell.stop.addEventListener('abort', stopped, { once: true });
  if (shell.stop.aborted) stopped();
  try {
    await follow(subscription, printer, limit);
  } catch (error) {
    if (!shell.stop.aborted) throw error;
  } finally {
    shell.stop.removeEventListener('abort', stopped);
    await (closing ?? close());
  }
}

/** A server that is not on this machine could not call back to it. */
async function endpointFor(client: TriggersClient, printer: Printer, globals: Globals, { drain, port }: Options): Promise<Endpoint | undefined> {
  const wanted = drain === 'callback' || (drain === 'auto' && isLocal(globals) && client.capability?.drains.includes('callback'));
  if (!wanted) return undefined;
  return openEndpoint({
    port,
    jwksUri: client.capability?.jwksUri,
    onRefused: (code) => printer.notice({ type: 'refused', code }, `-- refused a request at the callback endpoint: ${code}`),
  });
}

function subscribeOptions(trigger: string | undefined, options: Options, globals: Globals, printer: Printer, endpoint: Endpoint | undefined): SubscribeOptions {
  const { drain, key, ttl: ttlMs, since, onFailure } = options;
  return {
    select: selectionOf(trigger, options),
    drain,
    onState: stateNotices(printer),
    ...(endpoint === undefined ? {} : { callback: endpoint.receiver }),
    ...(key === undefined ? {} : { key }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(since === undefined ? {} : { since }),
    ...(onFailure === undefined ? {} : { onFailure }),
    ...(globals.ledger === undefined ? {} : { ledger: fileLedger(globals.ledger) }),
  };
}

function selectionOf(trigger: string | undefined, { arg, select }: Options): Selection[] {
  if (select !== undefined) {
    if (trigger !== undefined || arg !== undefined) throw new UsageError('Give a trigger with --arg, or --select, not both.');
    return select;
  }
  if (trigger === undefined) throw new UsageError('Name a trigger type, or give --select. "list" shows what there is.');
  return [{ name: trigger, ...(arg === undefined ? {} : { arguments: { ...arg } }) }];
}
