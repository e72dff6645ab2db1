/** Builders for faults that several tables share. */
import { isChallenge } from '../../runner/server/callback-endpoint.ts';
import type { Json, ProxiedRequest, Fault } from './proxy.ts';

/** The drain of a delivery. */
export type Drain = 'pull' | 'stream' | 'callback';

const of = (methods: readonly string[], { method }: ProxiedRequest): boolean =>
  methods.some((name) => method === `triggers/${name}`);

/**
 * Changes a request. A value that `change` returns is the answer, and the server never sees the
 * request.
 */
export const onRequest = (
  methods: readonly string[],
  change: (params: Json, proxied: ProxiedRequest) => Json | void | Promise<Json | void>,
): Fault => ({
  request: (proxied) => (of(methods, proxied) ? change(proxied.params, proxied) : undefined),
});

/** Changes a result. */
export const onResult = (
  methods: readonly string[],
  change: (result: Json, proxied: ProxiedRequest) => Json | Promise<Json>,
): Fault => ({
  result: (result, proxied) => (of(methods, proxied) ? change(result, proxied) : result),
});

/** The subscription with these members in the health of its callback. */
export const withHealth = (result: Json, members: object): Json => ({
  ...result,
  callback: { ...result.callback, health: { ...result.callback.health, ...members } },
});

/** The state of the callback of a subscription; undefined without one. */
export const stateOf = ({ callback }: Json): string | undefined => callback?.state;

/** The subscription with this state of its callback. */
export const withState = (result: Json, state: string): Json => ({
  ...result,
  callback: { ...result.callback, state },
});

/** Changes every error of the extension. */
export const onError = (change: (error: Json, proxied: ProxiedRequest) => Json): Fault => ({
  error: (error, proxied) => ({
    error: proxied.method.startsWith('triggers/') ? change(error, proxied) : error,
  }),
});

/** Changes deliveries of these drains; default: all of them. */
export const onDelivery = (
  change: (delivery: Json, memory: Record<string, Json>, drain: Drain) => Json,
  on: readonly Drain[] = ['pull', 'stream', 'callback'],
): Fault => ({
  ...(on.includes('pull')
    ? onResult(['pull'], (result, { memory }) => change(result, memory, 'pull'))
    : {}),
  ...(on.includes('stream')
    ? {
        notification: (message, { memory }) =>
          isDelivery(message)
            ? { ...message, params: change(message.params, memory, 'stream') }
            : message,
      }
    : {}),
  ...(on.includes('callback')
    ? {
        callback: (outgoing) => {
          if (isChallenge(outgoing.body.params)) return;
          outgoing.body = {
            ...outgoing.body,
            params: change(outgoing.body.params, outgoing.memory, 'callback'),
          };
        },
      }
    : {}),
});

/** Whether a notification is a delivery. */
export const isDelivery = ({ method }: Json): boolean =>
  method === 'notifications/triggers/delivery';

/** A result with these members, for a method that claims success but does nothing. */
export const emptySuccess = (result: object): Json => ({
  result: { resultType: 'complete', ...result },
});

/** The object without these members. */
export const without = (value: Json, ...members: readonly string[]): Json =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !members.includes(name)));

/** Resolves with the value after 4.5 s, longer than a scenario with a broken peer waits. */
export const delayed = <T>(value: T): Promise<T> =>
  new Promise((resolve) => setTimeout(resolve, 4500, value).unref());
