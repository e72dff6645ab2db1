/** SEP-3415 servers whose catalog, polls or streams are broken. */
import type { BrokenServer, Json } from '../proxy.ts';
import {
  onResult,
  onRequest,
  onCallback,
  emptySuccess,
  onNotification,
  nothingPolled,
  onError,
  subscribed,
  accepted,
  without,
} from './fault-builders.ts';

const EVENTS = 'io.modelcontextprotocol/events';
const TAG = 'io.modelcontextprotocol/subscriptionId';
const INVALID = { code: -32602, message: 'Invalid params.' };
const UNKNOWN = 'no.such.type';
/** Replaces members of a result. */
const has =
  (members: object) =>
  (result: Json): Json => ({ ...result, ...members });
const settings = (change: (settings: Json) => Json): BrokenServer['fault'] =>
  onResult('server/discover', (result) => {
    result.capabilities.extensions[EVENTS] = change(result.capabilities.extensions[EVENTS]);
    return result;
  });
const descriptors = (change: (descriptor: Json) => Json): BrokenServer['fault'] =>
  onResult('events/list', (result) => ({ ...result, events: result.events.map(change) }));
const occurrences = (change: (events: Json[]) => Json[]): BrokenServer['fault'] =>
  onResult('events/poll', (result) => ({ ...result, events: change(result.events) }));
const topicOf = (params: Json): string => JSON.stringify([params.name, params.arguments]);
/** Makes later polls without a cursor start where the first poll of their topic started. */
const rewinds = (when: (params: Json) => boolean): BrokenServer['fault'] => ({
  ...onRequest('events/poll', (params, { memory }) => {
    if (params.cursor == null && when(params)) params.cursor = memory[topicOf(params)] ?? null;
  }),
  ...onResult('events/poll', (result, { params, memory }) => {
    memory[topicOf(params)] ??= result.cursor;
    return result;
  }),
});

