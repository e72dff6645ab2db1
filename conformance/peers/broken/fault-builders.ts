/** Builders for faults that several tables share. */
import type { Json, Passing, Fault } from './proxy.ts';

/** How a delivery is sent. */
export type Drain = 'pull' | 'stream' | 'callback';

const of = (methods: readonly string[], { method }: Passing): boolean =>
  methods.some((name) => method === `triggers/${name}`);

/**
 * Changes a request. A value that `change` returns is the answer, and the server never sees the
 * request.
 */
export const asked = (
  methods: readonly string[],
  change: (params: Json, passing: Passing) => Json | void | Promise<Json | void>,
): Fault => ({
  request: (passing) => (of(methods, passing) ? change(passing.params, passing) : undefined),
});

/** Changes a result. */
export const answered = (
  methods: readonly string[],
  change: (result: Json, passing: Passing) => Json | Promise<Json>,
): Fault => ({
  result: (result, passing) => (of(methods, passing) ? change(result, passing) : result),
});

/** Changes every error of the extension. */
export const refused = (change: (error: Json, passing: Passing) => Json): Fault => ({
  error: (error, passing) => ({
    error: passing.method.startsWith('triggers/') ? change(error, passing) : error,
  }),
});

/** Changes deliveries of these drains; default: all of them. */
export const delivered = (
  change: (delivery: Json, memory: Record<string, Json>, drain: Drain) => Json,
  on: readonly Drain[] = ['pull', 'stream', 'callback'],
): Fault => ({
  ...(on.includes('pull')
    ? answered(['pull'], (result, { memory }) => change(result, memory, 'pull'))
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
        callback: (calling) => {
          calling.body = {
            ...calling.body,
            params: change(calling.body.params, calling.memory, 'callback'),
          };
        },
      }
    : {}),
});

/** Whether a notification is a delivery. */
export const isDelivery = ({ method }: Json): boolean =>
  method === 'notifications/triggers/delivery';

/** The result of a method that claims success but does nothing. */
export const done = (result: object): Json => ({ result: { resultType: 'complete', ...result } });

/** The object without these members. */
export const without = (value: Json, ...members: readonly string[]): Json =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !members.includes(name)));

/** Delays a value beyond the patience of a scenario. */
export const late = <T>(value: T): Promise<T> =>
  new Promise((resolve) => setTimeout(resolve, 4500, value).unref());
