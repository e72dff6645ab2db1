/** Ways to spoil a server of SEP-3415 that several tables use. */
import type { Calling, CallbackAnswer, Json, Passing, Spoil } from '../proxy.ts';

/** Changes what the server is asked. What `change` returns is answered instead. */
export const asked = (
  method: string,
  change: (params: Json, passing: Passing) => Json | void | Promise<Json | void>,
): Spoil => ({
  request: (passing) => (passing.method === method ? change(passing.params, passing) : undefined),
});

/** Changes what the server answers. */
export const answered = (
  method: string,
  change: (result: Json, passing: Passing) => Json | Promise<Json>,
): Spoil => ({
  result: (result, passing) => (passing.method === method ? change(result, passing) : result),
});

/** Changes an error; what it returns is `{ error }` or `{ result }`. */
export const refused = (
  method: string,
  change: (error: Json, passing: Passing) => Json,
): Spoil => ({
  error: (error, passing) => (passing.method === method ? change(error, passing) : { error }),
});

/** Changes a notification of this kind on a stream. */
export const noted = (
  kind: string,
  change: (message: Json, passing: Passing) => Json | Json[] | null,
): Spoil => ({
  notification: (message, passing) =>
    message.method === `notifications/events/${kind}` ? change(message, passing) : message,
});

/** Changes requests to webhooks that have this type; undefined = events. */
export const called = (
  type: string | undefined,
  change: (calling: Calling) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): Spoil => ({
  callback: (calling) => (calling.body?.type === type ? change(calling) : undefined),
});

/** Everything of an object but these members. */
export const without = (value: Json, ...members: readonly string[]): Json =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !members.includes(name)));

/** An answer that an endpoint might have given. */
export const echo = ({ body: { challenge } }: Calling): CallbackAnswer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ challenge }),
});
export const taken: CallbackAnswer = { status: 204, headers: {}, body: '' };

/** A result as if it had worked. */
export const done = (result: object): Json => ({ result: { resultType: 'complete', ...result } });
export const nothingPolled = done({
  events: [],
  cursor: 'c',
  truncated: false,
  hasMore: false,
  nextPollMs: 1000,
});
export const subscribed = done({
  id: 'evt_x',
  cursor: 'c',
  truncated: false,
  refreshBefore: '2099-01-01T00:00:00.000Z',
});
