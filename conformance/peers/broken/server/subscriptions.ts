/** Servers that make subscriptions wrongly. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';

const isSubscribe = ({ method }: Passing): boolean => method === 'triggers/subscribe';
/** Changes what the server is asked to make. */
const asked = (change: (params: Json, passing: Passing) => Json | void): BrokenServer['spoil'] => ({
  request: (passing) => (isSubscribe(passing) ? change(passing.params, passing) : undefined),
});
/** Changes what it says it made. */
const made = (change: (result: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  result: (result, passing) => (isSubscribe(passing) ? change(result, passing) : result),
});
/** Changes how it refuses. */
const refused = (change: (error: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  error: (error, passing) => ({ error: isSubscribe(passing) ? change(error, passing) : error }),
});
let count = 0;
const another = (): string => `another.${++count}.${Date.now()}`;

export const subscriptions: readonly BrokenServer[] = [
  {
    check: 'subs-default-key',
    wrong: 'makes up a key',
    spoil: asked((params) => {
      params.key ??= another();
    }),
  },
  {
    check: 'subs-key-scope',
    wrong: 'has one set of keys for everybody',
    spoil: {
      request: (passing) => {
        const { headers, memory } = passing;
        memory['first'] ??= headers['authorization'];
        if (isSubscribe(passing)) headers['authorization'] = memory['first'];
      },
    },
  },
  {
    check: 'subs-same',
    wrong: 'makes another one each time',
    spoil: asked((params) => {
      params.key = another();
    }),
  },
  {
    check: 'subs-same',
    wrong: 'says that it made what it found',
    spoil: made((result) => ({ ...result, created: true })),
  },
  {
    check: 'subs-equal',
    wrong: 'compares the text of the request',
    spoil: asked((params, { memory }) => {
      const text = JSON.stringify(params.select);
      const before = (memory[params.key] ??= text);
      return before === text
        ? undefined
        : {
            error: {
              code: -32602,
              message: 'Differs.',
              data: { kind: 'key', subscriptionId: 'x'.repeat(30), etag: 'x' },
            },
          };
    }),
  },
  {
    check: 'subs-renews',
    wrong: 'does not renew what it finds',
    spoil: made((result, { memory }) =>
      result.created
        ? (memory[result.subscriptionId] = result)
        : {
            ...result,
            expiresAt: memory[result.subscriptionId].expiresAt,
            ttlMs: memory[result.subscriptionId].ttlMs,
          },
    ),
  },
  {
    check: 'subs-resumes',
    wrong: 'leaves a callback suspended',
    spoil: made((result) => (result.created ? result : { ...result, status: 'suspended' })),
  },
  {
    check: 'subs-conflict',
    wrong: 'changes the subscription to what the call says',
    spoil: {
      error: async (error, { method, params, ask }) => {
        if (method !== 'triggers/subscribe' || error.data?.kind !== 'key') return { error };
        const { result } = await ask('triggers/update', {
          subscriptionId: error.data.subscriptionId,
          select: params.select,
          ...(params.onFailure ? { onFailure: params.onFailure } : {}),
        });
        return { result: { ...result, created: false } };
      },
    },
  },
  {
    check: 'subs-conflict',
    wrong: 'does not say what is in the way',
    spoil: refused((error) =>
      error.data?.kind === 'key' ? { ...error, data: { kind: 'key' } } : error,
    ),
  },
  {
    check: 'subs-race',
    wrong: 'looks first and makes afterwards',
    spoil: asked((params, { memory }) => {
      const together = (memory[params.key] = (memory[params.key] ?? 0) + 1);
      if (
        together > 1 &&
        together <= 8 &&
        params.select[0].arguments !== undefined &&
        params.ttlMs === undefined
      )
        params.key = another();
    }),
  },
  {
    check: 'subs-since-existing',
    wrong: 'begins anew when since is given',
    spoil: asked((params) => {
      if (params.since !== undefined) params.key = another();
    }),
  },
  {
    check: 'subs-since',
    wrong: 'begins with everything it holds',
    spoil: asked((params) => {
      if (params.since !== undefined) params.since = '2001-01-01T00:00:00.000Z';
    }),
  },
  {
    check: 'subs-since',
    wrong: 'ignores since',
    spoil: asked((params) => {
      delete params.since;
    }),
  },
  {
    check: 'subs-since-bound',
    wrong: 'repeats the instant it was asked for',
    spoil: made((result, { params }) =>
      params.since === undefined ? result : { ...result, since: params.since },
    ),
  },
  {
    check: 'subs-since-unsupported',
    wrong: 'takes since and does nothing',
    spoil: asked((params, { memory }) => {
      if (params.since !== undefined && !memory['tried']) {
        delete params.since;
      }
    }),
  },
  {
    check: 'subs-from-now',
    wrong: 'begins with what was there before',
    spoil: asked((params) => {
      if (/history/.test(params.select?.[0]?.name)) params.since ??= '2001-01-01T00:00:00.000Z';
    }),
  },
  {
    check: 'subs-unknown-trigger',
    wrong: 'calls an unknown type an invalid parameter',
    spoil: refused((error) =>
      error.data?.kind === 'trigger'
        ? {
            code: -32602,
            message: 'Unknown.',
            data: { kind: 'invalid', path: '/select/0/name', expected: 'a name' },
          }
        : error,
    ),
  },
  {
    check: 'subs-arguments',
    wrong: 'drops arguments that do not fit',
    spoil: asked((params) => {
      for (const selection of params.select ?? [])
        if (typeof selection.arguments?.topic !== 'string') delete selection.arguments;
    }),
  },
  {
    check: 'subs-arguments',
    wrong: 'names the selection and not the argument',
    spoil: refused((error) =>
      error.data?.path?.startsWith('/select')
        ? { ...error, data: { ...error.data, path: '/select' } }
        : error,
    ),
  },
  {
    check: 'subs-permission',
    wrong: 'looks at permissions later',
    spoil: {
      request: (passing) => {
        passing.memory['first'] ??= passing.headers['authorization'];
        if (isSubscribe(passing) && passing.headers['authorization'] !== passing.memory['first'])
          passing.headers['authorization'] = passing.memory['first'];
      },
    },
  },
  {
    check: 'subs-drain',
    wrong: 'takes a callback that it will never call',
    spoil: asked((params) => {
      if (/pull_only/.test(params.select?.[0]?.name)) delete params.callback;
    }),
  },
  {
    check: 'subs-verified',
    wrong: 'makes the subscription before the callback consents',
    spoil: {
      error: async (error, { method, params, ask }) => {
        if (method === 'triggers/subscribe' && error.code === -32027)
          await ask(method, { ...params, callback: undefined });
        return { error };
      },
    },
  },
  {
    check: 'subs-verified',
    wrong: 'does not ask',
    spoil: {
      callback: (calling) => {
        const { challenge } = calling.body.params;
        return challenge === undefined
          ? undefined
          : {
              status: 200,
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify({ challenge }),
            };
      },
      error: async (error, { params, ask, method }) =>
        method === 'triggers/subscribe' && error.code === -32027
          ? { result: (await ask(method, { ...params, callback: undefined })).result }
          : { error },
    },
  },
  {
    check: 'subs-id-first',
    wrong: 'challenges under another id',
    spoil: {
      callback: (calling) => {
        if (calling.body.params.challenge !== undefined)
          calling.headers['mcp-subscription-id'] = `sub_${'0'.repeat(30)}`;
      },
    },
  },
  {
    check: 'subs-quota',
    wrong: 'does not name the limit',
    spoil: refused((error) =>
      error.code === -32025 ? { ...error, data: { limit: 'things' } } : error,
    ),
  },
  {
    check: 'sub-id-unguessable',
    wrong: 'counts',
    spoil: made((result) => ({
      ...result,
      subscriptionId: `sub_${String(++count).padStart(28, '0')}`,
    })),
  },
  {
    check: 'sub-id-not-reused',
    wrong: 'gives an id to the next one under the key',
    spoil: {
      request: ({ params, memory }) => {
        if (memory[`is ${params.subscriptionId}`])
          params.subscriptionId = memory[`is ${params.subscriptionId}`];
      },
      result: (result, passing) => {
        if (!isSubscribe(passing)) return result;
        const shown = (passing.memory[`of ${result.key}`] ??= result.subscriptionId);
        passing.memory[`is ${shown}`] = result.subscriptionId;
        return { ...result, subscriptionId: shown };
      },
    },
  },
  {
    check: 'sub-id-stable',
    wrong: 'shows another id each time',
    spoil: made((result) =>
      result.created
        ? result
        : { ...result, subscriptionId: `sub_${another().padEnd(30, '0').replaceAll('.', '_')}` },
    ),
  },
  {
    check: 'sub-no-secret',
    wrong: 'shows the callback as it was given',
    spoil: {
      result: (result, { method, params, memory }) => {
        if (method === 'triggers/subscribe' && params.callback)
          memory[result.subscriptionId] = params.callback;
        return method === 'triggers/get' && result.callback
          ? { ...result, callback: { ...result.callback, ...memory[result.subscriptionId] } }
          : result;
      },
    },
  },
  {
    check: 'sub-union',
    wrong: 'appends an event for each selection that it matches',
    spoil: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? { ...result, events: result.events.flatMap((event: Json) => [event, event]) }
          : result,
    },
  },
  {
    check: 'etag-renewal',
    wrong: 'has another ETag after each renewal',
    spoil: made((result) =>
      result.created ? result : { ...result, etag: `${result.etag}-${++count}` },
    ),
  },
];