const catalog: readonly BrokenServer[] = [
  {
    check: 'capability-events-object',
    wrong: 'declares listChanged as a string',
    fault: settings((had) => ({ ...had, listChanged: 'yes' })),
  },
  {
    check: 'capability-events-object',
    wrong: 'adds its delivery modes to the settings',
    fault: settings((had) => ({ ...had, modes: ['poll'] })),
  },
  {
    check: 'result-type',
    wrong: 'omits resultType in a list',
    fault: onResult('events/list', (result) => without(result, 'resultType')),
  },
  {
    check: 'result-type',
    wrong: 'sends another resultType in a poll',
    fault: onResult('events/poll', has({ resultType: 'partial' })),
  },
  {
    check: 'result-type',
    wrong: 'omits resultType in a subscription',
    fault: onResult('events/subscribe', (result) => without(result, 'resultType')),
  },
  {
    check: 'list-implemented',
    wrong: 'omits payloadSchema',
    fault: descriptors((one) => without(one, 'payloadSchema')),
  },
  {
    check: 'list-implemented',
    wrong: 'renames the list member',
    fault: onResult('events/list', ({ events, ...rest }) => ({ ...rest, types: events })),
  },
  {
    check: 'descriptor-delivery-subset',
    wrong: 'offers a type in no mode',
    fault: descriptors((one) => ({ ...one, delivery: [] })),
  },
  {
    check: 'descriptor-delivery-subset',
    wrong: 'offers a mode that does not exist',
    fault: descriptors((one) => ({ ...one, delivery: [...one.delivery, 'fax'] })),
  },
  {
    check: 'list-pagination',
    wrong: 'always sends a nextCursor',
    fault: {
      ...onRequest('events/list', (params) => {
        delete params.cursor;
      }),
      ...onResult('events/list', has({ nextCursor: 'more' })),
    },
  },
  {
    check: 'list-pagination',
    wrong: 'sends the first page twice',
    fault: {
      ...onRequest('events/list', (params, { memory }) => {
        memory['again'] = params.cursor !== undefined;
        delete params.cursor;
      }),
      ...onResult('events/list', (result, { memory }) =>
        memory['again'] === true ? result : { ...result, nextCursor: 'again' },
      ),
    },
  },
  {
    check: 'listen-acknowledged',
    wrong: 'does not acknowledge listChanged on subscriptions/listen',
    fault: {
      notification: (message) =>
        message.method === 'notifications/subscriptions/acknowledged'
          ? { ...message, params: { ...message.params, notifications: {} } }
          : message,
    },
  },
  {
    check: 'list-changed-notification',
    wrong: 'sends no list_changed',
    fault: onNotification('list_changed', () => null),
  },
  {
    check: 'poll-errors-are-jsonrpc',
    wrong: 'answers a poll of an unknown type with an empty result',
    fault: onError('events/poll', (error, { params }) =>
      params.name === UNKNOWN ? nothingPolled : { error },
    ),
  },
  {
    check: 'poll-errors-are-jsonrpc',
    wrong: 'does not validate arguments',
    fault: onError('events/poll', (error) =>
      error.code === INVALID.code ? nothingPolled : { error },
    ),
  },
  {
    check: 'stream-error-before-open',
    wrong: 'answers a stream of an unknown type with a result',
    fault: {
      request: ({ method, params }) =>
        method === 'events/stream' && params.name === UNKNOWN ? emptySuccess({}) : undefined,
    },
  },
  {
    check: 'stream-error-before-open',
    wrong: 'sends active before it rejects the stream',
    fault: {
      alongside: ({ method, params }) =>
        method === 'events/stream' && params.name === UNKNOWN
          ? [
              {
                jsonrpc: '2.0',
                method: 'notifications/events/active',
                params: { cursor: 'c', truncated: false },
              },
            ]
          : [],
    },
  },
  {
    check: 'error-codes',
    wrong: 'mixes both sets of error codes',
    fault: onError('events/poll', (error) => ({
      error: { ...error, code: error.code === -32023 ? -32011 : error.code },
    })),
  },
  {
    check: 'error-codes',
    wrong: 'uses an error code of its own',
    fault: onError('events/subscribe', (error) => ({ error: { ...error, code: -32050 } })),
  },
  {
    check: 'error-unsupported',
    wrong: 'does not name the unsupported feature',
    fault: onError('events/subscribe', (error) => ({ error: without(error, 'data') })),
  },
  {
    check: 'subscribe-webhook-only',
    wrong: 'accepts events/subscribe for other modes than webhook',
    fault: onRequest('events/subscribe', (params) =>
      params.delivery.mode === 'push' ? subscribed : undefined,
    ),
  },
];

