/** Ways to spoil that several tables use. */
import type { Json, Passing, Spoil } from './proxy.ts';

/** Which way a delivery went. */
export type Drain = 'pull' | 'stream' | 'callback';

const of = (methods: readonly string[], { method }: Passing): boolean =>
  methods.some((name) => method === `triggers/${name}`);

/** Changes what the server is asked. What `change` returns is answered instead. */
export const asked = (
  methods: readonly string[],
  change: (params: Json, passing: Passing) => Json | void | Promise<Json | void>,
): Spoil => ({
  request: (passing) => (of(methods, passing) ? change(passing.params, passing) : undefined),
});

/** Changes what the server answers. */
export const answered = (
  methods: readonly string[],
  change: (result: Json, passing: Passing) => Json | Promise<Json>,
): Spoil => ({
  result: (result, passing) => (of(methods, passing) ? change(result, passing) : result),
});

/** Changes every error of the extension. */
export const refused = (change: (error: Json, passing: Passing) => Json): Spoil => ({
  error: (error, passing) => ({
    error: passing.method.startsWith('triggers/') ? change(error, passing) : error,
  }),
});

/** Changes deliveries on these drains, or on every one. */
export const delivered = (
  change: (delivery: Json, memory: Record<string, Json>, drain: Drain) => Json,
  on: readonly Drain[] = ['pull', 'stream', 'callback'],
): Spoil => ({
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

/** What a method that succeeded without doing anything would answer. */
export const done = (result: object): Json => ({ result: { resultType: 'complete', ...result } });

/** Everything of an object but these members. */
export const without = (value: Json, ...members: readonly string[]): Json =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !members.includes(name)));

/** So late that nobody waits for it. */
export const late = <T>(value: T): Promise<T> =>
  new Promise((resolve) => setTimeout(resolve, 4500, value).unref());
