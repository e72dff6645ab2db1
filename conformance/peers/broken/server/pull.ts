/** Servers whose pulls are broken. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';

/** Changes the params of a pull. */
const asked = (change: (params: Json, proxied: ProxiedRequest) => void): BrokenServer['fault'] => ({
  request: (proxied) => {
    if (proxied.method === 'triggers/pull') change(proxied.params, proxied);
  },
});
/** Changes the result of a pull. */
const answered = (
  change: (result: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  result: (result, proxied) =>
    proxied.method === 'triggers/pull' ? change(result, proxied) : result,
});

export const pull: readonly BrokenServer[] = [
  {
    check: 'pull-after',
    wrong: 'ignores after',
    fault: asked((params) => {
      delete params.after;
    }),
  },
  {
    check: 'pull-after',
    wrong: 'starts at 0 instead of acked',
    fault: asked((params, { memory }) => {
      if (params.ack) memory['epoch'] = params.ack.epoch;
      else if (memory['epoch']) params.after ??= { epoch: memory['epoch'], sequence: 0 };
    }),
  },
  {
    check: 'pull-max',
    wrong: 'ignores maxEvents',
    fault: asked((params) => {
      if (params.maxEvents > 0) delete params.maxEvents;
    }),
  },
  {
    check: 'pull-has-more',
    wrong: 'always sends hasMore: false',
    fault: answered((result) => ({ ...result, hasMore: false })),
  },
  {
    check: 'pull-has-more',
    wrong: 'sends nextPollMs although more follows',
    fault: answered((result) => ({ ...result, nextPollMs: 5000 })),
  },
  {
    check: 'pull-max',
    wrong: 'treats maxEvents 0 as the default',
    fault: asked((params) => {
      if (params.maxEvents === 0) delete params.maxEvents;
    }),
  },
  {
    check: 'ack-only-said',
    wrong: 'treats after as an acknowledgement',
    fault: asked((params) => {
      if (params.after) params.ack ??= params.after;
    }),
  },
  {
    check: 'pull-ack-first',
    wrong: 'ignores ack',
    fault: asked((params) => {
      delete params.ack;
    }),
  },
  {
    check: 'pull-ack-first',
    wrong: 'answers a pull although it rejects its ack',
    fault: {
      error: async (error, { method, params, ask }) =>
        method === 'triggers/pull'
          ? { result: (await ask(method, { ...params, ack: undefined })).result }
          : { error },
    },
  },
  {
    check: 'pull-wait',
    wrong: 'ignores waitMs',
    fault: asked((params) => {
      delete params.waitMs;
    }),
  },
  {
    check: 'pull-wait',
    wrong: 'waits the full time although events arrive',
    fault: answered((result, { params }) =>
      params.waitMs > 10_000 && result.events.length > 0 ? { ...result, events: [] } : result,
    ),
  },
  {
    check: 'pull-bytes',
    wrong: 'sends more bytes than allowed',
    fault: answered(async (result, { params, ask }) => {
      const events: Json[] = [...result.events];
      for (let more = result.hasMore; more;) {
        const next = (
          await ask('triggers/pull', {
            subscriptionId: params.subscriptionId,
            after: { epoch: result.epoch, sequence: events.at(-1).sequence },
          })
        ).result;
        events.push(...next.events);
        more = next.hasMore;
      }
      return { ...result, events, hasMore: false };
    }),
  },
  {
    check: 'sub-only-client-resumes',
    wrong: 'resumes a suspended callback on pull',
    fault: {
      request: async ({ method, params: { subscriptionId, maxEvents }, ask }) => {
        if (method === 'triggers/pull' && maxEvents !== 0)
          await ask('triggers/update', { subscriptionId, resume: true });
      },
    },
  },
  {
    check: 'cap-levels',
    wrong: 'rejects a pull of a log with a callback',
    fault: {
      result: (result, { method, memory, params }) => {
        if (method === 'triggers/subscribe' && params.callback)
          memory[result.subscriptionId] = true;
        return result;
      },
      request: ({ method, params, memory }) =>
        method === 'triggers/pull' && memory[params.subscriptionId] === true
          ? {
              error: {
                code: -32026,
                message: 'Not offered.',
                data: { kind: 'feature', feature: 'pull' },
              },
            }
          : undefined,
    },
  },
];