const poll: readonly BrokenServer[] = [
  {
    check: 'poll-bootstraps-subscription',
    wrong: 'sends a null cursor on the first poll',
    fault: onResult('events/poll', (result, { params }) =>
      params.cursor === null ? { ...result, cursor: null } : result,
    ),
  },
  {
    check: 'poll-bootstraps-subscription',
    wrong: 'sends events on the first poll',
    fault: onResult('events/poll', (result, { params }) =>
      params.cursor === null
        ? {
            ...result,
            events: [
              { eventId: 'e', name: params.name, timestamp: '2026-01-01T00:00:00Z', data: {} },
            ],
          }
        : result,
    ),
  },
  {
    check: 'poll-result-shape',
    wrong: 'omits nextPollMs',
    fault: onResult('events/poll', (result) => without(result, 'nextPollMs')),
  },
  {
    check: 'poll-result-shape',
    wrong: 'omits hasMore when it is false',
    fault: onResult('events/poll', (result) =>
      result.hasMore ? result : without(result, 'hasMore'),
    ),
  },
  {
    check: 'cursor-null-starts-from-now',
    wrong: 'starts a poll at its first event',
    fault: rewinds(() => true),
  },
  {
    check: 'cursor-null-starts-from-now',
    wrong: 'starts a stream at its first event',
    fault: {
      ...onRequest('events/stream', (params, { memory }) => {
        if (params.cursor == null) params.cursor = memory[topicOf(params)] ?? null;
      }),
      ...onNotification('active', (message, { params, memory }) => {
        memory[topicOf(params)] ??= message.params.cursor;
        return message;
      }),
    },
  },
  {
    check: 'cursor-null-starts-from-now',
    wrong: 'sends a webhook an event from before the subscription',
    fault: onCallback(undefined, async (outgoing) => {
      if (outgoing.memory['sent'] !== true)
        await outgoing.send({
          body: { ...outgoing.body, eventId: 'before', data: { ...outgoing.body.data, n: 1 } },
        });
      outgoing.memory['sent'] = true;
    }),
  },
  {
    check: 'cursor-absent-equals-null',
    wrong: 'rejects a poll without the cursor member',
    fault: onRequest('events/poll', (params) =>
      params.cursor === undefined ? { error: INVALID } : undefined,
    ),
  },
  {
    check: 'cursor-consistency',
    wrong: 'sends a null cursor in some polls',
    fault: onResult('events/poll', (result, { params }) =>
      params.maxEvents === 1 ? { ...result, cursor: null } : result,
    ),
  },
  {
    check: 'max-age-ms-ignored-when-cursor-null',
    wrong: 'applies maxAgeMs to a poll without a cursor',
    fault: rewinds(({ maxAgeMs }) => maxAgeMs !== undefined),
  },
  {
    check: 'occurrence-shape',
    wrong: 'sends the timestamp of a poll in seconds',
    fault: occurrences((events) =>
      events.map((one) => ({ ...one, timestamp: Date.parse(one.timestamp) / 1000 })),
    ),
  },
  {
    check: 'occurrence-shape',
    wrong: 'sends the data of a stream as text',
    fault: onNotification('event', (message) => ({
      ...message,
      params: { ...message.params, data: JSON.stringify(message.params.data) },
    })),
  },
  {
    check: 'occurrence-shape',
    wrong: 'omits the name in a webhook',
    fault: onCallback(undefined, (outgoing) => {
      outgoing.body = without(outgoing.body, 'name');
    }),
  },
  {
    check: 'occurrence-event-id-from-upstream',
    wrong: 'generates its own eventId values in a poll',
    fault: occurrences((events) => events.map((one, at) => ({ ...one, eventId: `own-${at}` }))),
  },
  {
    check: 'occurrence-event-id-from-upstream',
    wrong: 'prefixes the eventId with the mode',
    fault: onNotification('event', (message) => ({
      ...message,
      params: { ...message.params, eventId: `push-${message.params.eventId}` },
    })),
  },
  {
    check: 'occurrence-event-id-from-upstream',
    wrong: 'appends the subscription id to the eventId',
    fault: onCallback(undefined, (outgoing) => {
      outgoing.body.eventId += outgoing.headers['x-mcp-subscription-id'];
    }),
  },
  {
    check: 'poll-max-events-cap',
    wrong: 'ignores maxEvents',
    fault: onRequest('events/poll', (params) => {
      delete params.maxEvents;
    }),
  },
  {
    check: 'poll-max-events-cap',
    wrong: 'always sends hasMore: false',
    fault: onResult('events/poll', has({ hasMore: false })),
  },
  {
    check: 'poll-max-events-cap',
    wrong: 'sends the cursor of the end although more follows',
    fault: onResult('events/poll', async (result, { method, params, ask }) =>
      result.hasMore
        ? { ...result, cursor: (await ask(method, { ...params, maxEvents: 100 })).result.cursor }
        : result,
    ),
  },
  {
    check: 'poll-stateless-request',
    wrong: 'continues at the last cursor that it sent',
    fault: {
      ...onRequest('events/poll', (params, { memory }) => {
        if (params.cursor != null) params.cursor = memory[topicOf(params)] ?? params.cursor;
      }),
      ...onResult('events/poll', (result, { params, memory }) => {
        if (result.events.length > 0) memory[topicOf(params)] = result.cursor;
        return result;
      }),
    },
  },
  {
    check: 'poll-order',
    wrong: 'sends the newest event first',
    fault: occurrences((events) => events.toReversed()),
  },
  {
    check: 'replay-ceiling-sets-truncated',
    wrong: 'always sends truncated: false',
    fault: onResult('events/poll', has({ truncated: false })),
  },
  {
    check: 'truncated-returns-fresh-cursor',
    wrong: 'rejects a cursor that is too old',
    fault: onRequest('events/poll', async (params, { method, ask }) =>
      (await ask(method, params)).result?.truncated ? { error: INVALID } : undefined,
    ),
  },
  {
    check: 'truncated-returns-fresh-cursor',
    wrong: 'repeats truncated on every later poll',
    fault: onResult('events/poll', (result, { params, memory }) => {
      memory[topicOf(params)] ||= result.truncated;
      return { ...result, truncated: memory[topicOf(params)] };
    }),
  },
  {
    check: 'max-age-ms-sets-truncated',
    wrong: 'ignores maxAgeMs',
    fault: onRequest('events/poll', (params) => {
      delete params.maxAgeMs;
    }),
  },
  {
    check: 'max-age-ms-sets-truncated',
    wrong: 'skips events by maxAgeMs without truncated',
    fault: onResult('events/poll', has({ truncated: false })),
  },
];

