/** Servers that change, show or end subscriptions wrongly. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';

const isUpdate = ({ method }: Passing): boolean => method === 'triggers/update';
const asked = (
  change: (params: Json, passing: Passing) => Json | void | Promise<Json | void>,
): BrokenServer['spoil'] => ({
  request: (passing) => (isUpdate(passing) ? change(passing.params, passing) : undefined),
});
/** Changes every subscription that is shown, whichever method shows it. */
const shown = (change: (subscription: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  result: (result, passing) =>
    passing.method.startsWith('triggers/') &&
    result.subscriptionId !== undefined &&
    result.events === undefined
      ? change(result, passing)
      : result,
});
const answeredBy = (
  method: string,
  change: (result: Json, passing: Passing) => Json | Promise<Json>,
): BrokenServer['spoil'] => ({
  result: (result, passing) => (passing.method === method ? change(result, passing) : result),
});
let count = 0;

export const changes: readonly BrokenServer[] = [
  {
    check: 'upd-if-match',
    wrong: 'ignores ifMatch',
    spoil: asked((params) => {
      delete params.ifMatch;
    }),
  },
  {
    check: 'upd-if-match',
    wrong: 'does not tell the current ETag',
    spoil: {
      error: (error) => ({
        error:
          error.data?.kind === 'etag' ? { ...error, data: { kind: 'etag', etag: 'old' } } : error,
      }),
    },
  },
  {
    check: 'upd-atomic',
    wrong: 'applies members until one is wrong',
    spoil: {
      error: async (error, { method, params, ask }) => {
        if (method === 'triggers/update' && params.select)
          await ask(method, { subscriptionId: params.subscriptionId, paused: params.paused });
        return { error };
      },
    },
  },
  {
    check: 'upd-atomic',
    wrong: 'applies only the first member',
    spoil: asked((params) => {
      if (params.paused !== undefined) {
        delete params.ttlMs;
        delete params.onFailure;
      }
    }),
  },
  {
    check: 'upd-ttl',
    wrong: 'renews with every update',
    spoil: asked((params) => {
      params.ttlMs ??= 60_000;
    }),
  },
  {
    check: 'upd-ttl',
    wrong: 'does not renew',
    spoil: asked((params) => {
      delete params.ttlMs;
    }),
  },
  {
    check: 'upd-key-stays',
    wrong: 'computes the key anew',
    spoil: {
      result: (result, passing) =>
        isUpdate(passing) && passing.params.select ? { ...result, key: `new.${++count}` } : result,
    },
  },
  {
    check: 'upd-select',
    wrong: 'renumbers what the new select does not match',
    spoil: answeredBy('triggers/pull', (result) => ({
      ...result,
      events: result.events.slice(-1),
    })),
  },
  {
    check: 'upd-verify',
    wrong: 'takes a URL without asking it',
    spoil: asked(async (params, { memory }) => {
      if (params.callback === undefined || params.callback === null || memory['updated'])
        return undefined;
      memory['updated'] = true;
      return { result: { subscriptionId: params.subscriptionId } };
    }),
  },
  {
    check: 'upd-reverify',
    wrong: 'trusts the URL that it knows',
    spoil: {
      callback: (calling) => {
        const { challenge } = calling.body.params;
        if (challenge === undefined) return undefined;
        const seen = (calling.memory['challenges'] = (calling.memory['challenges'] ?? 0) + 1);
        return seen > 2 ? { status: 500, headers: {}, body: '' } : undefined;
      },
      error: async (error, { method, params, ask }) =>
        method === 'triggers/update' && error.code === -32027 && params.callback
          ? ask('triggers/get', { subscriptionId: params.subscriptionId })
          : { error },
    },
  },
  {
    check: 'upd-rotate',
    wrong: 'keeps signing with the old secret only',
    spoil: asked((params, passing) => {
      if (params.callback?.secret !== undefined) {
        passing.memory['secret'] ??= params.callback.secret;
        if (params.callback.secret !== passing.memory['secret']) delete params.callback;
      }
    }),
  },
  {
    check: 'upd-detach',
    wrong: 'keeps the callback',
    spoil: asked((params) => {
      if (params.callback === null) delete params.callback;
    }),
  },
  {
    check: 'upd-resume',
    wrong: 'leaves a callback suspended',
    spoil: asked((params, { ask }) =>
      params.onFailure === 'suspend' && params.paused === undefined
        ? ask('triggers/get', { subscriptionId: params.subscriptionId })
        : undefined,
    ),
  },
  {
    check: 'get-not-modified',
    wrong: 'always sends everything',
    spoil: {
      request: ({ method, params }) => {
        if (method === 'triggers/get') delete params.ifNoneMatch;
      },
    },
  },
  {
    check: 'get-not-modified',
    wrong: 'leaves the counters away',
    spoil: answeredBy('triggers/get', (result) =>
      result.notModified ? { notModified: true, etag: result.etag } : result,
    ),
  },
  {
    check: 'get-full',
    wrong: 'says "not modified" to any ETag',
    spoil: answeredBy('triggers/get', ({ select, ...rest }, { params }) =>
      params.ifNoneMatch === undefined || rest.notModified
        ? { select, ...rest }
        : {
            notModified: true,
            etag: rest.etag,
            epoch: rest.epoch,
            head: rest.head,
            acked: rest.acked,
            expiresAt: rest.expiresAt,
          },
    ),
  },
  {
    check: 'get-no-side-effect',
    wrong: 'renews what is read',
    spoil: answeredBy('triggers/get', async (result, { params, ask }) => {
      await ask('triggers/update', { subscriptionId: params.subscriptionId, ttlMs: 60_000 });
      return result;
    }),
  },
  {
    check: 'list-subs-own',
    wrong: 'forgets one',
    spoil: {
      result: (result, { method, memory }) => {
        if (method === 'triggers/subscribe') memory['forgotten'] ??= result.subscriptionId;
        return method === 'triggers/subscriptions'
          ? {
              ...result,
              subscriptions: result.subscriptions.filter(
                (one: Json) => one.subscriptionId !== memory['forgotten'],
              ),
            }
          : result;
      },
    },
  },
  {
    check: 'list-subs-own',
    wrong: 'lists what ended',
    spoil: {
      request: ({ method, params, memory }) => {
        if (method === 'triggers/unsubscribe') memory['ended'] = params.subscriptionId;
      },
      result: (result, { method, memory }) => {
        if (method === 'triggers/subscribe') memory[result.subscriptionId] = result;
        if (method !== 'triggers/subscriptions' || memory['ended'] === undefined) return result;
        const { created, ...one } = memory[memory['ended']];
        return { ...result, subscriptions: [...result.subscriptions, one] };
      },
    },
  },
  {
    check: 'list-subs-paging',
    wrong: 'repeats the last one of a page',
    spoil: answeredBy('triggers/subscriptions', (result, { memory, params }) => {
      const before = params.cursor === undefined ? [] : [memory['last']];
      memory['last'] = result.subscriptions.at(-1);
      return { ...result, subscriptions: [...before, ...result.subscriptions] };
    }),
  },
  {
    check: 'uns-ends',
    wrong: 'hides it and goes on',
    spoil: {
      request: async ({ method, params, memory }) => {
        if (method !== 'triggers/unsubscribe')
          return memory[params.subscriptionId] && method === 'triggers/get'
            ? { error: { code: -32023, message: 'Gone.', data: { kind: 'subscription' } } }
            : undefined;
        if (params.ifMatch === 'no-such-etag') return undefined;
        memory[params.subscriptionId] = true;
        return { result: { resultType: 'complete' } };
      },
    },
  },
  {
    check: 'uns-if-match',
    wrong: 'ignores ifMatch',
    spoil: {
      request: ({ method, params }) => {
        if (method === 'triggers/unsubscribe') delete params.ifMatch;
      },
    },
  },
  {
    check: 'etag-config',
    wrong: 'has one ETag for ever',
    spoil: shown((subscription, { memory }) => ({
      ...subscription,
      etag: (memory[subscription.subscriptionId] ??= subscription.etag),
    })),
  },
  {
    check: 'etag-counters',
    wrong: 'counts events into the ETag',
    spoil: shown((subscription) => ({
      ...subscription,
      etag: `${subscription.etag}-${subscription.head}`,
    })),
  },
  {
    check: 'etag-never-back',
    wrong: 'makes the ETag of the configuration alone',
    spoil: shown((subscription) => ({
      ...subscription,
      etag: `e${subscription.status}${subscription.onFailure}`,
    })),
  },
  {
    check: 'sub-numbering-goes-on',
    wrong: 'drops what happens while it is paused',
    spoil: {
      result: (result, { method, memory, params }) => {
        if (method === 'triggers/update' && params.paused !== undefined)
          memory[params.subscriptionId] = params.paused ? result.head : undefined;
        return method === 'triggers/get' && memory[params.subscriptionId] !== undefined
          ? { ...result, head: memory[params.subscriptionId] }
          : result;
      },
    },
  },
  {
    check: 'sub-paused',
    wrong: 'calls back though it is paused',
    spoil: asked((params, { ask }) =>
      params.paused === true
        ? ask('triggers/get', { subscriptionId: params.subscriptionId })
        : undefined,
    ),
  },
  {
    check: 'sub-resume-continues',
    wrong: 'forgets what waited',
    spoil: asked((params, { ask }) =>
      params.paused === false
        ? (async () => {
            const {
              result: { head, epoch },
            } = await ask('triggers/get', { subscriptionId: params.subscriptionId });
            await ask('triggers/pull', { subscriptionId: params.subscriptionId });
            await ask('triggers/ack', {
              subscriptionId: params.subscriptionId,
              position: { epoch, sequence: head },
            });
          })()
        : undefined,
    ),
  },
  {
    check: 'sub-only-client-resumes',
    wrong: 'tries a suspended callback again by itself',
    spoil: {
      result: async (result, { method, params, ask, memory }) => {
        if (method === 'triggers/get' && result.status === 'suspended') {
          memory['seen'] = (memory['seen'] ?? 0) + 1;
          if (memory['seen'] > 2)
            setTimeout(
              () =>
                void ask('triggers/pull', { subscriptionId: params.subscriptionId }).catch(
                  () => undefined,
                ),
              100,
            );
        }
        return result;
      },
    },
  },
  {
    check: 'sub-health-kept',
    wrong: 'forgets what went wrong when it is resumed',
    spoil: {
      result: (result, passing) =>
        isUpdate(passing) && result.callback?.health
          ? { ...result, callback: { ...result.callback, health: { attempts: 0 } } }
          : result,
    },
  },
  {
    check: 'sub-health-kept',
    wrong: 'remembers it for ever',
    spoil: answeredBy('triggers/get', (result, { memory }) => {
      const { health } = result.callback ?? {};
      if (health?.lastError) memory['error'] = health.lastError;
      return health && memory['error']
        ? {
            ...result,
            callback: { ...result.callback, health: { ...health, lastError: memory['error'] } },
          }
        : result;
    }),
  },
  {
    check: 'sub-status-told',
    wrong: 'leaves open streams in the dark',
    spoil: {
      notification: (message, { memory }) => {
        if (message.method !== 'notifications/triggers/delivery') return message;
        const { subscriptionId, status } = message.params;
        memory[subscriptionId] ??= status;
        return { ...message, params: { ...message.params, status: memory[subscriptionId] } };
      },
    },
  },
];
