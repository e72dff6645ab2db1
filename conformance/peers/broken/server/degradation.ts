/** Servers that serve `events/*` from something else than the logs, or mix the two protocols. */
import type { BrokenServer, Json } from '../proxy.ts';

const EXTENSION = 'io.modelcontextprotocol/triggers';
const polled = (change: (events: Json[]) => Json[]): BrokenServer['spoil'] => ({
  result: (result, { method }) =>
    method === 'events/poll' ? { ...result, events: change(result.events) } : result,
});

export const degradation: readonly BrokenServer[] = [
  {
    check: 'deg-server-same-log',
    wrong: 'hands polls their events in another order',
    spoil: polled((events) => events.toReversed()),
  },
  {
    check: 'deg-server-same-log',
    wrong: 'numbers the events of each poll anew',
    spoil: {
      result: (result, { method, memory }) => {
        if (method !== 'events/poll') return result;
        memory['polls'] = (memory['polls'] ?? 0) + 1;
        return {
          ...result,
          events: result.events.map((event: Json, at: number) => ({
            ...event,
            _meta: {
              [EXTENSION]: { ...event._meta[EXTENSION], sequence: memory['polls'] * 10 + at },
            },
          })),
        };
      },
    },
  },
  {
    check: 'deg-events-meta',
    wrong: 'keeps the numbers to itself',
    spoil: polled((events) => events.map(({ _meta, ...event }) => event)),
  },
  {
    check: 'deg-events-meta',
    wrong: 'says the number only',
    spoil: polled((events) =>
      events.map((event) => ({
        ...event,
        _meta: { [EXTENSION]: { sequence: event._meta[EXTENSION].sequence } },
      })),
    ),
  },
  {
    check: 'deg-no-control',
    wrong: 'sends its own deliveries beside the events',
    spoil: {
      notification: (message, { method }) =>
        method === 'events/stream' && message.method === 'notifications/events/event'
          ? [
              message,
              {
                jsonrpc: '2.0',
                method: 'notifications/triggers/delivery',
                params: { after: 0, events: [] },
              },
            ]
          : message,
    },
  },
  {
    check: 'deg-no-control',
    wrong: 'signs webhooks of events/* with a header of its own',
    spoil: {
      callback: (calling) => {
        calling.headers['mcp-delivery-signature'] = 'a..b';
      },
    },
  },
];