const push: readonly BrokenServer[] = [
  {
    check: 'stream-active-confirmation',
    wrong: 'starts a stream without active',
    fault: onNotification('active', (message) => ({
      ...message,
      method: 'notifications/events/heartbeat',
    })),
  },
  {
    check: 'stream-active-confirmation',
    wrong: 'omits truncated in active',
    fault: onNotification('active', (message) => ({
      ...message,
      params: without(message.params, 'truncated'),
    })),
  },
  {
    check: 'stream-subscription-id-meta',
    wrong: 'omits the request id in an event',
    fault: onNotification('event', (message) => ({
      ...message,
      params: without(message.params, '_meta'),
    })),
  },
  {
    check: 'stream-event-notification',
    wrong: 'renames the event notification',
    fault: onNotification('event', (message) => ({
      ...message,
      method: 'notifications/events/occurrence',
    })),
  },
  {
    check: 'stream-event-notification',
    wrong: 'omits the cursor in an event',
    fault: onNotification('event', (message) => ({
      ...message,
      params: without(message.params, 'cursor'),
    })),
  },
  {
    check: 'stream-resumes-from-cursor',
    wrong: 'starts from now although the client sends a cursor',
    fault: onRequest('events/stream', (params) => {
      delete params.cursor;
    }),
  },
  {
    check: 'stream-resumes-from-cursor',
    wrong: 'sends the event at the cursor again',
    fault: onNotification('event', (message, { params, memory }) => {
      const last = params.cursor == null ? undefined : memory['last'];
      memory['last'] = memory['of'];
      memory['of'] = message;
      return last === undefined
        ? message
        : [{ ...last, params: { ...last.params, _meta: message.params._meta } }, message];
    }),
  },
  {
    check: 'stream-order',
    wrong: 'swaps two events',
    fault: onNotification('event', (message, { memory }) => {
      const stream = message.params._meta[TAG];
      const held = memory[stream];
      memory[stream] = held === undefined ? message : null;
      return held === undefined ? null : held === null ? message : [message, held];
    }),
  },
  {
    check: 'stream-carries-only-event-notifications',
    wrong: 'sends log messages on the stream',
    fault: onNotification('event', (message) => [
      message,
      {
        jsonrpc: '2.0',
        method: 'notifications/message',
        params: { level: 'info', data: 'an event' },
      },
    ]),
  },
  {
    check: 'stream-carries-only-event-notifications',
    wrong: 'sends progress notifications on the stream',
    fault: onNotification('active', (message) => [
      message,
      {
        jsonrpc: '2.0',
        method: 'notifications/progress',
        params: { progressToken: 1, progress: 1 },
      },
    ]),
  },
  {
    check: 'stream-gap-resends-active',
    wrong: 'sends no active for a gap',
    fault: onNotification('active', (message) => (message.params.truncated ? null : message)),
  },
  {
    check: 'stream-gap-resends-active',
    wrong: 'reports a gap with truncated: false',
    fault: onNotification('active', (message) => ({
      ...message,
      params: { ...message.params, truncated: false },
    })),
  },
  {
    check: 'stream-exempt-from-concurrency-cap',
    wrong: 'limits a client to eight streams',
    fault: onRequest('events/stream', (_params, { memory }) => {
      memory['open'] = (memory['open'] ?? 0) + 1;
      return memory['open'] > 8
        ? { error: { code: -32025, message: 'Too many.', data: { limit: 'streams', max: 8 } } }
        : undefined;
    }),
  },
  {
    check: 'stream-heartbeat-required',
    wrong: 'sends no heartbeats',
    fault: onNotification('heartbeat', () => null),
  },
  {
    check: 'stream-heartbeat-interval',
    wrong: 'sends a quarter of the heartbeats',
    fault: onNotification('heartbeat', (message, { memory }) => {
      memory['n'] = (memory['n'] ?? 0) + 1;
      return memory['n'] % 4 === 1 ? message : null;
    }),
  },
  {
    check: 'stream-heartbeat-carries-cursor',
    wrong: 'omits the cursor in heartbeats',
    fault: onNotification('heartbeat', (message) => ({
      ...message,
      params: without(message.params, 'cursor'),
    })),
  },
];

