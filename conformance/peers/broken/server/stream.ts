/** Servers whose streams are wrong. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';

const isStream = ({ method }: Passing): boolean => method === 'triggers/stream';
const delivery = (message: Json): boolean => message.method === 'notifications/triggers/delivery';
/** Changes the params of every delivery on a stream. */
const deliveries = (change: (params: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  notification: (message, passing) =>
    isStream(passing) && delivery(message)
      ? { ...message, params: change(message.params, passing) }
      : message,
});
const tag = 'io.modelcontextprotocol/subscriptionId';

export const stream: readonly BrokenServer[] = [
  {
    check: 'stream-first',
    wrong: 'says nothing until there is an event',
    spoil: {
      notification: (message) =>
        delivery(message) && message.params.events.length === 0 ? null : message,
    },
  },
  {
    check: 'stream-tag',
    wrong: 'leaves the tag away',
    spoil: deliveries(({ _meta, ...params }) => params),
  },
  {
    check: 'stream-tag',
    wrong: 'writes the tag as a string',
    spoil: deliveries((params) => ({
      ...params,
      _meta: { ...params._meta, [tag]: String(params._meta[tag]) },
    })),
  },
  {
    check: 'stream-continues',
    wrong: 'begins at the start whatever the client says',
    spoil: {
      request: (passing) => {
        if (isStream(passing) && passing.params.after)
          passing.params.after = { ...passing.params.after, sequence: 0 };
      },
    },
  },
  {
    check: 'stream-continues',
    wrong: 'says of each delivery that it begins at 0',
    spoil: deliveries((params) => ({ ...params, after: 0 })),
  },
  {
    check: 'stream-several',
    wrong: 'gives every stream the position of the first',
    spoil: {
      request: (passing) => {
        if (isStream(passing) && passing.params.after)
          passing.params.after = passing.memory[passing.params.subscriptionId] ??=
            passing.params.after;
      },
    },
  },
  {
    check: 'stream-no-ack',
    wrong: 'takes what it sent for acknowledged',
    spoil: {
      notification: async (message, passing) => {
        const { events = [], epoch, subscriptionId } = message.params;
        if (isStream(passing) && events.length > 0)
          await passing.ask('triggers/ack', {
            subscriptionId,
            position: { epoch, sequence: events.at(-1).sequence },
          });
        return message;
      },
    },
  },
  {
    check: 'stream-window',
    wrong: 'ignores the window',
    spoil: {
      request: (passing) => {
        if (isStream(passing)) delete passing.params.window;
      },
    },
  },
  {
    check: 'stream-window',
    wrong: 'counts events, not bytes',
    spoil: {
      request: (passing) => {
        if (isStream(passing)) delete passing.params.window?.bytes;
      },
    },
  },
  {
    check: 'stream-window-one',
    wrong: 'holds back what is larger than the window',
    spoil: {
      notification: (message) =>
        delivery(message) &&
        message.params.events.some((event: Json) => JSON.stringify(event).length > 2000)
          ? null
          : message,
    },
  },
  {
    check: 'stream-cancel',
    wrong: 'goes on after notifications/cancelled',
    spoil: {
      request: (passing) => {
        if (passing.method === 'notifications/cancelled') passing.params.requestId = 'nobody';
      },
    },
  },
  {
    check: 'stream-cancel',
    wrong: 'never gives back the place of a stream',
    spoil: {
      request: (passing) => {
        if (!isStream(passing)) return undefined;
        passing.memory['opened'] = (passing.memory['opened'] ?? 0) + 1;
        return passing.memory['opened'] > 32
          ? {
              error: {
                code: -32025,
                message: 'Too many streams.',
                data: { limit: 'streams', max: 32 },
              },
            }
          : undefined;
      },
    },
  },
  {
    check: 'stream-log-stays',
    wrong: 'takes the end of a stream for an acknowledgement of everything',
    spoil: {
      request: (passing) => {
        if (isStream(passing)) passing.memory['streamed'] = true;
      },
      result: (result, { method, memory }) =>
        method === 'triggers/get' && memory['streamed'] === true
          ? { ...result, acked: result.head }
          : result,
    },
  },
  {
    check: 'stream-heartbeat',
    wrong: 'is silent when nothing happens',
    spoil: {
      notification: (message, { memory }) =>
        delivery(message) &&
        message.params.events.length === 0 &&
        (memory['heard'] = (memory['heard'] ?? 0) + 1) > 1
          ? null
          : message,
    },
  },
  {
    check: 'stream-stalled',
    wrong: 'keeps a stream that nobody acknowledges',
    spoil: {
      result: (result, passing) =>
        isStream(passing) ? new Promise((resolve) => setTimeout(resolve, 8000, result)) : result,
    },
  },
  {
    check: 'stream-end',
    wrong: 'ends a stream with an error',
    spoil: {
      result: (result, passing) => (isStream(passing) ? { ...result, reason: 'stalled' } : result),
    },
  },
];
