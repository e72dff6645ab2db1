/** Servers that change, show or end subscriptions wrongly. */
import { isDelivery, stateOf } from '../fault-builders.ts';
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';

const isUpdate = ({ method }: ProxiedRequest): boolean => method === 'triggers/update';
const asked = (
  change: (params: Json, proxied: ProxiedRequest) => Json | void | Promise<Json | void>,
): BrokenServer['fault'] => ({
  request: (proxied) => (isUpdate(proxied) ? change(proxied.params, proxied) : undefined),
});
/** Changes every subscription that a method shows. */
const shown = (
  change: (subscription: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  result: (result, proxied) =>
    proxied.method.startsWith('triggers/') &&
    result.subscriptionId !== undefined &&
    result.events === undefined
      ? change(result, proxied)
      : result,
});
const answeredBy = (
  method: string,
  change: (result: Json, proxied: ProxiedRequest) => Json | Promise<Json>,
): BrokenServer['fault'] => ({
  result: (result, proxied) => (proxied.method === method ? change(result, proxied) : result),
});
/** Acknowledges the whole log before an update that fits. */
const acknowledgingBefore = (fits: (params: Json) => boolean): BrokenServer['fault'] =>
  asked(async (params, { ask }) => {
    if (!fits(params)) return;
    const { subscriptionId } = params;
    const { head, epoch } = (await ask('triggers/get', { subscriptionId })).result;
    await ask('triggers/pull', { subscriptionId });
    await ask('triggers/ack', { subscriptionId, position: { epoch, sequence: head } });
  });
let count = 0;

