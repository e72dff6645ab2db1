/** Servers whose pulls are wrong. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';

/** Changes what the server is asked in a pull. */
const asked = (change: (params: Json, passing: Passing) => void): BrokenServer['spoil'] => ({
  request: (passing) => {
    if (passing.method === 'triggers/pull') change(passing.params, passing);
  },
});
/** Changes what a pull is answered with. */
const answered = (change: (result: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  result: (result, passing) =>
    passing.method === 'triggers/pull' ? change(result, passing) : result,
});

export const pull: readonly BrokenServer[] = [
  {
    check: 'pull-after',
    wrong: 'reads from the start whatever the client says',
    spoil: asked((params) => {
      delete params.after;
    }),
  },
  {
    check: 'pull-after',
    wrong: 'forgets what was acknowledged',
    spoil: asked((params, { memory }) => {
      if (params.ack) memory['epoch'] = params.ack.epoch;
      else if (memory['epoch']) params.after ??= { epoch: memory['epoch'], sequence: 0 };
    }),
  },
  {
    check: 'pull-max',
    wrong: 'ignores maxEvents',
    spoil: asked((params) => {
      if (params.maxEvents > 0) delete params.maxEvents;
    }),
  },
  {
    check: 'pull-has-more',
    wrong: 'never says that there is more',
    spoil: answered((result) => ({ ...result, hasMore: false })),
  },
  {
    check: 'pull-next',
    wrong: 'makes the client wait though there is more',
    spoil: answered((result) => ({ ...result, nextPollMs: 5000 })),
  },
  {
    check: 'pull-zero',
    wrong: 'takes 0 for the default',
    spoil: asked((params) => {
      if (params.maxEvents === 0) delete params.maxEvents;
    }),
  },
  {
    check: 'pull-no-ack',
    wrong: 'takes `after` for an acknowledgement',
    spoil: asked((params) => {
      if (params.after) params.ack ??= params.after;
    }),
  },
  {
    check: 'pull-ack-first',
    wrong: 'forgets the acknowledgement',
    spoil: asked((params) => {
      delete params.ack;
    }),
  },
  {
    check: 'pull-ack-first',
    wrong: 'reads though the acknowledgement is refused',
    spoil: {
      error: async (error, { method, params, ask }) =>
        method === 'triggers/pull'
          ? { result: (await ask(method, { ...params, ack: undefined })).result }
          : { error },
    },
  },
  {
    check: 'pull-wait',
    wrong: 'does not wait',
    spoil: asked((params) => {
      delete params.waitMs;
    }),
  },
  {
    check: 'pull-wait',
    wrong: 'waits its time out whatever happens',
    spoil: answered((result, { params }) =>
      params.waitMs > 10_000 && result.events.length > 0 ? { ...result, events: [] } : result,
    ),
  },
  {
    check: 'pull-bytes',
    wrong: 'sends everything at once',
    spoil: answered(async (result, { params, ask }) => {
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
    check: 'pull-resumes',
    wrong: 'leaves a callback suspended',
    spoil: {
      result: (result, { method, memory }) => {
        if (method === 'triggers/get' && result.status === 'suspended') memory['suspended'] = true;
        return method === 'triggers/get' && memory['suspended'] === true
          ? { ...result, status: 'suspended' }
          : result;
      },
    },
  },
  {
    check: 'pull-resumes',
    wrong: 'brings a callback back for a pull of nothing',
    spoil: asked((params) => {
      if (params.maxEvents === 0) delete params.maxEvents;
    }),
  },
  {
    check: 'pull-not-callback',
    wrong: 'refuses to pull a log that has a callback',
    spoil: {
      result: (result, { method, memory, params }) => {
        if (method === 'triggers/subscribe' && params.callback)
          memory[result.subscriptionId] = true;
        return result;
      },
      request: ({ method, params, memory }) =>
        method === 'triggers/pull' && memory[params.subscriptionId] === true
          ? { error: { code: -32026, message: 'Not offered.', data: { feature: 'pull' } } }
          : undefined,
    },
  },
];
