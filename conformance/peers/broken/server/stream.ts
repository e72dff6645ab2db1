/** Servers whose streams are broken. */
import { SUBSCRIPTION_META } from '../../../runner/wire/session.ts';
import { delayed } from '../fault-builders.ts';
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';

const isStream = ({ method }: ProxiedRequest): boolean => method === 'triggers/stream';
const delivery = (message: Json): boolean => message.method === 'notifications/triggers/delivery';
/** Changes the params of every delivery on a stream. */
const deliveries = (
  change: (params: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  notification: (message, proxied) =>
    isStream(proxied) && delivery(message)
      ? { ...message, params: change(message.params, proxied) }
      : message,
});

export const stream: readonly BrokenServer[] = [
  {
    check: 'stream-first',
    wrong: 'sends nothing until the first event',
    fault: {
      notification: (message) =>
        delivery(message) && message.params.events.length === 0 ? null : message,
    },
  },
  {
    check: 'stream-tag',
    wrong: 'omits requestId',
    fault: deliveries(({ requestId, ...params }) => params),
  },
  {
    check: 'stream-tag',
    wrong: 'sends requestId as a string',
    fault: deliveries((params) => ({ ...params, requestId: String(params.requestId) })),
  },
  {
    check: 'stream-tag',
    wrong: 'names the request in _meta only',
    fault: deliveries(({ requestId, ...params }) => ({
      ...params,
      _meta: { [SUBSCRIPTION_META]: requestId },
    })),
  },
  {
    check: 'stream-continues',
    wrong: 'starts every stream at 0',
    fault: {
      request: (proxied) => {
        if (isStream(proxied) && proxied.params.after)
          proxied.params.after = { ...proxied.params.after, sequence: 0 };
      },
    },
  },
  {
    check: 'stream-continues',
    wrong: 'starts every delivery at 0',
    fault: deliveries((params) => ({ ...params, afterSequence: 0 })),
  },
  {
    check: 'stream-several',
    wrong: 'starts every stream at the position of the first',
    fault: {
      request: (proxied) => {
        if (isStream(proxied) && proxied.params.after)
          proxied.params.after = proxied.memory[proxied.params.subscriptionId] ??=
            proxied.params.after;
      },
    },
  },
  {
    check: 'ack-only-said',
    wrong: 'treats a streamed delivery as an acknowledgement',
    fault: {
      notification: async (message, proxied) => {
        const { events = [], epoch, subscriptionId } = message.params;
        if (isStream(proxied) && events.length > 0)
          await proxied.ask('triggers/ack', {
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
    fault: {
      request: (proxied) => {
        if (isStream(proxied)) delete proxied.params.window;
      },
    },
  },
  {
    check: 'stream-window',
    wrong: 'ignores the bytes of the window',
    fault: {
      request: (proxied) => {
        if (isStream(proxied)) delete proxied.params.window?.bytes;
      },
    },
  },
  {
    check: 'stream-window',
    wrong: 'holds back an event that is larger than the window',
    fault: {
      notification: (message) =>
        delivery(message) &&
        message.params.events.some((event: Json) => JSON.stringify(event).length > 2000)
          ? null
          : message,
    },
  },
  {
    check: 'stream-cancel',
    wrong: 'ignores notifications/cancelled',
    fault: {
      request: (proxied) => {
        if (proxied.method === 'notifications/cancelled') proxied.params.requestId = 'nobody';
      },
    },
  },
  {
    check: 'stream-cancel',
    wrong: 'never frees the quota of a closed stream',
    fault: {
      request: (proxied) => {
        if (!isStream(proxied)) return undefined;
        proxied.memory['opened'] = (proxied.memory['opened'] ?? 0) + 1;
        return proxied.memory['opened'] > 32
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
    wrong: 'acknowledges everything when a stream ends',
    fault: {
      request: (proxied) => {
        if (isStream(proxied)) proxied.memory['streamed'] = true;
      },
      result: (result, { method, memory }) =>
        method === 'triggers/get' && memory['streamed'] === true
          ? { ...result, acked: result.head }
          : result,
    },
  },
  {
    check: 'stream-heartbeat',
    wrong: 'sends no heartbeats',
    fault: {
      notification: (message, { memory }) =>
        delivery(message) &&
        message.params.events.length === 0 &&
        (memory['heard'] = (memory['heard'] ?? 0) + 1) > 1
          ? null
          : message,
    },
  },
  {
    check: 'stream-heartbeat',
    wrong: 'sends a heartbeat every 20 seconds',
    fault: {
      notification: (message, { memory }) =>
        delivery(message) &&
        message.params.events.length === 0 &&
        (memory['heard'] = (memory['heard'] ?? 0) + 1) > 1
          ? delayed(message)
          : message,
    },
  },
  {
    check: 'stream-stalled',
    wrong: 'ends a stream whose window stays full',
    fault: {
      notification: (message, { memory }) =>
        delivery(message) &&
        message.params.events.length === 0 &&
        message.params.head > message.params.afterSequence &&
        (memory['full'] = (memory['full'] ?? 0) + 1) > 3
          ? {
              jsonrpc: '2.0',
              id: message.params.requestId,
              result: { resultType: 'complete' },
            }
          : message,
    },
  },
  {
    check: 'stream-end',
    wrong: 'adds a reason to the final result',
    fault: {
      result: (result, proxied) => (isStream(proxied) ? { ...result, reason: 'stalled' } : result),
    },
  },
];
