/** Servers that grant wrong lifetimes, or do not keep those that they grant. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';
import { onResult, onRequest, onDelivery, onError, without } from '../fault-builders.ts';

const HOUR_MS = 3_600_000;
const GRANTING = ['subscribe', 'update'];
const EXTENSION = 'io.modelcontextprotocol/triggers';

/** Changes the declared settings. */
const declared = (change: (settings: Json) => Json): BrokenServer['fault'] => ({
  result: (result, { method }) => {
    const { extensions } = result.capabilities ?? {};
    return method === 'server/discover'
      ? {
          ...result,
          capabilities: {
            ...result.capabilities,
            extensions: { ...extensions, [EXTENSION]: change(extensions[EXTENSION]) },
          },
        }
      : result;
  },
});
/** Replaces `renewAfterMs`. */
const hinted = (hint: (ttlMs: number) => number): BrokenServer['fault'] =>
  onResult([...GRANTING, 'get'], (result) =>
    result.ttlMs === undefined ? result : { ...result, renewAfterMs: hint(result.ttlMs) },
  );
/** Renews the subscription after these methods. */
const renews = (methods: readonly string[]): BrokenServer['fault'] =>
  onResult(methods, async (result, { params: { subscriptionId }, ask }) => {
    await ask('triggers/update', { subscriptionId, ttlMs: HOUR_MS });
    return result;
  });

export const lifetime: readonly BrokenServer[] = [
  {
    check: 'ttl-clamp',
    wrong: 'grants half of the suggested lifetime',
    fault: onRequest(GRANTING, (params) => {
      if (params.ttlMs > HOUR_MS) params.ttlMs = Math.floor(params.ttlMs / 2);
    }),
  },
  {
    check: 'ttl-clamp',
    wrong: 'declares other bounds than it applies',
    fault: declared((settings) => ({ ...settings, minTtlMs: 120_000, maxTtlMs: HOUR_MS })),
  },
  {
    check: 'ttl-clamp',
    wrong: 'rejects a ttlMs that is too short',
    fault: onRequest(GRANTING, ({ ttlMs }) =>
      typeof ttlMs === 'number' && ttlMs < 1000
        ? {
            error: {
              code: -32602,
              message: 'Too short.',
              data: { kind: 'invalid', path: '/ttlMs', expected: 'at least 1000' },
            },
          }
        : undefined,
    ),
  },
  {
    check: 'ttl-null',
    wrong: 'treats a very long ttlMs as no expiry',
    fault: onResult(GRANTING, (result, { params }) =>
      params.ttlMs > 1000 * HOUR_MS
        ? without(result, 'ttlMs', 'expiresAt', 'renewAfterMs')
        : result,
    ),
  },
  {
    check: 'ttl-null',
    wrong: 'sends a renewal hint without expiry',
    fault: onResult(GRANTING, (result) =>
      result.ttlMs === undefined ? { ...result, renewAfterMs: HOUR_MS } : result,
    ),
  },
  {
    check: 'ttl-null',
    wrong: 'writes null for the expiry that a subscription does not have',
    fault: onResult([...GRANTING, 'get'], (result) =>
      result.ttlMs === undefined && !result.notModified
        ? { ...result, ttlMs: null, expiresAt: null, renewAfterMs: null }
        : result,
    ),
  },
  {
    check: 'ttl-null',
    wrong: 'writes null for the expiry in a pull',
    fault: onResult(['pull'], (result) => ({ expiresAt: null, ...result })),
  },
  {
    check: 'ttl-null',
    wrong: 'ignores noExpiry in an update',
    fault: onRequest(['update'], (params) => {
      delete params.noExpiry;
    }),
  },
  {
    check: 'ttl-null',
    wrong: 'grants one hour for noExpiry',
    fault: onRequest(GRANTING, (params) => {
      if (params.noExpiry === true) params.ttlMs = HOUR_MS;
      delete params.noExpiry;
    }),
  },
  {
    check: 'ttl-default',
    wrong: 'grants one minute when nothing is suggested',
    fault: onRequest(['subscribe'], (params) => {
      params.ttlMs ??= 60_000;
    }),
  },
  {
    check: 'ttl-renew-hint',
    wrong: 'sends the whole lifetime as renewAfterMs',
    fault: hinted((ttlMs) => ttlMs),
  },
  {
    check: 'ttl-renew-jitter',
    wrong: 'sends renewAfterMs without jitter',
    fault: hinted((ttlMs) => Math.floor(ttlMs * 0.65)),
  },
  {
    check: 'ttl-renew-jitter',
    wrong: 'sends a renewAfterMs that is too late',
    fault: hinted((ttlMs) => Math.floor(ttlMs * (0.8 + 0.15 * Math.random()))),
  },
  { check: 'ttl-not-by-reading', wrong: 'renews with every pull', fault: renews(['pull']) },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews with every acknowledgement',
    fault: renews(['ack']),
  },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews with every stream',
    fault: {
      request: async ({ method, params: { subscriptionId }, ask }) => {
        if (method === 'triggers/stream')
          await ask('triggers/update', { subscriptionId, ttlMs: HOUR_MS });
      },
    },
  },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews with every callback delivery',
    fault: {
      ...onDelivery(
        (delivery, memory) => {
          memory['called'] ||= delivery.events.length > 0;
          return delivery;
        },
        ['callback'],
      ),
      ...onResult(['get'], (result, { memory }) =>
        memory['called'] === true
          ? { ...result, expiresAt: new Date(Date.parse(result.expiresAt) + 60_000).toISOString() }
          : result,
      ),
    },
  },
  {
    check: 'ttl-kept',
    wrong: 'ends a subscription before its expiry',
    fault: onResult(['get'], async (result, { params: { subscriptionId }, ask }) => {
      await ask('triggers/unsubscribe', { subscriptionId });
      return result;
    }),
  },
  {
    check: 'ttl-kept',
    wrong: 'never ends an expired subscription',
    fault: {
      request: (proxied) => {
        if (proxied.method === 'triggers/subscribe' && proxied.params.ttlMs > 0)
          proxied.params = { ...without(proxied.params, 'ttlMs'), noExpiry: true };
      },
      ...onResult(['subscribe'], (result) => ({
        ...result,
        ttlMs: 2 * HOUR_MS,
        expiresAt: new Date(Date.now() + 2 * HOUR_MS).toISOString(),
        renewAfterMs: HOUR_MS,
      })),
    },
  },
  {
    check: 'ttl-kept',
    wrong: 'reports an expired subscription as unsubscribed',
    fault: onError((error) =>
      error.data?.reason === 'expired'
        ? { ...error, data: { ...error.data, reason: 'unsubscribed' } }
        : error,
    ),
  },
  {
    check: 'ttl-survives',
    wrong: 'renews subscriptions on restart',
    fault: onResult(['get'], (result, { memory }: ProxiedRequest) => {
      memory['seen'] = (memory['seen'] ?? 0) + 1;
      return {
        ...result,
        expiresAt: new Date(Date.parse(result.expiresAt) + 1000 * memory['seen']).toISOString(),
      };
    }),
  },
];
