/** Servers that do not keep to the lifetimes they grant. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';
import { answered, asked, delivered, refused } from '../spoils.ts';

const HOUR_MS = 3_600_000;
const GRANTING = ['subscribe', 'update'];
const EXTENSION = 'io.modelcontextprotocol/triggers';

/** Changes what a greeting declares. */
const declared = (change: (settings: Json) => Json): BrokenServer['spoil'] => ({
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
const hinted = (hint: (ttlMs: number) => number): BrokenServer['spoil'] =>
  answered([...GRANTING, 'get'], (result) =>
    result.ttlMs === null ? result : { ...result, renewAfterMs: hint(result.ttlMs) },
  );
/** Grants the lifetime again after this. */
const renews = (methods: readonly string[]): BrokenServer['spoil'] =>
  answered(methods, async (result, { params: { subscriptionId }, ask }) => {
    await ask('triggers/update', { subscriptionId, ttlMs: HOUR_MS });
    return result;
  });

export const lifetime: readonly BrokenServer[] = [
  {
    check: 'ttl-clamp',
    wrong: 'grants half of what was suggested',
    spoil: asked(GRANTING, (params) => {
      if (params.ttlMs > HOUR_MS) params.ttlMs = Math.floor(params.ttlMs / 2);
    }),
  },
  {
    check: 'ttl-clamp',
    wrong: 'announces bounds that it does not keep',
    spoil: declared((settings) => ({ ...settings, minTtlMs: 120_000, maxTtlMs: HOUR_MS })),
  },
  {
    check: 'ttl-no-refusal',
    wrong: 'refuses what is too short for it',
    spoil: asked(GRANTING, ({ ttlMs }) =>
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
    wrong: 'takes a very long lifetime for no expiry',
    spoil: answered(GRANTING, (result, { params }) =>
      params.ttlMs > 1000 * HOUR_MS
        ? { ...result, ttlMs: null, expiresAt: null, renewAfterMs: null }
        : result,
    ),
  },
  {
    check: 'ttl-null',
    wrong: 'hints when to renew what never expires',
    spoil: answered(GRANTING, (result) =>
      result.ttlMs === null ? { ...result, renewAfterMs: HOUR_MS } : result,
    ),
  },
  {
    check: 'ttl-null-durable',
    wrong: 'grants no expiry without a store',
    spoil: declared((settings) => ({ ...settings, durability: 'volatile' })),
  },
  {
    check: 'ttl-null-finite',
    wrong: 'grants an hour to who wants no expiry',
    spoil: asked(GRANTING, (params) => {
      if (params.ttlMs === null) params.ttlMs = HOUR_MS;
    }),
  },
  {
    check: 'ttl-default',
    wrong: 'grants a minute when nothing is suggested',
    spoil: asked(['subscribe'], (params) => {
      params.ttlMs ??= 60_000;
    }),
  },
  { check: 'ttl-renew-hint', wrong: 'hints at the last moment', spoil: hinted((ttlMs) => ttlMs) },
  {
    check: 'ttl-renew-jitter',
    wrong: 'always hints at the same part',
    spoil: hinted((ttlMs) => Math.floor(ttlMs * 0.65)),
  },
  {
    check: 'ttl-renew-jitter',
    wrong: 'hints late',
    spoil: hinted((ttlMs) => Math.floor(ttlMs * (0.8 + 0.15 * Math.random()))),
  },
  { check: 'ttl-not-by-reading', wrong: 'renews with every pull', spoil: renews(['pull']) },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews with every acknowledgement',
    spoil: renews(['ack']),
  },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews whoever streams',
    spoil: {
      request: async ({ method, params: { subscriptionId }, ask }) => {
        if (method === 'triggers/stream')
          await ask('triggers/update', { subscriptionId, ttlMs: HOUR_MS });
      },
    },
  },
  {
    check: 'ttl-not-by-reading',
    wrong: 'renews when a callback has acknowledged',
    spoil: {
      ...delivered(
        (delivery, memory) => {
          memory['called'] ||= delivery.events.length > 0;
          return delivery;
        },
        ['callback'],
      ),
      ...answered(['get'], (result, { memory }) =>
        memory['called'] === true
          ? { ...result, expiresAt: new Date(Date.parse(result.expiresAt) + 60_000).toISOString() }
          : result,
      ),
    },
  },
  {
    check: 'ttl-kept',
    wrong: 'ends what nobody renewed for a while',
    spoil: answered(['get'], async (result, { params: { subscriptionId }, ask }) => {
      await ask('triggers/unsubscribe', { subscriptionId });
      return result;
    }),
  },
  {
    check: 'ttl-expiry',
    wrong: 'never ends a subscription',
    spoil: {
      request: (passing) => {
        if (passing.method === 'triggers/subscribe' && passing.params.ttlMs > 0)
          passing.params = { ...passing.params, ttlMs: null };
      },
      ...answered(['subscribe'], (result) => ({
        ...result,
        ttlMs: 2 * HOUR_MS,
        expiresAt: new Date(Date.now() + 2 * HOUR_MS).toISOString(),
        renewAfterMs: HOUR_MS,
      })),
    },
  },
  {
    check: 'ttl-expiry',
    wrong: 'tells that what expired was unsubscribed',
    spoil: refused((error) =>
      error.data?.reason === 'expired'
        ? { ...error, data: { ...error.data, reason: 'unsubscribed' } }
        : error,
    ),
  },
  {
    check: 'ttl-survives',
    wrong: 'grants anew when it starts',
    spoil: answered(['get'], (result, { memory }: Passing) => {
      memory['seen'] = (memory['seen'] ?? 0) + 1;
      return {
        ...result,
        expiresAt: new Date(Date.parse(result.expiresAt) + 1000 * memory['seen']).toISOString(),
      };
    }),
  },
];
