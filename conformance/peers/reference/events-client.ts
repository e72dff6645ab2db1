/**
 * The client library as a program for the client suite of SEP-3415: follows in one mode and prints
 * the items.
 */
import {
  connect,
  triggersClient,
  type FollowItem,
  type FollowOptions,
} from 'mcp-triggers-experimental/client';
import type { EventsContext } from '../../runner/events/client.ts';
import { loopbackReceiver } from './loopback-receiver.ts';

const LIST_CHANGED = 'notifications/events/list_changed';
const url = process.argv.at(-1)!;
const {
  mode,
  select,
  durationMs,
  suggested = {},
} = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT']!) as EventsContext;
const { requestTimeoutMs, streamSilenceMs, backoffBaseMs, pollFloorMs } = suggested;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function appliedOf(item: FollowItem): object {
  switch (item.type) {
    case 'event':
      return { applied: 'event', eventId: item.event.eventId };
    case 'gap':
      return { applied: 'gap', reason: item.reason };
    default:
      return { told: item.type };
  }
}

process.once('SIGTERM', () => process.exit(0));
setTimeout(() => process.exit(0), durationMs).unref();
say({ took: Object.keys(suggested) });
const connection = await connect(
  { url },
  {
    protocol: '2026-07-28',
    ...(requestTimeoutMs === undefined ? {} : { timeoutMs: requestTimeoutMs }),
  },
);
// The application selects what to follow, so this program reads the list again after a change, not
// the library.
const { extensions } = connection.serverCapabilities as {
  readonly extensions?: Readonly<Record<string, { readonly listChanged?: boolean }>>;
};
if (extensions?.['io.modelcontextprotocol/events']?.listChanged === true) {
  connection
    .stream(
      'subscriptions/listen',
      { notifications: { eventsListChanged: true } },
      {
        signal: new AbortController().signal,
        silenceMs: durationMs,
        notifications: [LIST_CHANGED],
        onNotification: () => void connection.call('events/list', {}).catch(() => undefined),
      },
    )
    .catch(() => undefined);
}
const following = triggersClient(connection).follow({
  select: select as FollowOptions['select'],
  modes: [`events.${mode}`],
  ...(mode === 'webhook' ? { callback: await loopbackReceiver() } : {}),
  tuning: {
    ...(streamSilenceMs === undefined ? {} : { silenceMs: streamSilenceMs }),
    ...(pollFloorMs === undefined ? {} : { pollFloorMs }),
    ...(backoffBaseMs === undefined
      ? {}
      : { backoff: { baseMs: backoffBaseMs, maxMs: 10 * backoffBaseMs } }),
  },
});
try {
  for await (const item of following) say(appliedOf(item));
} catch (error) {
  say({ applied: 'ended', reason: (error as Error).message });
  // Keep running, because the suite observes what happens after the end.
  await new Promise((resolve) => setTimeout(resolve, durationMs));
}
