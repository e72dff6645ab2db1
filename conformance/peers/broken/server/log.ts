/** Servers whose logs are not what they are taken for. */
import type { BrokenServer, Json } from '../proxy.ts';
import { answered, delivered, isDelivery, without } from '../spoils.ts';

const UNUSED = 'AAAAAAAAAAAAAAAAAAAAAA';
/** Whoever asks for a position of a log that counts differently. */
const events = (
  change: (events: Json[], delivery: Json, memory: Record<string, Json>) => Json[],
): BrokenServer['spoil'] =>
  delivered((delivery, memory) => ({
    ...delivery,
    events: change(delivery.events, delivery, memory),
  }));
/** Changes what is shown of a log that has another epoch than it had first. */
const reborn = (change: (result: Json, first: string) => Json): BrokenServer['spoil'] =>
  answered(['get', 'pull'], (result, { params: { subscriptionId }, memory }) => {
    const first = (memory[subscriptionId] ??= result.epoch);
    return first === result.epoch ? result : change(result, first);
  });

export const log: readonly BrokenServer[] = [
  {
    check: 'log-contiguous',
    wrong: 'leaves number 5 out',
    spoil: events((all) =>
      all.map((event) =>
        event.sequence >= 5 ? { ...event, sequence: event.sequence + 1 } : event,
      ),
    ),
  },
  {
    check: 'log-contiguous',
    wrong: 'uses a number twice',
    spoil: events((all) =>
      all.map((event) => (event.sequence === 6 ? { ...event, sequence: 5 } : event)),
    ),
  },
  {
    check: 'log-accept-order',
    wrong: 'numbers what came together backwards',
    spoil: events((all) =>
      all.map(({ sequence }, at) => ({ ...all[all.length - 1 - at], sequence })),
    ),
  },
  {
    check: 'log-all-matching',
    wrong: 'leaves an event out of every log but one',
    spoil: events((all, { subscriptionId }, memory) =>
      subscriptionId === (memory['first'] ??= subscriptionId)
        ? all
        : all.filter(({ sequence }) => sequence !== 3),
    ),
  },
  {
    check: 'log-all-matching',
    wrong: 'appends to logs that do not match',
    spoil: answered(['get'], (result) => ({ ...result, head: Math.max(1, result.head) })),
  },
  {
    check: 'log-once',
    wrong: 'appends what is repeated',
    spoil: events((all) => [
      ...all,
      ...all.slice(1, 2).map((event) => ({ ...event, sequence: event.sequence + 1000 })),
    ]),
  },
  {
    check: 'log-stable',
    wrong: 'gives each delivery of an event the time of sending',
    spoil: events((all) => all.map((event) => ({ ...event, timestamp: new Date().toISOString() }))),
  },
  {
    check: 'log-stable',
    wrong: 'makes up an id for each delivery',
    spoil: events((all) => all.map((event) => ({ ...event, eventId: `e-${Math.random()}` }))),
  },
  {
    check: 'log-no-silent-loss',
    wrong: 'trims without a word',
    spoil: delivered((delivery) =>
      delivery.gaps?.[0]?.reason === 'retention'
        ? { ...without(delivery, 'gaps'), after: delivery.gaps[0].to }
        : delivery,
    ),
  },
  {
    check: 'log-no-silent-loss',
    wrong: 'forgets what is too large',
    spoil: delivered((delivery) => ({
      ...delivery,
      gaps: delivery.gaps?.filter(({ reason }: Json) => reason !== 'too_large'),
    })),
  },
  {
    check: 'log-epoch-shape',
    wrong: 'counts its epochs',
    spoil: answered(['subscribe'], (result, { memory }) => ({
      ...result,
      epoch: String((memory['n'] = (memory['n'] ?? 0) + 1)),
    })),
  },
  {
    check: 'log-epoch-shape',
    wrong: 'has one epoch for all logs',
    spoil: answered(['subscribe'], (result, { memory }) => ({
      ...result,
      epoch: (memory['epoch'] ??= result.epoch),
    })),
  },
  {
    check: 'log-epoch-only-loss',
    wrong: 'begins a new epoch when the selection changes',
    spoil: {
      request: ({ method, params, memory }) => {
        if (method === 'triggers/update' && params.select !== undefined)
          memory[params.subscriptionId] = true;
      },
      ...answered(['get'], (result, { memory }) =>
        memory[result.subscriptionId] === true ? { ...result, epoch: UNUSED } : result,
      ),
    },
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'keeps the epoch over a loss',
    spoil: reborn((result, epoch) => ({ ...result, epoch })),
  },
  {
    check: 'log-epoch-rotate',
    wrong: 'takes positions of the old epoch',
    spoil: {
      request: async (passing) => {
        const { method, params, ask } = passing;
        for (const name of ['after', 'ack', 'position']) {
          if (params[name]?.epoch === undefined || method === 'triggers/get') continue;
          const { result } = await ask('triggers/get', { subscriptionId: params.subscriptionId });
          if (result !== undefined)
            passing.params = {
              ...passing.params,
              [name]: { ...params[name], epoch: result.epoch },
            };
        }
      },
    },
  },
  {
    check: 'log-epoch-renumber',
    wrong: 'keeps `acked` in a new life',
    spoil: reborn((result) => ({ ...result, acked: 2 })),
  },
  {
    check: 'log-epoch-renumber',
    wrong: 'numbers the rest on from where it was',
    spoil: reborn((result) =>
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
    wrong: 'leaves gaps behind in the old life',
    spoil: reborn((result) => without(result, 'gaps')),
  },
  {
    check: 'log-epoch-streams',
    wrong: 'goes on with another epoch on the same stream',
    spoil: {
      notification: (message) =>
        isDelivery(message)
          ? [
              message,
              { ...message, params: { ...message.params, epoch: UNUSED, after: 0, events: [] } },
            ]
          : message,
    },
  },
];
