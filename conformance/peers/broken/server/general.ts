/** Servers that break requirements that apply to every method. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';

const isTriggers = ({ method }: ProxiedRequest): boolean => method.startsWith('triggers/');
const EXTENSION = 'io.modelcontextprotocol/triggers';
/** Ten years. */
const LIFETIME_MAX_MS = 315_576_000_000;

/** Changes the declared settings. */
const declared = (change: (settings: Json) => void): BrokenServer['fault'] => ({
  result: (result, { method }) => {
    if (method !== 'server/discover' && method !== 'initialize') return result;
    const copy = structuredClone(result);
    for (const place of ['extensions', 'experimental'])
      if (copy.capabilities[place]?.[EXTENSION]) change(copy.capabilities[place][EXTENSION]);
    return copy;
  },
});
/** Moves the declared settings to the place of another revision. */
const misplaced = (from: string, to: string): BrokenServer['fault'] => ({
  result: (result, { method }) => {
    if (method !== 'server/discover' && method !== 'initialize') return result;
    const { [from]: settings, ...capabilities } = result.capabilities;
    return { ...result, capabilities: { ...capabilities, [to]: settings } };
  },
});
const errors = (change: (error: Json, proxied: ProxiedRequest) => Json): BrokenServer['fault'] => ({
  error: (error, proxied) => ({ error: isTriggers(proxied) ? change(error, proxied) : error }),
});
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
/** Changes every instant of a message, or those of one member. */
const instants = (value: Json, change: (utc: string) => string, only?: string): Json => {
  if (Array.isArray(value)) return value.map((one) => instants(one, change, only));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value as object).map(([name, one]: [string, Json]) => [
      name,
      typeof one === 'string' && INSTANT.test(one) && (only ?? name) === name
        ? change(one)
        : instants(one, change, only),
    ]),
  );
};
const coarse = (utc: string): string => utc.replace(/\.\d+/, '');
/** Rejects `since` unless it fits. */
const sinceLike = (fits: (since: string) => boolean): BrokenServer['fault'] => ({
  request: ({ params: { since } }) =>
    since === undefined || fits(since)
      ? undefined
      : {
          error: {
            code: -32602,
            message: 'Not an instant.',
            data: { kind: 'invalid', path: '/since', expected: 'another form' },
          },
        },
});
/** Changes the params of these methods before the correct server validates them. */
const asked = (
  methods: readonly string[],
  change: (params: Json) => void,
): BrokenServer['fault'] => ({
  request: ({ method, params }) => {
    if (methods.includes(method)) change(params);
  },
});
const GRANTING = ['triggers/subscribe', 'triggers/update'];

