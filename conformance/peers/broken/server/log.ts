/** Servers whose logs break their invariants. */
import type { BrokenServer, Json } from '../proxy.ts';
import { onRequest, onResult, onDelivery, isDelivery, without } from '../fault-builders.ts';

const UNUSED = 'AAAAAAAAAAAAAAAAAAAAAA';
/** Changes the events of every delivery. */
const events = (
  change: (events: Json[], delivery: Json, memory: Record<string, Json>) => Json[],
): BrokenServer['fault'] =>
  onDelivery((delivery, memory) => ({
    ...delivery,
    events: change(delivery.events, delivery, memory),
  }));
/** Changes the results for a log after an epoch rotation; `first` is its first epoch. */
const inNewEpoch = (change: (result: Json, first: string) => Json): BrokenServer['fault'] =>
  onResult(['get', 'pull'], (result, { params: { subscriptionId }, memory }) => {
    const first = (memory[subscriptionId] ??= result.epoch);
    return first === result.epoch ? result : change(result, first);
  });

export const log: readonly BrokenServer[] = [
  {
    check: 'log-contiguous',
    wrong: 'skips sequence number 5',
    fault: events((all) =>
      all.map((event) =>
        event.sequence >= 5 ? { ...event, sequence: event.sequence + 1 } : event,
      ),
    ),
  },
  {
    check: 'log-contiguous',
    wrong: 'assigns a sequence number twice',
    fault: events((all) =>
      all.map((event) => (event.sequence === 6 ? { ...event, sequence: 5 } : event)),
    ),
  },
  {
    check: 'log-contiguous',
    wrong: 'assigns sequence numbers to a batch in reverse order',
    fault: events((all) =>
      all.map(({ sequence }, at) => ({ ...all[all.length - 1 - at], sequence })),
    ),
  },
  {
    check: 'log-all-matching',
    wrong: 'leaves an event out of every log but one',
    fault: events((all, { subscriptionId }, memory) =>
      subscriptionId === (memory['first'] ??= subscriptionId)
        ? all
        : all.filter(({ sequence }) => sequence !== 3),
    ),
  },
  {
    check: 'log-all-matching',
    wrong: 'appends to logs that do not match',
    fault: onResult(['get'], (result) => ({ ...result, head: Math.max(1, result.head) })),
  },
  {
    check: 'log-all-matching',
    wrong: 'ignores the audience of an event',
    fault: events((all) =>
      all.map((event) =>
        event.data.n === 3 ? { ...event, data: { ...event.data, n: 4 } } : event,
      ),
    ),
  },
  {
    check: 'type-initial',
    wrong: 'starts a log with the state at its own start',
    fault: events((all) =>
      all.map((event) =>
        event.sequence === 1 ? { ...event, data: { ...event.data, n: 0 } } : event,
      ),
    ),
  },
  {
    check: 'log-unwatched',
    wrong: 'reports a time without a watched source as trimmed events',
    fault: onDelivery((delivery) => ({
      ...delivery,
      gaps: delivery.gaps?.map((gap: Json) =>
        gap.reason === 'unwatched' ? { ...gap, reason: 'retention' } : gap,
      ),
    })),
  },
  {
    check: 'log-once',
    wrong: 'appends a repeated event',
    fault: events((all) => [
      ...all,
      ...all.slice(1, 2).map((event) => ({ ...event, sequence: event.sequence + 1000 })),
    ]),
  },
  {
    check: 'log-once',
    wrong: 'takes events of two sources with the same identifier for one event',
    fault: events((all) =>
      all.map((event) => ({
        ...all.find(({ eventId }) => eventId === event.eventId),
        sequence: event.sequence,
      })),
    ),
  },
  {
    check: 'log-stable',
    wrong: 'sends the time of delivery as timestamp',
    fault: events((all) => all.map((event) => ({ ...event, timestamp: new Date().toISOString() }))),
  },
  {
    check: 'log-stable',
    wrong: 'sends the time of delivery as acceptedAt',
    fault: events((all) =>
      all.map((event) => ({ ...event, acceptedAt: new Date().toISOString() })),
    ),
  },
  {
    check: 'log-stable',
    wrong: 'generates a new eventId for each delivery',
    fault: events((all) => all.map((event) => ({ ...event, eventId: `e-${Math.random()}` }))),
  },
  {
    check: 'log-no-silent-loss',
    wrong: 'trims the log without a gap',
    fault: onDelivery((delivery) =>
      delivery.gaps?.[0]?.reason === 'retention'
        ? { ...without(delivery, 'gaps'), afterSequence: delivery.gaps[0].to }
        : delivery,
    ),
  },
  {
    check: 'log-no-silent-loss',
    wrong: 'hides events that are too large',
    fault: onDelivery((delivery) => ({
      ...delivery,
      gaps: delivery.gaps?.filter(({ reason }: Json) => reason !== 'too_large'),
    })),
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'uses a counter as epoch',
    fault: onResult(['subscribe'], (result, { memory }) => ({
      ...result,
      epoch: String((memory['n'] = (memory['n'] ?? 0) + 1)),
    })),
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'uses one epoch for all logs',
    fault: onResult(['subscribe'], (result, { memory }) => ({
      ...result,
      epoch: (memory['epoch'] ??= result.epoch),
    })),
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'starts a new epoch when the selection changes',
    fault: {
      request: ({ method, params, memory }) => {
        if (method === 'triggers/update' && params.select !== undefined)
          memory[params.subscriptionId] = true;
      },
      ...onResult(['get'], (result, { memory }) =>
        memory[result.subscriptionId] === true ? { ...result, epoch: UNUSED } : result,
      ),
    },
  },
  {
    check: 'log-durable-sent',
    wrong: 'keeps what it sent in memory only',
    fault: onRequest(['get', 'pull', 'ack'], ({ subscriptionId }, { method, memory }) => {
      // Every scenario with a crash reads a subscription right after it.
      if (method === 'triggers/get') for (const id of Object.keys(memory)) delete memory[id];
      else if (method === 'triggers/pull') memory[subscriptionId] = true;
      else if (memory[subscriptionId] !== true)
        return { error: { code: -32602, message: 'Never sent.', data: { kind: 'position' } } };
      return undefined;
    }),
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'keeps the epoch after a loss',
    fault: inNewEpoch((result, epoch) => ({ ...result, epoch })),
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'accepts positions of the old epoch',
    fault: {
      request: async (proxied) => {
        const { method, params, ask } = proxied;
        for (const name of ['after', 'ack', 'position']) {
          if (params[name]?.epoch === undefined || method === 'triggers/get') continue;
          const { result } = await ask('triggers/get', { subscriptionId: params.subscriptionId });
          if (result !== undefined)
            proxied.params = {
              ...proxied.params,
              [name]: { ...params[name], epoch: result.epoch },
            };
        }
      },
    },
  },
  {
    check: 'etag-config',
    wrong: 'keeps the ETag in a new epoch',
    fault: onResult(['subscribe', 'get'], (result, { memory }) => {
      const first = `etag of ${result.subscriptionId}`;
      return { ...result, etag: (memory[first] ??= result.etag) };
    }),
  },
  {
    check: 'log-epoch-renumber',
    wrong: 'keeps acked in a new epoch',
    fault: inNewEpoch((result) => ({ ...result, acked: 2 })),
  },
  {
    check: 'log-epoch-renumber',
    wrong: 'continues the old sequence numbers in a new epoch',
    fault: inNewEpoch((result) =>
      result.events === undefined
        ? result
        : {
            ...result,
            events: result.events.map((event: Json) => ({
              ...event,
              sequence: event.sequence + 2,
            })),
          },
    ),
  },
  {
    check: 'log-epoch-renumber',
    wrong: 'drops gaps in a new epoch',
    fault: inNewEpoch((result) => without(result, 'gaps')),
  },
  {
    check: 'log-epoch-streams',
    wrong: 'continues a stream in another epoch',
    fault: {
      notification: (message) =>
        isDelivery(message)
          ? [
              message,
              {
                ...message,
                params: { ...message.params, epoch: UNUSED, afterSequence: 0, events: [] },
              },
            ]
          : message,
    },
  },
];
