/** Servers that end subscriptions wrongly. */
import type { BrokenServer, CallbackAnswer, Json } from '../proxy.ts';
import {
  onResult,
  emptySuccess,
  isDelivery,
  delayed,
  onError,
  without,
} from '../fault-builders.ts';

const ended = ({ data }: Json): boolean =>
  data?.kind === 'subscription' && data.reason !== undefined;
const last = (message: Json): boolean =>
  isDelivery(message) && message.params.terminated !== undefined;
/** Changes how an ended subscription is reported. */
const tombstone = (change: (data: Json) => Json): BrokenServer['fault'] =>
  onError((error) => (ended(error) ? { ...error, data: change(error.data) } : error));
/** Keeps the permission of the n-th subscription after it was withdrawn. */
const keepingPermission = (n: number): BrokenServer['fault'] => ({
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

/** Answers every notice of a subscription but the first in the place of its callback. */
function onlyFirst({ subscriptionId, terminated }: Json, memory: Json): CallbackAnswer | undefined {
  if (terminated === undefined) return undefined;
  const notices = `notices of ${subscriptionId}`;
  memory[notices] = (memory[notices] ?? 0) + 1;
  return memory[notices] === 1 ? undefined : { status: 503, headers: {}, body: '' };
}

export const ending: readonly BrokenServer[] = [
  {
    check: 'end-tombstone',
    wrong: 'forgets an ended subscription at once',
    fault: tombstone(({ kind }) => ({ kind })),
  },
  {
    check: 'end-tombstone',
    wrong: 'omits the final state of the log',
    fault: tombstone((data) => without(data, 'final')),
  },
  {
    check: 'end-tombstone',
    wrong: 'reports everything in an ended log as acknowledged',
    fault: tombstone((data) => ({ ...data, final: { ...data.final, acked: data.final.head } })),
  },
  {
    check: 'end-tombstone',
    wrong: 'reports success for a repeated unsubscribe',
    fault: {
      error: (error, { method }) =>
        method === 'triggers/unsubscribe' && ended(error) ? emptySuccess({}) : { error },
    },
  },
  {
    check: 'stream-end',
    wrong: 'ends streams without a termination notice',
    fault: { notification: (message) => (last(message) ? null : message) },
  },
  {
    check: 'stream-end',
    wrong: 'leaves streams open',
    fault: {
      result: (result, { method }) => (method === 'triggers/stream' ? delayed(result) : result),
    },
  },
  {
    check: 'stream-end',
    wrong: 'reports another reason on streams',
    fault: {
      notification: (message) =>
        last(message)
          ? { ...message, params: { ...message.params, terminated: { reason: 'failed' } } }
          : message,
    },
  },
  {
    check: 'end-pull',
    wrong: 'lets a waiting pull time out',
    fault: onResult(['pull'], (result) =>
      result.terminated === undefined ? result : delayed(result),
    ),
  },
  {
    check: 'end-pull',
    wrong: 'answers a waiting pull without terminated',
    fault: onResult(['pull'], (result) => without(result, 'terminated')),
  },
  {
    check: 'end-callback',
    wrong: 'sends callbacks no notice of a changed schema',
    fault: {
      callback: ({ body: { params } }) =>
        params.terminated?.reason !== 'schema_changed'
          ? undefined
          : {
              status: 200,
              headers: {},
              body: JSON.stringify({ ackSequence: params.afterSequence }),
            },
    },
  },
  {
    check: 'end-callback',
    wrong: 'sends the notice only once',
    fault: {
      callback: ({ body: { params }, memory }) => onlyFirst(params, memory),
    },
  },
  {
    check: 'end-callback',
    wrong: 'repeats the notice after a 2xx answer',
    fault: {
      callback: async (outgoing) => {
        if (outgoing.body.params.terminated === undefined) return undefined;
        const answer = await outgoing.send();
        if (answer.status < 300) await outgoing.send();
        return answer;
      },
    },
  },
  {
    check: 'end-callback',
    wrong: 'sends the notice of a subscription without expiry only once',
    fault: {
      ...onResult(['subscribe'], (result, { params, memory }) => {
        memory[`endless ${result.subscriptionId}`] = params.noExpiry === true;
        return result;
      }),
      callback: ({ body: { params }, memory }) =>
        memory[`endless ${params.subscriptionId}`] === true ? onlyFirst(params, memory) : undefined,
    },
  },
  {
    check: 'end-last',
    wrong: 'sends a delivery on a stream after the termination notice',
    fault: {
      notification: (message) =>
        last(message)
          ? [message, { ...message, params: without(message.params, 'terminated') }]
          : message,
    },
  },
  {
    check: 'end-last',
    wrong: 'sends a delivery to the callback after the termination notice',
    fault: {
      callback: async (outgoing) => {
        if (outgoing.body.params.terminated === undefined) return undefined;
        const answer = await outgoing.send();
        await outgoing.send({
          body: { ...outgoing.body, params: without(outgoing.body.params, 'terminated') },
          headers: { 'webhook-id': `${outgoing.headers['webhook-id']}.again` },
        });
        return answer;
      },
    },
  },
  {
    check: 'end-key-free',
    wrong: 'reuses the epoch of an ended log',
    fault: onResult(['subscribe'], (result, { memory }) => ({
      ...result,
      epoch: (memory[result.key] ??= result.epoch),
    })),
  },
  {
    check: 'end-key-free',
    wrong: 'reuses the id of an ended subscription',
    fault: onResult(['subscribe'], (result, { memory }) => ({
      ...result,
      subscriptionId: (memory[result.key] ??= result.subscriptionId),
    })),
  },
  { check: 'end-revoked', wrong: 'keeps serving a revoked principal', fault: keepingPermission(1) },
  {
    check: 'end-revoked',
    wrong: 'reports a revoked subscription as failed',
    fault: tombstone((data) => (data.reason === 'revoked' ? { ...data, reason: 'failed' } : data)),
  },
  { check: 'end-recheck', wrong: 'does not check permissions again', fault: keepingPermission(2) },
];