const ending: readonly BrokenServer[] = [
  {
    check: 'removal-terminates-subscriptions',
    wrong: 'sends no terminated on the stream',
    fault: onNotification('terminated', () => null),
  },
  {
    check: 'removal-terminates-subscriptions',
    wrong: 'sends no terminated to the webhook',
    fault: onCallback('terminated', () => accepted),
  },
  {
    check: 'envelope-terminated',
    wrong: 'omits the error in terminated',
    fault: onCallback('terminated', (outgoing) => {
      outgoing.body = without(outgoing.body, 'error');
    }),
  },
  {
    check: 'removal-error-not-found',
    wrong: 'reports a removed type as Forbidden',
    fault: onNotification('terminated', (message) => ({
      ...message,
      params: { ...message.params, error: { ...message.params.error, code: -32024 } },
    })),
  },
  {
    check: 'removal-error-not-found',
    wrong: 'reports a missing subscription instead of a removed type',
    fault: onCallback('terminated', (outgoing) => {
      outgoing.body.error.data = { kind: 'subscription' };
    }),
  },
  {
    check: 'removal-poll-not-found',
    wrong: 'answers a poll of a removed type with an empty result',
    fault: onError('events/poll', () => nothingPolled),
  },
  {
    check: 'stream-terminated-ends-subscription',
    wrong: 'sends a heartbeat after terminated',
    fault: onNotification('terminated', (message) => [
      message,
      {
        ...message,
        method: 'notifications/events/heartbeat',
        params: { cursor: 'c', _meta: message.params._meta },
      },
    ]),
  },
  {
    check: 'stream-final-result-shape',
    wrong: 'omits the request id in the final result',
    fault: onResult('events/stream', (result) => without(result, '_meta')),
  },
  {
    check: 'stream-final-result-shape',
    wrong: 'omits resultType in the final result',
    fault: onResult('events/stream', (result) => without(result, 'resultType')),
  },
  {
    check: 'removal-error-schema-changed',
    wrong: 'omits the reason of a schema change',
    fault: onNotification('terminated', (message) => ({
      ...message,
      params: {
        ...message.params,
        error: { ...message.params.error, data: { feature: 'payloadSchema' } },
      },
    })),
  },
  {
    check: 'removal-error-schema-changed',
    wrong: 'reports a schema change as NotFound',
    fault: onCallback('terminated', (outgoing) => {
      outgoing.body.error.code = -32023;
    }),
  },
  {
    check: 'authz-subscribe-time',
    wrong: 'lets a principal without permission poll',
    fault: onError('events/poll', () => nothingPolled),
  },
  {
    check: 'authz-subscribe-time',
    wrong: 'lets a principal without permission subscribe',
    fault: onError('events/subscribe', () => subscribed),
  },
  {
    check: 'subscribe-auth-required',
    wrong: 'lets a request without a token subscribe',
    fault: {
      request: ({ method, headers }) =>
        method === 'events/subscribe' && headers['authorization'] === undefined
          ? subscribed
          : undefined,
    },
  },
  {
    check: 'authz-delivery-time-reverify',
    wrong: 'does not check permissions again',
    fault: onCallback('terminated', () => accepted),
  },
];

export const reading: readonly BrokenServer[] = [...catalog, ...poll, ...push, ...ending];