export const changes: readonly BrokenServer[] = [
  {
    check: 'ans-current-only',
    wrong: 'counts the answer of a replaced callback',
    fault: {
      callbackAnswer: (answer, { body: { params }, memory }) => {
        const { ackSequence } = answer.status === 200 ? JSON.parse(answer.body) : {};
        if (ackSequence !== undefined) memory[`acked ${params.subscriptionId}`] = ackSequence;
        return answer;
      },
      result: (result, { method, memory }) =>
        method === 'triggers/get'
          ? { ...result, acked: memory[`acked ${result.subscriptionId}`] ?? result.acked }
          : result,
    },
  },
  {
    check: 'upd-if-match',
    wrong: 'ignores ifMatch',
    fault: asked((params) => {
      delete params.ifMatch;
    }),
  },
  {
    check: 'upd-if-match',
    wrong: 'reports an old ETag',
    fault: {
      error: (error) => ({
        error:
          error.data?.kind === 'etag' ? { ...error, data: { kind: 'etag', etag: 'old' } } : error,
      }),
    },
  },
  {
    check: 'gen-atomic',
    wrong: 'applies valid members of an invalid update',
    fault: {
      error: async (error, { method, params, ask }) => {
        if (method === 'triggers/update' && params.select)
          await ask(method, { subscriptionId: params.subscriptionId, paused: params.paused });
        return { error };
      },
    },
  },
  {
    check: 'gen-atomic',
    wrong: 'applies only the first member of an update',
    fault: asked((params) => {
      if (params.paused !== undefined) {
        delete params.ttlMs;
      }
    }),
  },
  {
    check: 'ttl-clamp',
    wrong: 'renews with every update',
    fault: asked((params) => {
      params.ttlMs ??= 60_000;
    }),
  },
  {
    check: 'ttl-clamp',
    wrong: 'ignores ttlMs in an update',
    fault: asked((params) => {
      delete params.ttlMs;
    }),
  },
  {
    check: 'upd-select',
    wrong: 'derives the key again after a change of select',
    fault: {
      result: (result, proxied) =>
        isUpdate(proxied) && proxied.params.select ? { ...result, key: `new.${++count}` } : result,
    },
  },
  {
    check: 'upd-select',
    wrong: 'drops old events that the new select does not match',
    fault: answeredBy('triggers/pull', (result) => ({
      ...result,
      events: result.events.slice(-1),
    })),
  },
  {
    check: 'upd-verify',
    wrong: 'does not verify a new URL',
    fault: asked(async (params, { memory }) => {
      if (params.callback === undefined || memory['updated']) return undefined;
      memory['updated'] = true;
      return { result: { subscriptionId: params.subscriptionId } };
    }),
  },
  {
    check: 'upd-rotate',
    wrong: 'keeps signing with the old secret only',
    fault: asked((params, proxied) => {
      if (params.callback?.secret !== undefined) {
        proxied.memory['secret'] ??= params.callback.secret;
        if (params.callback.secret !== proxied.memory['secret']) delete params.callback;
      }
    }),
  },
  {
    check: 'upd-detach',
    wrong: 'keeps the callback',
    fault: asked((params) => {
      delete params.removeCallback;
    }),
  },
  {
    check: 'upd-resume',
    wrong: 'leaves a suspended callback suspended',
    fault: asked((params) => {
      delete params.resume;
    }),
  },
  {
    check: 'get-not-modified',
    wrong: 'ignores ifNoneMatch',
    fault: {
      request: ({ method, params }) => {
        if (method === 'triggers/get') delete params.ifNoneMatch;
      },
    },
  },
  {
    check: 'get-not-modified',
    wrong: 'omits the counters in notModified',
    fault: answeredBy('triggers/get', (result) =>
      result.notModified ? { notModified: true, etag: result.etag } : result,
    ),
  },
  {
    check: 'get-not-modified',
    wrong: 'omits oldest in notModified',
    fault: answeredBy('triggers/get', ({ oldest, ...result }) =>
      result.notModified ? result : { oldest, ...result },
    ),
  },
  {
    check: 'get-not-modified',
    wrong: 'omits the callback in notModified',
    fault: answeredBy('triggers/get', ({ callback, ...result }) =>
      result.notModified || callback === undefined ? result : { callback, ...result },
    ),
  },
  {
    check: 'get-not-modified',
    wrong: 'writes the whole callback in notModified',
    fault: answeredBy('triggers/get', (result) =>
      result.notModified && result.callback
        ? { ...result, callback: { origin: 'https://callback.invalid', ...result.callback } }
        : result,
    ),
  },
  {
    check: 'get-full',
    wrong: 'reports notModified for any ETag',
    fault: answeredBy('triggers/get', ({ select, ...rest }, { params }) =>
      params.ifNoneMatch === undefined || rest.notModified
        ? { select, ...rest }
        : {
            notModified: true,
            etag: rest.etag,
            epoch: rest.epoch,
            head: rest.head,
            acked: rest.acked,
            oldest: rest.oldest,
            expiresAt: rest.expiresAt,
          },
    ),
  },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews a subscription that is read',
    fault: answeredBy('triggers/get', async (result, { params, ask }) => {
      await ask('triggers/update', { subscriptionId: params.subscriptionId, ttlMs: 60_000 });
      return result;
    }),
  },
  {
    check: 'list-subs-own',
    wrong: 'omits a subscription',
    fault: {
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
    wrong: 'lists an ended subscription',
    fault: {
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
    check: 'list-subs-own',
    wrong: 'repeats the last subscription of a page',
    fault: answeredBy('triggers/subscriptions', (result, { memory, params }) => {
      const before = params.cursor === undefined ? [] : [memory['last']];
      memory['last'] = result.subscriptions.at(-1);
      return { ...result, subscriptions: [...before, ...result.subscriptions] };
    }),
  },
  {
    check: 'uns-ends',
    wrong: 'hides an unsubscribed subscription without ending it',
    fault: {
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
    check: 'upd-if-match',
    wrong: 'ignores ifMatch',
    fault: {
      request: ({ method, params }) => {
        if (method === 'triggers/unsubscribe') delete params.ifMatch;
      },
    },
  },
  {
    check: 'etag-config',
    wrong: 'never changes the ETag',
    fault: shown((subscription, { memory }) => ({
      ...subscription,
      etag: (memory[subscription.subscriptionId] ??= subscription.etag),
    })),
  },
  {
    check: 'etag-config',
    wrong: 'changes the ETag with each event',
    fault: shown((subscription) => ({
      ...subscription,
      etag: `${subscription.etag}-${subscription.head}`,
    })),
  },
  {
    check: 'etag-config',
    wrong: 'returns to an earlier ETag',
    fault: shown((subscription) => ({
      ...subscription,
      etag: `paused-${subscription.paused === true}`,
    })),
  },
  {
    check: 'sub-paused',
    wrong: 'drops events while paused',
    fault: {
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
    wrong: 'delivers to the callback while paused',
    fault: asked((params, { ask }) =>
      params.paused === true
        ? ask('triggers/get', { subscriptionId: params.subscriptionId })
        : undefined,
    ),
  },
  {
    check: 'sub-paused',
    wrong: 'shows either a pause or a suspension',
    fault: shown(({ paused, ...subscription }) =>
      paused === undefined || stateOf(subscription) === 'suspended'
        ? subscription
        : { paused, ...subscription },
    ),
  },
  {
    check: 'sub-paused',
    wrong: 'ends the pause on resume',
    fault: asked((params) => {
      if (params.resume) params.paused = false;
    }),
  },
  {
    check: 'sub-paused',
    wrong: 'writes paused false',
    fault: shown((subscription) => ({ paused: false, ...subscription })),
  },
  {
    check: 'sub-paused-resume',
    wrong: 'acknowledges waiting events when a pause ends',
    fault: acknowledgingBefore(({ paused }) => paused === false),
  },
  {
    check: 'sub-resume-continues',
    wrong: 'acknowledges waiting events on resume',
    fault: acknowledgingBefore(({ resume }) => resume === true),
  },
  {
    check: 'sub-only-client-resumes',
    wrong: 'resumes a suspended callback by itself',
    fault: {
      result: async (result, { method, params, ask, memory }) => {
        if (method === 'triggers/get' && stateOf(result) === 'suspended') {
          memory['seen'] = (memory['seen'] ?? 0) + 1;
          if (memory['seen'] > 2)
            // Resume several times, because the endpoint may still fail at the first attempt.
            for (const delayMs of [100, 500, 1000])
              setTimeout(
                () =>
                  void ask('triggers/update', {
                    subscriptionId: params.subscriptionId,
                    resume: true,
                  }).catch(() => undefined),
                delayMs,
              );
        }
        return result;
      },
    },
  },
  {
    check: 'sub-only-client-resumes',
    wrong: 'ends a suspension with paused false',
    fault: asked((params) => {
      if (params.paused === false) params.resume = true;
    }),
  },
  {
    check: 'sub-only-client-resumes',
    wrong: 'resumes a suspended callback on every update',
    fault: {
      ...asked((params) => {
        params.resume = true;
      }),
    },
  },
  {
    check: 'retry-success',
    wrong: 'clears the health of the callback on resume',
    fault: {
      result: (result, proxied) =>
        isUpdate(proxied) && result.callback?.health
          ? { ...result, callback: { ...result.callback, health: { attempts: 0 } } }
          : result,
    },
  },
  {
    check: 'retry-success',
    wrong: 'never clears the last error',
    fault: answeredBy('triggers/get', (result, { memory }) => {
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
    check: 'stream-changed',
    wrong: 'does not report a changed configuration on open streams',
    fault: {
      notification: (message, { memory }) => {
        if (!isDelivery(message)) return message;
        const { subscriptionId, etag } = message.params;
        memory[subscriptionId] ??= etag;
        return { ...message, params: { ...message.params, etag: memory[subscriptionId] } };
      },
    },
  },
  {
    check: 'stream-changed',
    wrong: 'does not report a suspended callback on open streams',
    fault: {
      notification: (message, { memory }) => {
        if (!isDelivery(message)) return message;
        const { subscriptionId, etag, events } = message.params;
        const isKnown = memory[subscriptionId] === etag;
        memory[subscriptionId] = etag;
        return isKnown && events.length === 0 ? null : message;
      },
    },
  },
];
