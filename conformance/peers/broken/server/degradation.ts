/** Servers whose `events/*` methods do not read the logs, or that mix the two protocols. */
import type { BrokenServer, Json } from '../proxy.ts';

const EXTENSION = 'io.modelcontextprotocol/triggers';
const polled = (change: (events: Json[]) => Json[]): BrokenServer['fault'] => ({
  result: (result, { method }) =>
    method === 'events/poll' ? { ...result, events: change(result.events) } : result,
});

export const degradation: readonly BrokenServer[] = [
  {
    check: 'deg-server-same-log',
    wrong: 'returns polled events in another order',
    fault: polled((events) => events.toReversed()),
  },
  {
    check: 'deg-server-same-log',
    wrong: 'renumbers the events of each poll',
    fault: {
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
    wrong: 'omits the metadata of an event',
    fault: polled((events) => events.map(({ _meta, ...event }) => event)),
  },
  {
    check: 'deg-events-meta',
    wrong: 'sends the sequence without the epoch',
    fault: polled((events) =>
      events.map((event) => ({
        ...event,
        _meta: { [EXTENSION]: { sequence: event._meta[EXTENSION].sequence } },
      })),
    ),
  },
  {
    check: 'deg-no-control',
    wrong: 'sends a triggers delivery on an events stream',
    fault: {
      notification: (message, { method }) =>
        method === 'events/stream' && message.method === 'notifications/events/event'
          ? [
              message,
              {
                jsonrpc: '2.0',
                method: 'notifications/triggers/delivery',
                params: { afterSequence: 0, events: [] },
              },
            ]
          : message,
    },
  },
  {
    check: 'deg-no-control',
    wrong: 'signs SEP-3415 webhooks with MCP-Delivery-Signature',
    fault: {
      callback: (outgoing) => {
        outgoing.headers['mcp-delivery-signature'] = 'a..b';
      },
    },
  },
];