export const general: readonly BrokenServer[] = [
  {
    check: 'cap-extensions',
    wrong: 'declares its settings under experimental in 2026-07-28',
    fault: misplaced('extensions', 'experimental'),
  },
  {
    check: 'cap-experimental',
    wrong: 'declares its settings under extensions in 2025-11-25',
    fault: misplaced('experimental', 'extensions'),
  },
  {
    check: 'cap-levels',
    wrong: 'does not declare the level log',
    fault: declared((settings) => {
      settings.levels = settings.levels.filter((level: string) => level !== 'log');
    }),
  },
  {
    check: 'cap-levels',
    wrong: 'lists a trigger type without the pull drain',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/list' && result.triggers
          ? {
              ...result,
              triggers: result.triggers.map((type: Json, at: number) =>
                at === 0 ? { ...type, drains: ['stream'] } : type,
              ),
            }
          : result,
    },
  },
  {
    check: 'cap-levels',
    wrong: 'rejects streams that it declares',
    fault: {
      request: ({ method }) =>
        method === 'triggers/stream'
          ? {
              error: {
                code: -32026,
                message: 'Not offered.',
                data: { kind: 'feature', feature: 'stream' },
              },
            }
          : undefined,
    },
  },
  {
    check: 'cap-levels',
    wrong: 'rejects the parameter of an option that it declares',
    fault: {
      request: ({ method, params }) =>
        method === 'triggers/update' && 'paused' in params
          ? {
              error: {
                code: -32026,
                message: 'Not offered.',
                data: { kind: 'feature', feature: 'paused' },
              },
            }
          : undefined,
    },
  },
  {
    check: 'subs-unsupported',
    wrong: 'accepts a parameter of an option that it does not declare',
    fault: declared((settings) => {
      settings.options = settings.options.filter((option: string) => option !== 'pause');
    }),
  },
  {
    check: 'cap-levels',
    wrong: 'omits resultType',
    fault: {
      result: (result, proxied) => {
        if (!isTriggers(proxied)) return result;
        const { resultType, ...rest } = result;
        return rest;
      },
    },
  },
  {
    check: 'cap-client-optional',
    wrong: 'rejects clients that do not declare the extension',
    fault: {
      request: (proxied) =>
        isTriggers(proxied) &&
        proxied.params._meta?.['io.modelcontextprotocol/clientCapabilities']?.extensions ===
          undefined
          ? { error: { code: -32021, message: 'Declare the extension.' } }
          : undefined,
    },
  },
  {
    check: 'cap-unasked',
    wrong: 'sends a delivery with an unrelated answer',
    fault: {
      alongside: ({ method, params }) =>
        method === 'triggers/get'
          ? [
              {
                jsonrpc: '2.0',
                method: 'notifications/triggers/delivery',
                params: { subscriptionId: params.subscriptionId },
              },
            ]
          : [],
    },
  },
  {
    check: 'gen-ignore-unknown',
    wrong: 'rejects unknown members',
    fault: {
      request: (proxied) =>
        isTriggers(proxied) && JSON.stringify(proxied.params).includes('unheardOf')
          ? {
              error: {
                code: -32602,
                message: 'Unknown member.',
                data: { kind: 'invalid', path: '/unheardOf', expected: 'nothing' },
              },
            }
          : undefined,
    },
  },
  {
    check: 'gen-integers',
    wrong: 'accepts a string as an integer',
    fault: {
      request: ({ params }) => {
        for (const name of ['maxEvents', 'waitMs', 'ttlMs'])
          if (typeof params[name] === 'string') params[name] = Number(params[name]);
      },
    },
  },
  {
    check: 'gen-integers',
    wrong: 'rounds and clamps integers',
    fault: {
      request: ({ params }) => {
        for (const name of ['maxEvents', 'waitMs', 'ttlMs'])
          if (typeof params[name] === 'number')
            params[name] = Math.max(0, Math.floor(Math.min(params[name], 100_000)));
      },
    },
  },
  {
    check: 'gen-integers',
    wrong: 'takes a lifetime of null as no expiry',
    fault: asked(GRANTING, (params) => {
      if (params.ttlMs !== null) return;
      delete params.ttlMs;
      params.noExpiry = true;
    }),
  },
  {
    check: 'gen-integers',
    wrong: 'accepts a lifetime of zero',
    fault: asked(GRANTING, (params) => {
      if (params.ttlMs === 0) params.ttlMs = 1;
    }),
  },
  {
    check: 'gen-integers',
    wrong: 'clamps a lifetime of more than ten years',
    fault: asked(GRANTING, (params) => {
      if (params.ttlMs > LIFETIME_MAX_MS) params.ttlMs = LIFETIME_MAX_MS;
    }),
  },
  {
    check: 'err-codes',
    wrong: 'uses an error code of its own',
    fault: errors((error) => (error.data?.kind === 'etag' ? { ...error, code: -32001 } : error)),
  },
  {
    check: 'gen-atomic',
    wrong: 'applies an update that it rejects',
    fault: {
      error: async (error, { method, params, ask }) => {
        if (method === 'triggers/update' && error.data?.kind === 'etag')
          await ask(method, { ...params, ifMatch: undefined });
        return { error };
      },
    },
  },
  {
    check: 'gen-atomic',
    wrong: 'acknowledges in a pull that it rejects',
    fault: {
      error: async (error, { method, params, ask }) => {
        if (method === 'triggers/pull' && params.ack && params.after)
          await ask('triggers/ack', {
            subscriptionId: params.subscriptionId,
            position: params.ack,
          });
        return { error };
      },
    },
  },
  {
    check: 'gen-check-order',
    wrong: 'checks preconditions before everything else',
    fault: {
      request: ({ method, params }) =>
        method === 'triggers/update' && params.ifMatch === 'stale'
          ? { error: { code: -32602, message: 'Changed.', data: { kind: 'etag', etag: 'x' } } }
          : undefined,
    },
  },
  {
    check: 'gen-instants',
    wrong: 'writes instants without milliseconds',
    fault: {
      result: (result, proxied) => (isTriggers(proxied) ? instants(result, coarse) : result),
    },
  },
  {
    check: 'gen-instants',
    wrong: 'writes instants with an offset',
    fault: {
      result: (result, proxied) =>
        isTriggers(proxied)
          ? instants(result, (utc) => utc.replace('Z', '+00:00'), 'expiresAt')
          : result,
    },
  },
  {
    check: 'gen-instants',
    wrong: 'writes microseconds in the health of a callback',
    fault: {
      result: (result, proxied) =>
        isTriggers(proxied) && result.callback
          ? {
              ...result,
              callback: instants(result.callback, (utc) => utc.replace('Z', '000Z'), 'suspendedAt'),
            }
          : result,
    },
  },
  {
    check: 'gen-instants',
    wrong: 'writes acceptedAt without milliseconds on streams',
    fault: {
      notification: (message) => ({
        ...message,
        params: instants(message.params, coarse, 'acceptedAt'),
      }),
    },
  },
  {
    check: 'gen-instants',
    wrong: 'rejects an instant with an offset',
    fault: sinceLike((since) => /z$/i.test(since)),
  },
  {
    check: 'gen-instants',
    wrong: 'rejects an instant without decimals',
    fault: sinceLike((since) => since.includes('.')),
  },
  {
    check: 'gen-instants',
    wrong: 'rejects an instant in lower case',
    fault: sinceLike((since) => since === since.toUpperCase()),
  },
  {
    check: 'deg-none',
    wrong: 'sends list_changed with an unrelated answer',
    fault: {
      alongside: ({ method }) =>
        method === 'tools/list'
          ? [{ jsonrpc: '2.0', method: 'notifications/triggers/list_changed' }]
          : [],
    },
  },
  {
    check: 'err-codes',
    wrong: 'reports every error with one code',
    fault: errors((error) => ({ ...error, code: -32603, data: undefined })),
  },
  {
    check: 'err-codes',
    wrong: 'chooses a key for a client that names none',
    fault: {
      request: ({ method, params }) => {
        if (method === 'triggers/subscribe') params.key ??= `made.${Date.now()}`;
      },
    },
  },
  {
    check: 'err-codes',
    wrong: 'takes noExpiry next to ttlMs',
    fault: asked(GRANTING, (params) => {
      if (params.noExpiry) delete params.ttlMs;
    }),
  },
  {
    check: 'err-codes',
    wrong: 'takes a callback of null as a removal',
    fault: asked(['triggers/update'], (params) => {
      if (params.callback !== null) return;
      delete params.callback;
      params.removeCallback = true;
    }),
  },
  {
    check: 'err-codes',
    wrong: 'takes removeCallback next to a callback',
    fault: asked(['triggers/update'], (params) => {
      if (params.removeCallback) delete params.callback;
    }),
  },
  {
    check: 'err-codes',
    wrong: 'names the member that noExpiry stands in for',
    fault: errors((error) =>
      error.data?.path === '/noExpiry'
        ? { ...error, data: { ...error.data, path: '/ttlMs' } }
        : error,
    ),
  },
  {
    check: 'err-codes',
    wrong: 'omits the error data',
    fault: errors((error) => ({ ...error, data: undefined })),
  },
  {
    check: 'err-codes',
    wrong: 'writes error paths with dots',
    fault: errors((error) =>
      error.data?.path === undefined
        ? error
        : {
            ...error,
            data: { ...error.data, path: error.data.path.slice(1).replaceAll('/', '.') },
          },
    ),
  },
  {
    check: 'err-no-value',
    wrong: 'repeats request values in the error',
    fault: errors((error, { params }) => ({
      ...error,
      message: `${error.message} Got ${JSON.stringify(params)}`,
    })),
  },
  {
    check: 'err-internal',
    wrong: 'exposes a stack trace',
    fault: errors((error) => ({
      code: -32603,
      message: `TypeError: x is undefined at handler (server.js:${Math.floor(Math.random() * 1000)}:7)`,
      data: error.data,
    })),
  },
  {
    check: 'err-internal',
    wrong: 'sends another message for each internal error',
    fault: errors((_, { method }) => ({ code: -32603, message: `Could not run ${method}.` })),
  },
  {
    check: 'lim-quota-named',
    wrong: 'omits the name of the quota',
    fault: errors((error) => (error.code === -32025 ? { ...error, data: {} } : error)),
  },
];
