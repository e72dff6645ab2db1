/** Servers whose list of trigger types is wrong. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';

const listed = (change: (result: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  result: (result, passing) =>
    passing.method === 'triggers/list' && result.triggers !== undefined
      ? change(result, passing)
      : result,
});

export const catalog: readonly BrokenServer[] = [
  {
    check: 'type-unique',
    wrong: 'lists a type twice',
    spoil: listed((result) => ({ ...result, triggers: [...result.triggers, result.triggers[0]] })),
  },
  {
    check: 'type-reserved',
    wrong: 'uses a reserved name as it likes',
    spoil: listed((result) => ({
      ...result,
      triggers: result.triggers.map((type: Json, at: number) =>
        at === 0 ? { ...type, name: 'mcp.resource.updated' } : type,
      ),
    })),
  },
  {
    check: 'type-reserved',
    wrong: 'makes up a reserved name',
    spoil: listed((result) => ({
      ...result,
      triggers: result.triggers.map((type: Json, at: number) =>
        at === 0 ? { ...type, name: 'mcp.weather' } : type,
      ),
    })),
  },
  {
    check: 'list-not-modified',
    wrong: 'always sends the list',
    spoil: {
      request: ({ method, params }) => {
        if (method === 'triggers/list') delete params.ifNoneMatch;
      },
    },
  },
  {
    check: 'list-not-modified',
    wrong: 'sends a list with notModified',
    spoil: {
      result: async (result, { method, ask }) =>
        method === 'triggers/list' && result.notModified
          ? { ...result, triggers: (await ask(method, {})).result.triggers }
          : result,
    },
  },
  {
    check: 'list-etag-pages',
    wrong: 'has an etag for each page',
    spoil: listed((result, { params }) => ({
      ...result,
      etag: result.etag + (params.cursor === undefined ? '' : `-${params.cursor}`),
    })),
  },
  {
    check: 'list-private',
    wrong: 'lets everybody cache what one principal sees',
    spoil: {
      result: (result, { method }) =>
        method === 'triggers/list' ? { ...result, cacheScope: 'public' } : result,
    },
  },
  {
    check: 'type-payload-valid',
    wrong: 'appends whatever comes',
    spoil: {
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
