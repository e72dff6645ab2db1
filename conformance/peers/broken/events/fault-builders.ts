/** Builders for the faults of SEP-3415 servers that several tables share. */
import type { CallbackRequest, CallbackAnswer, Json, ProxiedRequest, Fault } from '../proxy.ts';

/**
 * Changes a request. A value that `change` returns is the answer, and the server never sees the
 * request.
 */
export const onRequest = (
  method: string,
  change: (params: Json, proxied: ProxiedRequest) => Json | void | Promise<Json | void>,
): Fault => ({
  request: (proxied) => (proxied.method === method ? change(proxied.params, proxied) : undefined),
});

/** Changes a result. */
export const onResult = (
  method: string,
  change: (result: Json, proxied: ProxiedRequest) => Json | Promise<Json>,
): Fault => ({
  result: (result, proxied) => (proxied.method === method ? change(result, proxied) : result),
});

/** Changes an error. `change` returns `{ error }` or `{ result }`. */
export const onError = (
  method: string,
  change: (error: Json, proxied: ProxiedRequest) => Json,
): Fault => ({
  error: (error, proxied) => (proxied.method === method ? change(error, proxied) : { error }),
});

/** Changes a notification of this kind on a stream. */
export const onNotification = (
  kind: string,
  change: (message: Json, proxied: ProxiedRequest) => Json | Json[] | null,
): Fault => ({
  notification: (message, proxied) =>
    message.method === `notifications/events/${kind}` ? change(message, proxied) : message,
});

/**
 * Changes webhook requests of this type; undefined = occurrences. A returned answer replaces the
 * request.
 */
export const onCallback = (
  type: string | undefined,
  change: (outgoing: CallbackRequest) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): Fault => ({
  callback: (outgoing) => (outgoing.body?.type === type ? change(outgoing) : undefined),
});

/** The object without these members. */
export const without = (value: Json, ...members: readonly string[]): Json =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !members.includes(name)));

/** The answer of an endpoint that consents. */
export const echo = ({ body: { challenge } }: CallbackRequest): CallbackAnswer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ challenge }),
});
/** The answer of an endpoint that accepts a request. */
export const accepted: CallbackAnswer = { status: 204, headers: {}, body: '' };

/** A result with these members. */
export const emptySuccess = (result: object): Json => ({
  result: { resultType: 'complete', ...result },
});
export const nothingPolled = emptySuccess({
  events: [],
  cursor: 'c',
  truncated: false,
  hasMore: false,
  nextPollMs: 1000,
});
export const subscribed = emptySuccess({
  id: 'evt_x',
  cursor: 'c',
  truncated: false,
  refreshBefore: '2099-01-01T00:00:00.000Z',
});
