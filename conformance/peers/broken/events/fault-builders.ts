/** Builders for the faults of SEP-3415 servers that several tables share. */
import type { Calling, CallbackAnswer, Json, Passing, Fault } from '../proxy.ts';

/**
 * Changes a request. A value that `change` returns is the answer, and the server never sees the
 * request.
 */
export const asked = (
  method: string,
  change: (params: Json, passing: Passing) => Json | void | Promise<Json | void>,
): Fault => ({
  request: (passing) => (passing.method === method ? change(passing.params, passing) : undefined),
});

/** Changes a result. */
export const answered = (
  method: string,
  change: (result: Json, passing: Passing) => Json | Promise<Json>,
): Fault => ({
  result: (result, passing) => (passing.method === method ? change(result, passing) : result),
});

/** Changes an error. `change` returns `{ error }` or `{ result }`. */
export const refused = (
  method: string,
  change: (error: Json, passing: Passing) => Json,
): Fault => ({
  error: (error, passing) => (passing.method === method ? change(error, passing) : { error }),
});

/** Changes a notification of this kind on a stream. */
export const noted = (
  kind: string,
  change: (message: Json, passing: Passing) => Json | Json[] | null,
): Fault => ({
  notification: (message, passing) =>
    message.method === `notifications/events/${kind}` ? change(message, passing) : message,
});

/** Changes webhook requests of this type; undefined = occurrences. */
export const called = (
  type: string | undefined,
  change: (calling: Calling) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): Fault => ({
  callback: (calling) => (calling.body?.type === type ? change(calling) : undefined),
});

/** The object without these members. */
export const without = (value: Json, ...members: readonly string[]): Json =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !members.includes(name)));

/** Answers of an endpoint. */
export const echo = ({ body: { challenge } }: Calling): CallbackAnswer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ challenge }),
});
export const taken: CallbackAnswer = { status: 204, headers: {}, body: '' };

/** A result that claims success. */
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
