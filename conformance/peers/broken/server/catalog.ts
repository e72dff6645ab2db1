/** Servers whose list of trigger types is broken. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';

const listed = (
  change: (result: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  result: (result, proxied) =>
    proxied.method === 'triggers/list' && result.triggers !== undefined
      ? change(result, proxied)
      : result,
});

export const catalog: readonly BrokenServer[] = [
  {
    check: 'list-only-usable',
    wrong: 'lists a type twice',
    fault: listed((result) => ({ ...result, triggers: [...result.triggers, result.triggers[0]] })),
  },
  {
    check: 'type-reserved',
    wrong: 'uses a reserved name for a type of its own',
    fault: listed((result) => ({
      ...result,
      triggers: result.triggers.map((type: Json, at: number) =>
        at === 0 ? { ...type, name: 'mcp.resource.updated' } : type,
      ),
    })),
  },
  {
    check: 'type-reserved',
    wrong: 'offers a reserved type without the present state',
    fault: listed((result) => ({
      ...result,
      triggers: result.triggers.map((type: Json, at: number) =>
        at === 0
          ? {
              ...type,
              name: 'mcp.resource.updated',
              inputSchema: { type: 'object', properties: { uri: { type: 'string' } } },
            }
          : type,
      ),
    })),
  },
  {
    check: 'type-reserved',
    wrong: 'invents a reserved name',
    fault: listed((result) => ({
      ...result,
      triggers: result.triggers.map((type: Json, at: number) =>
        at === 0 ? { ...type, name: 'mcp.weather' } : type,
      ),
    })),
  },
  {
    check: 'list-not-modified',
    wrong: 'always sends the full list',
    fault: {
      request: ({ method, params }) => {
        if (method === 'triggers/list') delete params.ifNoneMatch;
      },
    },
  },
  {
    check: 'list-not-modified',
    wrong: 'sends the list with notModified',
    fault: {
      result: async (result, { method, ask }) =>
        method === 'triggers/list' && result.notModified
          ? { ...result, triggers: (await ask(method, {})).result.triggers }
          : result,
    },
  },
  {
    check: 'list-etag-pages',
    wrong: 'uses another ETag for each page',
    fault: listed((result, { params }) => ({
      ...result,
      etag: result.etag + (params.cursor === undefined ? '' : `-${params.cursor}`),
    })),
  },
  {
    check: 'list-private',
    wrong: 'declares the list publicly cacheable',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/list' ? { ...result, cacheScope: 'public' } : result,
    },
  },
  {
    check: 'type-payload-valid',
    wrong: 'reports an event that does not fit the payloadSchema as redacted',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? {
              ...result,
              gaps: result.gaps?.map((gap: Json) =>
                gap.reason === 'invalid' ? { ...gap, reason: 'redacted' } : gap,
              ),
            }
          : result,
    },
  },
  {
    check: 'type-payload-valid',
    wrong: 'delivers data that does not fit the payloadSchema',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? {
              ...result,
              events: result.events.map((event: Json) => ({
                ...event,
                data: { ...event.data, n: 'one' },
              })),
            }
          : result,
    },
  },
];
