/** Servers that give up too early, too late or in the wrong way. */
import { onResult, stateOf, withHealth, withState } from '../fault-builders.ts';
import type { BrokenServer, CallbackAnswer, CallbackRequest, Json } from '../proxy.ts';

/** Changes the answer to a delivery; `n` is the number of failures of its subscription so far. */
const onAnswer = (
  change: (answer: CallbackAnswer, outgoing: CallbackRequest, n: number) => CallbackAnswer,
): BrokenServer['fault'] => ({
  callbackAnswer: (answer, outgoing) => {
    const { challenge, subscriptionId } = outgoing.body.params;
    if (challenge !== undefined) return answer;
    const failed = `failures of ${subscriptionId}`;
    if (answer.status >= 300) outgoing.memory[failed] = (outgoing.memory[failed] ?? 0) + 1;
    return change(answer, outgoing, outgoing.memory[failed] ?? 0);
  },
});
const waits = (seconds: (n: number) => number): BrokenServer['fault'] =>
  onAnswer((answer, _, n) =>
    answer.status === 503
      ? { ...answer, headers: { ...answer.headers, 'retry-after': String(seconds(n)) } }
      : answer,
  );

export const failure: readonly BrokenServer[] = [
  {
    check: 'retry-probe',
    wrong: 'never challenges a suspended endpoint',
    fault: {
      callback: ({ body, memory }) => {
        const { challenge, subscriptionId } = body.params;
        const known = `challenged ${subscriptionId}`;
        if (challenge !== undefined && memory[known] === true)
          return { status: 503, headers: {}, body: '' };
        memory[known] = true;
        return undefined;
      },
    },
  },
  {
    check: 'retry-config-limit',
    wrong: 'never suspends after 4xx answers',
    fault: onAnswer((answer) =>
      answer.status === 404 || answer.status === 422 ? { ...answer, status: 503 } : answer,
    ),
  },
  {
    check: 'retry-config-limit',
    wrong: 'suspends after three 4xx answers',
    fault: onResult(['get'], (result) =>
      result.callback?.health.attempts >= 3 && result.callback.health.lastError === 'http_4xx'
        ? withState(result, 'suspended')
        : result,
    ),
  },
  {
    check: 'retry-config-limit',
    wrong: 'suspends after five 4xx answers within ten minutes',
    fault: onResult(['get'], (result) =>
      result.callback?.health.attempts >= 5 && result.callback.health.lastError === 'http_4xx'
        ? withState(result, 'suspended')
        : result,
    ),
  },
  {
    check: 'retry-config-limit',
    wrong: 'suspends after 5xx answers',
    fault: onResult(['get'], (result) =>
      result.callback?.health.attempts >= 5 && result.callback.health.lastError === 'http_5xx'
        ? withState(result, 'suspended')
        : result,
    ),
  },
  {
    check: 'retry-suspend',
    wrong: 'pauses instead of suspending',
    fault: onResult(['get'], (result) =>
      stateOf(result) === 'suspended' ? { ...withState(result, 'ok'), paused: true } : result,
    ),
  },
  {
    check: 'retry-suspend',
    wrong: 'discards the log on suspension',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? { ...result, events: [], gaps: [{ from: 1, to: 3, reason: 'skipped' }] }
          : result,
    },
  },
  {
    check: 'retry-suspend',
    wrong: 'acknowledges undelivered events on suspension',
    fault: onResult(['get'], (result) =>
      stateOf(result) === 'suspended' ? { ...result, acked: result.head } : result,
    ),
  },
  {
    check: 'retry-suspend',
    wrong: 'keeps retrying after suspension',
    fault: onAnswer((answer, outgoing, n) => {
      if (n === 5)
        for (let at = 1; at <= 200; at += 1)
          setTimeout(() => void outgoing.send().catch(() => undefined), at * 100).unref();
      return answer;
    }),
  },
  {
    check: 'retry-skip',
    wrong: 'never skips an event',
    fault: {
      request: ({ params }) => {
        if (params.callback) delete params.callback.skipAfterMs;
      },
    },
  },
  {
    check: 'retry-skip',
    wrong: 'skips an event too early',
    fault: {
      request: ({ params }) => {
        if (params.callback?.skipAfterMs) params.callback.skipAfterMs = 60_000;
      },
    },
  },
  {
    check: 'retry-skip-config',
    wrong: 'skips an event after configuration failures',
    fault: onAnswer((answer) => (answer.status === 422 ? { ...answer, status: 500 } : answer)),
  },
  {
    check: 'retry-skip',
    wrong: 'reports the gap as rejected',
    fault: {
      callback: ({ body: { params } }) => {
        if (params.gaps !== undefined)
          params.gaps = params.gaps.map((gap: Json) => ({ ...gap, reason: 'rejected' }));
      },
    },
  },
  {
    check: 'retry-skip',
    wrong: 'skips all waiting events',
    fault: {
      callback: ({ body: { params } }) => {
        if (params.gaps !== undefined)
          Object.assign(params, { gaps: [{ ...params.gaps[0], to: params.head }], events: [] });
      },
    },
  },
  {
    check: 'retry-skip',
    wrong: 'keeps the failure counters after a skip',
    fault: onResult(['get'], (result) =>
      result.callback?.skipAfterMs && result.acked > 0
        ? withHealth(result, { attempts: 5, failingSince: result.createdAt })
        : result,
    ),
  },
  {
    check: 'retry-success',
    wrong: 'keeps the last error after a success',
    fault: onResult(['get'], (result) =>
      result.acked > 0 && result.callback?.health.attempts === 0
        ? withHealth(result, { failingSince: result.createdAt, lastError: 'http_4xx' })
        : result,
    ),
  },
  {
    check: 'retry-success',
    wrong: 'keeps counting failures across a success',
    fault: onResult(['get'], (result) =>
      result.acked > 0 && result.callback?.health.attempts > 0
        ? withState(result, 'suspended')
        : result,
    ),
  },
  {
    check: 'retry-success',
    wrong: 'stops counting failures after a success',
    fault: onAnswer((answer, { body }) =>
      body.params.afterSequence > 0 && answer.status === 404 ? { ...answer, status: 503 } : answer,
    ),
  },
  {
    check: 'retry-restart',
    wrong: 'treats an attempt that a crash interrupted as done',
    fault: {
      callback: ({ headers, memory, body: { params } }) => {
        const known = memory[headers['webhook-id']!] === true;
        memory[headers['webhook-id']!] = true;
        return known
          ? { status: 200, headers: {}, body: JSON.stringify({ ackSequence: params.head }) }
          : undefined;
      },
    },
  },
  { check: 'retry-backoff', wrong: 'uses a constant backoff', fault: waits(() => 10) },
  {
    check: 'retry-backoff',
    wrong: 'uses no jitter',
    fault: waits((n) => 2 ** (n - 1)),
  },
];
