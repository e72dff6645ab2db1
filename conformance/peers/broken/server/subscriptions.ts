/** Servers that create subscriptions wrongly. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';
import { onDelivery, onRequest, onResult, stateOf, without } from '../fault-builders.ts';

const isSubscribe = ({ method }: ProxiedRequest): boolean => method === 'triggers/subscribe';
/** Changes the params of a subscribe. */
const asked = (
  change: (params: Json, proxied: ProxiedRequest) => Json | void,
): BrokenServer['fault'] => ({
  request: (proxied) => (isSubscribe(proxied) ? change(proxied.params, proxied) : undefined),
});
/** Changes the result of a subscribe. */
const made = (change: (result: Json, proxied: ProxiedRequest) => Json): BrokenServer['fault'] => ({
  result: (result, proxied) => (isSubscribe(proxied) ? change(result, proxied) : result),
});
/** Changes the error of a subscribe. */
const refused = (
  change: (error: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  error: (error, proxied) => ({ error: isSubscribe(proxied) ? change(error, proxied) : error }),
});
let count = 0;
const another = (): string => `another.${++count}.${Date.now()}`;

export const subscriptions: readonly BrokenServer[] = [
  {
    check: 'subs-key-scope',
    wrong: 'shares keys between principals',
    fault: {
      request: (proxied) => {
        const { headers, memory } = proxied;
        memory['first'] ??= headers['authorization'];
        if (isSubscribe(proxied)) headers['authorization'] = memory['first'];
      },
    },
  },
  {
    check: 'subs-same',
    wrong: 'creates a new subscription for each call',
    fault: asked((params) => {
      params.key = another();
    }),
  },
  {
    check: 'subs-same',
    wrong: 'reports an existing subscription as created',
    fault: made((result) => ({ ...result, created: true })),
  },
  {
    check: 'subs-same',
    wrong: 'compares selections as text',
    fault: asked((params, { memory }) => {
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
    check: 'subs-same',
    wrong: 'does not renew an existing subscription',
    fault: made((result, { memory }) =>
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
    check: 'ttl-endpoint',
    wrong: 'renews only if the endpoint consents',
    fault: {
      result: (result, { method, memory }) => {
        if (method === 'triggers/get' && stateOf(result) === 'suspended')
          memory[result.subscriptionId] = true;
        return result;
      },
      request: ({ method, params, memory }) => {
        const isRenewal =
          (method === 'triggers/subscribe' && params.callback !== undefined) ||
          (method === 'triggers/update' && params.ttlMs !== undefined);
        const isSuspended = Object.values(memory).includes(true);
        return isRenewal && isSuspended
          ? {
              error: {
                code: -32027,
                message: 'The callback endpoint could not be verified: http_4xx.',
                data: { kind: 'callback', category: 'http_4xx' },
              },
            }
          : undefined;
      },
    },
  },
  {
    check: 'subs-conflict',
    wrong: 'overwrites a conflicting subscription',
    fault: {
      error: async (error, { method, params, ask }) => {
        if (method !== 'triggers/subscribe' || error.data?.kind !== 'key') return { error };
        const { result } = await ask('triggers/update', {
          subscriptionId: error.data.subscriptionId,
          select: params.select,
        });
        return { result: { ...result, created: false } };
      },
    },
  },
  {
    check: 'subs-conflict',
    wrong: 'omits the conflicting subscription',
    fault: refused((error) =>
      error.data?.kind === 'key' ? { ...error, data: { kind: 'key' } } : error,
    ),
  },
  {
    check: 'subs-same',
    wrong: 'creates several subscriptions for concurrent calls',
    fault: asked((params, { memory }) => {
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
    wrong: 'creates a new subscription when since is given',
    fault: asked((params) => {
      if (params.since !== undefined) params.key = another();
    }),
  },
  {
    check: 'subs-since',
    wrong: 'starts at the oldest event instead of since',
    fault: asked((params) => {
      if (params.since !== undefined) params.since = '2001-01-01T00:00:00.000Z';
    }),
  },
  {
    check: 'subs-since',
    wrong: 'ignores since',
    fault: asked((params) => {
      delete params.since;
    }),
  },
  {
    check: 'subs-since-gap',
    wrong: 'starts with the first event that the new log keeps',
    fault: onResult(['subscribe', 'pull'], (result, { method, memory, params }) => {
      if (method === 'triggers/subscribe' && params.since !== undefined)
        memory[result.subscriptionId] = true;
      return method === 'triggers/pull' && memory[result.subscriptionId] === true
        ? {
            ...without(result, 'gaps'),
            afterSequence: result.gaps?.at(-1)?.to ?? result.afterSequence,
          }
        : result;
    }),
  },
  {
    check: 'subs-since',
    wrong: 'compares the timestamp of the upstream with since',
    fault: {
      ...onRequest(['subscribe'], ({ since }, { memory }) => {
        if (since !== undefined) memory['since'] = since;
      }),
      ...onDelivery((delivery, memory) => ({
        ...delivery,
        events: delivery.events.filter(
          ({ timestamp }: Json) => memory['since'] === undefined || timestamp >= memory['since'],
        ),
      })),
    },
  },
  {
    check: 'subs-since-bound',
    wrong: 'returns the requested since',
    fault: made((result, { params }) =>
      params.since === undefined ? result : { ...result, since: params.since },
    ),
  },
  {
    check: 'subs-unsupported',
    wrong: 'accepts since without history',
    fault: asked((params) => {
      delete params.since;
    }),
  },
  {
    check: 'subs-from-now',
    wrong: 'starts with events from before the subscription',
    fault: asked((params) => {
      if (/history/.test(params.select?.[0]?.name)) params.since ??= '2001-01-01T00:00:00.000Z';
    }),
  },
  {
    check: 'subs-unknown-trigger',
    wrong: 'reports an unknown trigger type as an invalid parameter',
    fault: refused((error) =>
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
    wrong: 'drops invalid arguments',
    fault: asked((params) => {
      for (const selection of params.select ?? [])
        if (typeof selection.arguments?.topic !== 'string') delete selection.arguments;
    }),
  },
  {
    check: 'subs-arguments',
    wrong: 'reports the path of the selection instead of the argument',
    fault: refused((error) =>
      error.data?.path?.startsWith('/select')
        ? { ...error, data: { ...error.data, path: '/select' } }
        : error,
    ),
  },
  {
    check: 'subs-unknown-trigger',
    wrong: 'answers Forbidden for a type that it hides from the caller',
    fault: {
      request: (proxied) => {
        proxied.memory['first'] ??= proxied.headers['authorization'];
      },
      error: (error, { method, params, headers, memory }) => ({
        error:
          method === 'triggers/subscribe' &&
          error.data?.kind === 'trigger' &&
          headers['authorization'] !== memory['first'] &&
          params.select?.[0]?.name !== 'conformance.no_such_type'
            ? { code: -32024, message: 'No permission.', data: { kind: 'permission' } }
            : error,
      }),
    },
  },
  {
    check: 'subs-permission',
    wrong: 'answers Forbidden with the kind of an unknown type',
    fault: refused((error) =>
      error.data?.kind === 'trigger' ? { ...error, code: -32024 } : error,
    ),
  },
  {
    check: 'subs-permission',
    wrong: 'does not check permissions',
    fault: {
      request: (proxied) => {
        proxied.memory['first'] ??= proxied.headers['authorization'];
        if (isSubscribe(proxied) && proxied.headers['authorization'] !== proxied.memory['first'])
          proxied.headers['authorization'] = proxied.memory['first'];
      },
    },
  },
  {
    check: 'subs-unsupported',
    wrong: 'accepts a callback that it never uses',
    fault: asked((params) => {
      if (/pull_only/.test(params.select?.[0]?.name)) delete params.callback;
    }),
  },
  {
    check: 'subs-verified',
    wrong: 'creates the subscription before the callback consents',
    fault: {
      error: async (error, { method, params, ask }) => {
        if (method === 'triggers/subscribe' && error.code === -32027)
          await ask(method, { ...params, callback: undefined });
        return { error };
      },
    },
  },
  {
    check: 'subs-verified',
    wrong: 'does not verify the callback',
    fault: {
      callback: (outgoing) => {
        const { challenge } = outgoing.body.params;
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
    wrong: 'sends a challenge under another id',
    fault: {
      callback: (outgoing) => {
        if (outgoing.body.params.challenge !== undefined)
          outgoing.headers['mcp-subscription-id'] = `sub_${'0'.repeat(30)}`;
      },
    },
  },
  {
    check: 'lim-quota-named',
    wrong: 'names another limit',
    fault: refused((error) =>
      error.code === -32025 ? { ...error, data: { limit: 'things' } } : error,
    ),
  },
  {
    check: 'sub-id-unguessable',
    wrong: 'uses a counter as id',
    fault: made((result) => ({
      ...result,
      subscriptionId: `sub_${String(++count).padStart(28, '0')}`,
    })),
  },
  {
    check: 'sub-id-unguessable',
    wrong: 'reuses the id of an ended subscription',
    fault: {
      request: ({ params, memory }) => {
        if (memory[`is ${params.subscriptionId}`])
          params.subscriptionId = memory[`is ${params.subscriptionId}`];
      },
      result: (result, proxied) => {
        if (!isSubscribe(proxied)) return result;
        const shown = (proxied.memory[`of ${result.key}`] ??= result.subscriptionId);
        proxied.memory[`is ${shown}`] = result.subscriptionId;
        return { ...result, subscriptionId: shown };
      },
    },
  },
  {
    check: 'subs-same',
    wrong: 'returns another id each time',
    fault: made((result) =>
      result.created
        ? result
        : { ...result, subscriptionId: `sub_${another().padEnd(30, '0').replaceAll('.', '_')}` },
    ),
  },
  {
    check: 'sub-no-secret',
    wrong: 'returns the secret of the callback',
    fault: {
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
    wrong: 'appends an event once for each selection',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? { ...result, events: result.events.flatMap((event: Json) => [event, event]) }
          : result,
    },
  },
  {
    check: 'etag-config',
    wrong: 'changes the ETag with each renewal',
    fault: made((result) =>
      result.created ? result : { ...result, etag: `${result.etag}-${++count}` },
    ),
  },
];
