/** Servers of SEP-3415 whose catalog, polls or streams are wrong. */
import type { BrokenServer, Json } from '../proxy.ts';
import {
  answered,
  asked,
  called,
  done,
  noted,
  nothingPolled,
  refused,
  subscribed,
  taken,
  without,
} from './spoils.ts';

const EVENTS = 'io.modelcontextprotocol/events';
const TAG = 'io.modelcontextprotocol/subscriptionId';
const INVALID = { code: -32602, message: 'Invalid params.' };
const UNKNOWN = 'no.such.type';
/** A result of which one member is another. */
const has =
  (members: object) =>
  (result: Json): Json => ({ ...result, ...members });
const settings = (change: (settings: Json) => Json): BrokenServer['spoil'] =>
  answered('server/discover', (result) => {
    result.capabilities.extensions[EVENTS] = change(result.capabilities.extensions[EVENTS]);
    return result;
  });
const descriptors = (change: (descriptor: Json) => Json): BrokenServer['spoil'] =>
  answered('events/list', (result) => ({ ...result, events: result.events.map(change) }));
const occurrences = (change: (events: Json[]) => Json[]): BrokenServer['spoil'] =>
  answered('events/poll', (result) => ({ ...result, events: change(result.events) }));
const topicOf = (params: Json): string => JSON.stringify([params.name, params.arguments]);
/** Begins where the first poll of a topic began, when a later one has no cursor. */
const rewinds = (when: (params: Json) => boolean): BrokenServer['spoil'] => ({
  ...asked('events/poll', (params, { memory }) => {
    if (params.cursor == null && when(params)) params.cursor = memory[topicOf(params)] ?? null;
  }),
  ...answered('events/poll', (result, { params, memory }) => {
    memory[topicOf(params)] ??= result.cursor;
    return result;
  }),
});

