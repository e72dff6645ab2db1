/** Servers that end subscriptions badly. */
import type { BrokenServer, Json } from '../proxy.ts';
import { answered, done, isDelivery, late, refused, without } from '../spoils.ts';

const ended = ({ data }: Json): boolean =>
  data?.kind === 'subscription' && data.reason !== undefined;
const last = (message: Json): boolean =>
  isDelivery(message) && message.params.terminated !== undefined;
/** Changes how it is told that a subscription ended. */
const tombstone = (change: (data: Json) => Json): BrokenServer['spoil'] =>
  refused((error) => (ended(error) ? { ...error, data: change(error.data) } : error));
/** Goes on as before for somebody whose permission is gone: the n-th subscription of a scenario. */
const unaware = (n: number): BrokenServer['spoil'] => ({
  result: (result, { method, memory }) => {
    if (method === 'triggers/subscribe' && (memory['made'] = (memory['made'] ?? 0) + 1) === n)
      memory['spared'] = result.subscriptionId;
    return result;
  },
  error: (error, { method, params, memory }) =>
    params.subscriptionId === memory['spared'] &&
    error.data?.reason === 'revoked' &&
    method === 'triggers/get'
      ? { result: { head: 2 } }
      : error.data?.reason === 'revoked' && method === 'triggers/pull'
        ? { result: { events: [], hasMore: false } }
        : { error },
});

export const ending: readonly BrokenServer[] = [
  { check: 'end-tombstone', wrong: 'forgets at once', spoil: tombstone(({ kind }) => ({ kind })) },
  {
    check: 'end-tombstone',
    wrong: 'does not say where the log ended',
    spoil: tombstone((data) => without(data, 'final')),
  },
  {
    check: 'end-tombstone',
    wrong: 'takes all of an ended log for acknowledged',
    spoil: tombstone((data) => ({ ...data, final: { ...data.final, acked: data.final.head } })),
  },
  {
    check: 'end-tombstone',
    wrong: 'unsubscribes again and again',
    spoil: {
      error: (error, { method }) =>
        method === 'triggers/unsubscribe' && ended(error) ? done({}) : { error },
    },
  },
  {
    check: 'end-stream',
    wrong: 'ends streams without a word',
    spoil: { notification: (message) => (last(message) ? null : message) },
  },
  {
    check: 'end-stream',
    wrong: 'leaves streams open',
    spoil: {
      result: (result, { method }) => (method === 'triggers/stream' ? late(result) : result),
    },
  },
  {
    check: 'end-stream',
    wrong: 'gives another reason on streams',
    spoil: {
      notification: (message) =>
        last(message)
          ? { ...message, params: { ...message.params, terminated: { reason: 'failed' } } }
          : message,
    },
  },
  {
    check: 'end-pull',
    wrong: 'lets a pull wait its time out',
    spoil: answered(['pull'], (result) =>
      result.terminated === undefined ? result : late(result),
    ),
  },
  {
    check: 'end-pull',
    wrong: 'answers a waiting pull as if nothing had come',
    spoil: answered(['pull'], (result) => without(result, 'terminated')),
  },
  {
    check: 'end-callback',
    wrong: 'does not tell callbacks of a changed schema',
    spoil: {
      callback: ({ body: { params } }) =>
        params.terminated?.reason !== 'schema_changed'
          ? undefined
          : { status: 200, headers: {}, body: JSON.stringify({ ack: params.after }) },
    },
  },
  {
    check: 'end-last',
    wrong: 'goes on after the last word on a stream',
    spoil: {
      notification: (message) =>
        last(message)
          ? [message, { ...message, params: without(message.params, 'terminated') }]
          : message,
    },
  },
  {
    check: 'end-last',
    wrong: 'calls once more after the last word',
    spoil: {
      callback: async (calling) => {
        if (calling.body.params.terminated === undefined) return undefined;
        const answer = await calling.send();
        await calling.send({
          body: { ...calling.body, params: without(calling.body.params, 'terminated') },
          headers: { 'webhook-id': `${calling.headers['webhook-id']}.again` },
        });
        return answer;
      },
    },
  },
  {
    check: 'end-key-free',
    wrong: 'brings the log of a key back to life',
    spoil: answered(['subscribe'], (result, { memory }) => ({
      ...result,
      epoch: (memory[result.key] ??= result.epoch),
    })),
  },
  {
    check: 'end-key-free',
    wrong: 'gives a key its id again',
    spoil: answered(['subscribe'], (result, { memory }) => ({
      ...result,
      subscriptionId: (memory[result.key] ??= result.subscriptionId),
    })),
  },
  { check: 'end-revoked', wrong: 'goes on for who lost the permission', spoil: unaware(1) },
  {
    check: 'end-revoked',
    wrong: 'does not say that it was revoked',
    spoil: tombstone((data) => (data.reason === 'revoked' ? { ...data, reason: 'failed' } : data)),
  },
  { check: 'end-recheck', wrong: 'never looks at permissions again', spoil: unaware(2) },
];