const catalog: readonly BrokenServer[] = [
  {
    check: 'capability-events-object',
    wrong: 'says listChanged in words',
    spoil: settings((had) => ({ ...had, listChanged: 'yes' })),
  },
  {
    check: 'capability-events-object',
    wrong: 'puts its modes into the settings',
    spoil: settings((had) => ({ ...had, modes: ['poll'] })),
  },
  {
    check: 'result-type',
    wrong: 'has no resultType in a list',
    spoil: answered('events/list', (result) => without(result, 'resultType')),
  },
  {
    check: 'result-type',
    wrong: 'has another resultType in a poll',
    spoil: answered('events/poll', has({ resultType: 'partial' })),
  },
  {
    check: 'result-type',
    wrong: 'has no resultType in a subscription',
    spoil: answered('events/subscribe', (result) => without(result, 'resultType')),
  },
  {
    check: 'list-implemented',
    wrong: 'has no payloadSchema',
    spoil: descriptors((one) => without(one, 'payloadSchema')),
  },
  {
    check: 'list-implemented',
    wrong: 'calls the list something else',
    spoil: answered('events/list', ({ events, ...rest }) => ({ ...rest, types: events })),
  },
  {
    check: 'descriptor-delivery-subset',
    wrong: 'offers a type in no mode',
    spoil: descriptors((one) => ({ ...one, delivery: [] })),
  },
  {
    check: 'descriptor-delivery-subset',
    wrong: 'offers a mode that there is not',
    spoil: descriptors((one) => ({ ...one, delivery: [...one.delivery, 'fax'] })),
  },
  {
    check: 'list-pagination',
    wrong: 'always has another page',
    spoil: {
      ...asked('events/list', (params) => {
        delete params.cursor;
      }),
      ...answered('events/list', has({ nextCursor: 'more' })),
    },
  },
  {
    check: 'list-pagination',
    wrong: 'has the first page twice',
    spoil: {
      ...asked('events/list', (params, { memory }) => {
        memory['again'] = params.cursor !== undefined;
        delete params.cursor;
      }),
      ...answered('events/list', (result, { memory }) =>
        memory['again'] === true ? result : { ...result, nextCursor: 'again' },
      ),
    },
  },
  {
    check: 'listen-acknowledged',
    wrong: 'does not say that it will tell of changes',
    spoil: {
      notification: (message) =>
        message.method === 'notifications/subscriptions/acknowledged'
          ? { ...message, params: { ...message.params, notifications: {} } }
          : message,
    },
  },
  {
    check: 'list-changed-notification',
    wrong: 'tells of no change',
    spoil: noted('list_changed', () => null),
  },
  {
    check: 'poll-errors-are-jsonrpc',
    wrong: 'answers a poll of an unknown name with nothing',
    spoil: refused('events/poll', (error, { params }) =>
      params.name === UNKNOWN ? nothingPolled : { error },
    ),
  },
  {
    check: 'poll-errors-are-jsonrpc',
    wrong: 'does not look at arguments',
    spoil: refused('events/poll', (error) =>
      error.code === INVALID.code ? nothingPolled : { error },
    ),
  },
  {
    check: 'stream-error-before-open',
    wrong: 'opens the stream before it looks',
    spoil: {
      request: ({ method, params }) =>
        method === 'events/stream' && params.name === UNKNOWN ? done({}) : undefined,
    },
  },
  {
    check: 'stream-error-before-open',
    wrong: 'says active before it refuses',
    spoil: {
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
    wrong: 'mixes both sets',
    spoil: refused('events/poll', (error) => ({
      error: { ...error, code: error.code === -32023 ? -32011 : error.code },
    })),
  },
  {
    check: 'error-codes',
    wrong: 'has a code of its own',
    spoil: refused('events/subscribe', (error) => ({ error: { ...error, code: -32050 } })),
  },
  {
    check: 'error-unsupported',
    wrong: 'does not say of what',
    spoil: refused('events/subscribe', (error) => ({ error: without(error, 'data') })),
  },
  {
    check: 'subscribe-webhook-only',
    wrong: 'takes other modes for webhooks',
    spoil: asked('events/subscribe', (params) =>
      params.delivery.mode === 'push' ? subscribed : undefined,
    ),
  },
];

const poll: readonly BrokenServer[] = [
  {
    check: 'poll-bootstraps-subscription',
    wrong: 'has no cursor at the beginning',
    spoil: answered('events/poll', (result, { params }) =>
      params.cursor === null ? { ...result, cursor: null } : result,
    ),
  },
  {
    check: 'poll-bootstraps-subscription',
    wrong: 'has events at the beginning',
    spoil: answered('events/poll', (result, { params }) =>
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
    wrong: 'does not say when to poll again',
    spoil: answered('events/poll', (result) => without(result, 'nextPollMs')),
  },
  {
    check: 'poll-result-shape',
    wrong: 'says hasMore only when there is more',
    spoil: answered('events/poll', (result) =>
      result.hasMore ? result : without(result, 'hasMore'),
    ),
  },
  {
    check: 'cursor-null-starts-from-now',
    wrong: 'begins a poll at the first event it has',
    spoil: rewinds(() => true),
  },
  {
    check: 'cursor-null-starts-from-now',
    wrong: 'begins a stream at the first event it has',
    spoil: {
      ...asked('events/stream', (params, { memory }) => {
        if (params.cursor == null) params.cursor = memory[topicOf(params)] ?? null;
      }),
      ...noted('active', (message, { params, memory }) => {
        memory[topicOf(params)] ??= message.params.cursor;
        return message;
      }),
    },
  },
  {
    check: 'cursor-null-starts-from-now',
    wrong: 'sends a webhook what was before',
    spoil: called(undefined, async (calling) => {
      if (calling.memory['sent'] !== true)
        await calling.send({
          body: { ...calling.body, eventId: 'before', data: { ...calling.body.data, n: 1 } },
        });
      calling.memory['sent'] = true;
    }),
  },
  {
    check: 'cursor-absent-equals-null',
    wrong: 'wants the cursor to be there',
    spoil: asked('events/poll', (params) =>
      params.cursor === undefined ? { error: INVALID } : undefined,
    ),
  },
  {
    check: 'cursor-consistency',
    wrong: 'has a cursor now and then',
    spoil: answered('events/poll', (result, { params }) =>
      params.maxEvents === 1 ? { ...result, cursor: null } : result,
    ),
  },
  {
    check: 'max-age-ms-ignored-when-cursor-null',
    wrong: 'reads back in time for who has no cursor',
    spoil: rewinds(({ maxAgeMs }) => maxAgeMs !== undefined),
  },
  {
    check: 'occurrence-shape',
    wrong: 'has seconds as timestamp in a poll',
    spoil: occurrences((events) =>
      events.map((one) => ({ ...one, timestamp: Date.parse(one.timestamp) / 1000 })),
    ),
  },
  {
    check: 'occurrence-shape',
    wrong: 'has data as text on a stream',
    spoil: noted('event', (message) => ({
      ...message,
      params: { ...message.params, data: JSON.stringify(message.params.data) },
    })),
  },
  {
    check: 'occurrence-shape',
    wrong: 'has no name in a webhook',
    spoil: called(undefined, (calling) => {
      calling.body = without(calling.body, 'name');
    }),
  },
  {
    check: 'occurrence-event-id-from-upstream',
    wrong: 'makes eventIds of its own in a poll',
    spoil: occurrences((events) => events.map((one, at) => ({ ...one, eventId: `own-${at}` }))),
  },
  {
    check: 'occurrence-event-id-from-upstream',
    wrong: 'puts the mode before the eventId',
    spoil: noted('event', (message) => ({
      ...message,
      params: { ...message.params, eventId: `push-${message.params.eventId}` },
    })),
  },
  {
    check: 'occurrence-event-id-from-upstream',
    wrong: 'has the subscription in the eventId',
    spoil: called(undefined, (calling) => {
      calling.body.eventId += calling.headers['x-mcp-subscription-id'];
    }),
  },
  {
    check: 'poll-max-events-cap',
    wrong: 'ignores maxEvents',
    spoil: asked('events/poll', (params) => {
      delete params.maxEvents;
    }),
  },
  {
    check: 'poll-max-events-cap',
    wrong: 'never says that there is more',
    spoil: answered('events/poll', has({ hasMore: false })),
  },
  {
    check: 'poll-max-events-cap',
    wrong: 'has the cursor of the end',
    spoil: answered('events/poll', async (result, { method, params, ask }) =>
      result.hasMore
        ? { ...result, cursor: (await ask(method, { ...params, maxEvents: 100 })).result.cursor }
        : result,
    ),
  },
  {
    check: 'poll-stateless-request',
    wrong: 'remembers where the client stood',
    spoil: {
      ...asked('events/poll', (params, { memory }) => {
        if (params.cursor != null) params.cursor = memory[topicOf(params)] ?? params.cursor;
      }),
      ...answered('events/poll', (result, { params, memory }) => {
        if (result.events.length > 0) memory[topicOf(params)] = result.cursor;
        return result;
      }),
    },
  },
  {
    check: 'poll-order',
    wrong: 'has the newest first',
    spoil: occurrences((events) => events.toReversed()),
  },
  {
    check: 'replay-ceiling-sets-truncated',
    wrong: 'does not say what is missing',
    spoil: answered('events/poll', has({ truncated: false })),
  },
  {
    check: 'truncated-returns-fresh-cursor',
    wrong: 'refuses a cursor that is too old',
    spoil: asked('events/poll', async (params, { method, ask }) =>
      (await ask(method, params)).result?.truncated ? { error: INVALID } : undefined,
    ),
  },
  {
    check: 'truncated-returns-fresh-cursor',
    wrong: 'goes on saying it',
    spoil: answered('events/poll', (result, { params, memory }) => {
      memory[topicOf(params)] ||= result.truncated;
      return { ...result, truncated: memory[topicOf(params)] };
    }),
  },
  {
    check: 'max-age-ms-sets-truncated',
    wrong: 'ignores maxAgeMs',
    spoil: asked('events/poll', (params) => {
      delete params.maxAgeMs;
    }),
  },
  {
    check: 'max-age-ms-sets-truncated',
    wrong: 'skips silently',
    spoil: answered('events/poll', has({ truncated: false })),
  },
];

const push: readonly BrokenServer[] = [
  {
    check: 'stream-active-confirmation',
    wrong: 'begins without active',
    spoil: noted('active', (message) => ({ ...message, method: 'notifications/events/heartbeat' })),
  },
  {
    check: 'stream-active-confirmation',
    wrong: 'has active without truncated',
    spoil: noted('active', (message) => ({
      ...message,
      params: without(message.params, 'truncated'),
    })),
  },
  {
    check: 'stream-subscription-id-meta',
    wrong: 'does not name the request',
    spoil: noted('event', (message) => ({ ...message, params: without(message.params, '_meta') })),
  },
  {
    check: 'stream-event-notification',
    wrong: 'calls an event something else',
    spoil: noted('event', (message) => ({ ...message, method: 'notifications/events/occurrence' })),
  },
  {
    check: 'stream-event-notification',
    wrong: 'has events without a cursor',
    spoil: noted('event', (message) => ({ ...message, params: without(message.params, 'cursor') })),
  },
  {
    check: 'stream-resumes-from-cursor',
    wrong: 'begins from now whatever the cursor',
    spoil: asked('events/stream', (params) => {
      delete params.cursor;
    }),
  },
  {
    check: 'stream-resumes-from-cursor',
    wrong: 'sends the event of the cursor again',
    spoil: noted('event', (message, { params, memory }) => {
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
    spoil: noted('event', (message, { memory }) => {
      const stream = message.params._meta[TAG];
      const held = memory[stream];
      memory[stream] = held === undefined ? message : null;
      return held === undefined ? null : held === null ? message : [message, held];
    }),
  },
  {
    check: 'stream-carries-only-event-notifications',
    wrong: 'sends log messages on it',
    spoil: noted('event', (message) => [
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
    wrong: 'reports progress on it',
    spoil: noted('active', (message) => [
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
    wrong: 'leaves a gap out',
    spoil: noted('active', (message) => (message.params.truncated ? null : message)),
  },
  {
    check: 'stream-gap-resends-active',
    wrong: 'tells of a gap without saying that it is one',
    spoil: noted('active', (message) => ({
      ...message,
      params: { ...message.params, truncated: false },
    })),
  },
  {
    check: 'stream-exempt-from-concurrency-cap',
    wrong: 'allows eight streams',
    spoil: asked('events/stream', (_params, { memory }) => {
      memory['open'] = (memory['open'] ?? 0) + 1;
      return memory['open'] > 8
        ? { error: { code: -32025, message: 'Too many.', data: { limit: 'streams', max: 8 } } }
        : undefined;
    }),
  },
  {
    check: 'stream-heartbeat-required',
    wrong: 'has no heartbeats',
    spoil: noted('heartbeat', () => null),
  },
  {
    check: 'stream-heartbeat-interval',
    wrong: 'has half as many',
    spoil: noted('heartbeat', (message, { memory }) => {
      memory['n'] = (memory['n'] ?? 0) + 1;
      return memory['n'] % 4 === 1 ? message : null;
    }),
  },
  {
    check: 'stream-heartbeat-carries-cursor',
    wrong: 'has heartbeats without a cursor',
    spoil: noted('heartbeat', (message) => ({
      ...message,
      params: without(message.params, 'cursor'),
    })),
  },
];

const ending: readonly BrokenServer[] = [
  {
    check: 'removal-terminates-subscriptions',
    wrong: 'does not tell the stream',
    spoil: noted('terminated', () => null),
  },
  {
    check: 'removal-terminates-subscriptions',
    wrong: 'does not tell the webhook',
    spoil: called('terminated', () => taken),
  },
  {
    check: 'envelope-terminated',
    wrong: 'does not say why',
    spoil: called('terminated', (calling) => {
      calling.body = without(calling.body, 'error');
    }),
  },
  {
    check: 'removal-error-not-found',
    wrong: 'calls it Forbidden',
    spoil: noted('terminated', (message) => ({
      ...message,
      params: { ...message.params, error: { ...message.params.error, code: -32024 } },
    })),
  },
  {
    check: 'removal-error-not-found',
    wrong: 'says that the subscription is gone',
    spoil: called('terminated', (calling) => {
      calling.body.error.data = { kind: 'subscription' };
    }),
  },
  {
    check: 'removal-poll-not-found',
    wrong: 'polls a removed type as if nothing happened',
    spoil: refused('events/poll', () => nothingPolled),
  },
  {
    check: 'stream-terminated-ends-subscription',
    wrong: 'goes on after it',
    spoil: noted('terminated', (message) => [
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
    wrong: 'ends without naming the request',
    spoil: answered('events/stream', (result) => without(result, '_meta')),
  },
  {
    check: 'stream-final-result-shape',
    wrong: 'has no resultType at the end',
    spoil: answered('events/stream', (result) => without(result, 'resultType')),
  },
  {
    check: 'removal-error-schema-changed',
    wrong: 'does not say why',
    spoil: noted('terminated', (message) => ({
      ...message,
      params: {
        ...message.params,
        error: { ...message.params.error, data: { feature: 'payloadSchema' } },
      },
    })),
  },
  {
    check: 'removal-error-schema-changed',
    wrong: 'calls it NotFound',
    spoil: called('terminated', (calling) => {
      calling.body.error.code = -32023;
    }),
  },
  {
    check: 'authz-subscribe-time',
    wrong: 'lets anybody poll',
    spoil: refused('events/poll', () => nothingPolled),
  },
  {
    check: 'authz-subscribe-time',
    wrong: 'lets anybody subscribe',
    spoil: refused('events/subscribe', () => subscribed),
  },
  {
    check: 'subscribe-auth-required',
    wrong: 'lets nobody subscribe',
    spoil: {
      request: ({ method, headers }) =>
        method === 'events/subscribe' && headers['authorization'] === undefined
          ? subscribed
          : undefined,
    },
  },
  {
    check: 'authz-delivery-time-reverify',
    wrong: 'never looks again',
    spoil: called('terminated', () => taken),
  },
];

export const reading: readonly BrokenServer[] = [...catalog, ...poll, ...push, ...ending];
