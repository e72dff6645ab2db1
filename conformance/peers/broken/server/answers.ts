/** Servers that misinterpret the answers of endpoints. */
import { lastOf } from '../../../runner/server/callback-endpoint.ts';
import { onResult, withHealth, withState } from '../fault-builders.ts';
import type { BrokenServer, CallbackAnswer, CallbackRequest, Json } from '../proxy.ts';

/** Changes an endpoint's answer to a delivery. */
const onAnswer = (
  change: (
    answer: CallbackAnswer,
    said: Json,
    outgoing: CallbackRequest,
  ) => CallbackAnswer | Promise<CallbackAnswer>,
): BrokenServer['fault'] => ({
  callbackAnswer: (answer, outgoing) =>
    outgoing.body.params.challenge === undefined
      ? change(answer, saidIn(answer), outgoing)
      : answer,
});
const jsonAnswer = (said: Json): CallbackAnswer => ({
  status: 200,
  headers: {},
  body: JSON.stringify(said),
});
const all = ({ body }: CallbackRequest): CallbackAnswer =>
  jsonAnswer({ ackSequence: lastOf(body.params) });
const status = (
  from: (answer: CallbackAnswer, outgoing: CallbackRequest) => boolean,
  to: number,
): BrokenServer['fault'] =>
  onAnswer((answer, _, outgoing) => (from(answer, outgoing) ? { ...answer, status: to } : answer));
const good = ({ status: one }: CallbackAnswer): boolean => one >= 200 && one < 300;
/** Treats matching answers as a success without progress: reports no failure for them. */
const content = (
  fits: (said: Json, outgoing: CallbackRequest) => boolean,
): BrokenServer['fault'] => ({
  ...onAnswer((answer, said, outgoing) => {
    if (good(answer) && fits(said, outgoing))
      outgoing.memory[outgoing.body.params.subscriptionId] = true;
    return answer;
  }),
  result: (result, { method, memory }) =>
    method === 'triggers/get' && memory[result.subscriptionId] === true
      ? { ...result, callback: { ...result.callback, health: { attempts: 0 } } }
      : result,
});
const deliveries =
  (
    change: (params: Json, outgoing: CallbackRequest) => void,
  ): NonNullable<BrokenServer['fault']['callback']> =>
  (outgoing) => {
    if (outgoing.body.params.challenge === undefined) change(outgoing.body.params, outgoing);
  };
const renamed = (from: string, to: string): BrokenServer['fault'] => ({
  callback: deliveries((params) => {
    if (params.gaps !== undefined)
      params.gaps = params.gaps.map((gap: Json) =>
        gap.reason === from ? { ...gap, reason: to } : gap,
      );
  }),
});
const later = (
  change: (value: string, answer: CallbackAnswer) => string | undefined,
): BrokenServer['fault'] =>
  onAnswer((answer) => {
    const { 'retry-after': value, ...headers } = answer.headers;
    const other = value === undefined ? undefined : change(value, answer);
    return {
      ...answer,
      headers: other === undefined ? headers : { ...headers, 'retry-after': other },
    };
  });

export const answers: readonly BrokenServer[] = [
  {
    check: 'ans-ack',
    wrong: 'accepts only status 200',
    fault: status((answer) => good(answer) && answer.status !== 200, 500),
  },
  {
    check: 'ans-ack',
    wrong: 'accepts only the content type application/json',
    fault: onAnswer((answer) =>
      answer.headers['content-type'] === 'application/json' ? answer : { ...answer, body: '' },
    ),
  },
  {
    check: 'ans-ack',
    wrong: 'rejects an answer with further members',
    fault: onAnswer((answer, said) =>
      said?.ackSequence !== undefined &&
      Object.keys(said).some((name) => name !== 'ack' && name !== 'reject')
        ? { ...answer, body: '' }
        : answer,
    ),
  },
  {
    check: 'ans-ack',
    wrong: 'advances by one sequence number for each answer',
    fault: onAnswer((answer, said, { body }) =>
      said?.ackSequence > body.params.afterSequence + 1
        ? jsonAnswer({ ackSequence: body.params.afterSequence + 1 })
        : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'clamps an ack that is too high',
    fault: onAnswer((answer, said, outgoing) =>
      said?.ackSequence > lastOf(outgoing.body.params) && said.reject === undefined
        ? all(outgoing)
        : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'ignores an ack that is too low',
    fault: content((said, { body }) => said?.ackSequence < body.params.afterSequence),
  },
  {
    check: 'ans-no-ack',
    wrong: 'treats any 2xx as an acknowledgement',
    fault: onAnswer((answer, said, outgoing) =>
      good(answer) && said?.ackSequence === undefined ? all(outgoing) : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'accepts an ack that is a string',
    fault: onAnswer((answer, said) =>
      typeof said?.ackSequence === 'string'
        ? jsonAnswer({ ackSequence: Number(said.ackSequence) })
        : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'rounds a fractional ack',
    fault: onAnswer((answer, said) =>
      said?.ackSequence === 1.5 ? jsonAnswer({ ackSequence: 1 }) : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'accepts truncated JSON',
    fault: onAnswer((answer) =>
      answer.body === '{"ackSequence":1' ? jsonAnswer({ ackSequence: 1 }) : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'treats no progress as a success',
    fault: content(
      (said, { body }) =>
        said?.ackSequence === body.params.afterSequence && said.reject === undefined,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'treats no progress as http_5xx',
    fault: onAnswer((answer, said, { body }) =>
      good(answer) && said?.ackSequence === body.params.afterSequence && said.reject === undefined
        ? { ...answer, status: 500 }
        : answer,
    ),
  },
  {
    check: 'ans-partial',
    wrong: 'treats a partial ack as a full one',
    fault: onAnswer((answer, said, outgoing) =>
      said?.ackSequence < lastOf(outgoing.body.params) && said.reject === undefined
        ? all(outgoing)
        : answer,
    ),
  },
  {
    check: 'ans-partial',
    wrong: 'sends the rest at once after a partial ack',
    fault: onAnswer(async (answer, said, outgoing) => {
      const { params } = outgoing.body;
      if (!(said?.ackSequence < lastOf(params)) || said.reject !== undefined) return answer;
      const afterSequence: number = said.ackSequence;
      const events = params.events.filter(({ sequence }: Json) => sequence > afterSequence);
      return outgoing.send({
        body: { ...outgoing.body, params: { ...params, afterSequence, events } },
      });
    }),
  },
  {
    check: 'ans-partial',
    wrong: 'sends everything again after a partial ack',
    fault: onAnswer((answer, said, outgoing) =>
      said?.ackSequence < lastOf(outgoing.body.params) ? { ...answer, status: 503 } : answer,
    ),
  },
  {
    check: 'ans-reject',
    wrong: 'ignores reject',
    fault: onAnswer((answer, said) =>
      said?.reject === undefined ? answer : jsonAnswer({ ackSequence: said.ackSequence }),
    ),
  },
  {
    check: 'ans-reject',
    wrong: 'treats reject as an acknowledgement',
    fault: onAnswer((answer, said) =>
      said?.reject === undefined ? answer : jsonAnswer({ ackSequence: said.reject.sequence }),
    ),
  },
  {
    check: 'ans-reject',
    wrong: 'reports the gap of a rejected event as skipped',
    fault: renamed('rejected', 'skipped'),
  },
  {
    check: 'ans-reject-gap',
    wrong: 'reports a redacted event as rejected when the endpoint rejects it',
    fault: renamed('redacted', 'rejected'),
  },
  {
    check: 'ans-reject-gap',
    wrong: 'takes the rejection of a gap as a failure',
    fault: onAnswer((answer, said, { body }) =>
      body.params.gaps?.some(
        ({ from, to }: Json) => from <= said?.reject?.sequence && said.reject.sequence <= to,
      )
        ? { ...answer, status: 503 }
        : answer,
    ),
  },
  {
    check: 'ans-reject-other',
    wrong: 'applies the ack and ignores an invalid reject',
    fault: onAnswer((answer, said) =>
      said?.reject !== undefined && said.reject.sequence !== said.ackSequence + 1
        ? jsonAnswer({ ackSequence: Math.max(1, said.ackSequence) })
        : answer,
    ),
  },
  {
    check: 'ans-reject-other',
    wrong: 'applies a reject beyond the delivery',
    fault: onAnswer((answer, said, { body }) =>
      said?.reject?.sequence > lastOf(body.params)
        ? jsonAnswer({ ackSequence: said.ackSequence })
        : answer,
    ),
  },
  {
    check: 'ans-no-redirect',
    wrong: 'follows redirects',
    fault: onAnswer(async (answer, _, { body, headers }) => {
      if (answer.headers['location'] === undefined) return answer;
      const second = await fetch(answer.headers['location'], {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      });
      return { status: second.status, headers: {}, body: await second.text() };
    }),
  },
  {
    check: 'ans-no-redirect',
    wrong: 'treats a redirect as http_5xx',
    fault: status((answer) => answer.status >= 300 && answer.status < 400, 502),
  },
  {
    check: 'ans-gone',
    wrong: 'retries after 410',
    fault: status((answer) => answer.status === 410, 404),
  },
  {
    check: 'ans-gone',
    wrong: 'removes the callback after 410',
    fault: {
      result: async (result, { method, ask }) => {
        if (method !== 'triggers/get' || result.callback?.health.lastError !== 'gone')
          return result;
        const { subscriptionId } = result;
        return (await ask('triggers/update', { subscriptionId, removeCallback: true })).result;
      },
    },
  },
  {
    check: 'ans-gone',
    wrong: 'ends the subscription after 410',
    fault: {
      ...onAnswer((answer, _, { memory, body }) => {
        if (answer.status === 410) memory[body.params.subscriptionId] = true;
        return answer;
      }),
      request: ({ memory, params }) =>
        memory[params.subscriptionId] === true
          ? {
              error: {
                code: -32023,
                message: 'Subscription not found.',
                data: { kind: 'subscription', reason: 'failed' },
              },
            }
          : undefined,
    },
  },
  {
    check: 'ans-gone',
    wrong: 'discards the log after 410',
    fault: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? {
              ...result,
              events: [],
              gaps:
                result.events.length > 0
                  ? [{ from: 1, to: result.events.at(-1).sequence, reason: 'skipped' }]
                  : undefined,
            }
          : result,
    },
  },
  {
    check: 'retry-categories',
    wrong: 'uses a failure category of its own',
    fault: onResult(['get'], (result) =>
      result.callback?.health.lastError === 'http_4xx'
        ? withHealth(result, { lastError: 'redirect' })
        : result,
    ),
  },
  {
    check: 'retry-categories',
    wrong: 'reports the status code instead of a category',
    fault: onResult(['get'], (result) =>
      result.callback?.health.lastError === 'http_5xx'
        ? withHealth(result, { lastError: 'http_503' })
        : result,
    ),
  },
  {
    check: 'retry-categories',
    wrong: 'reports a system error code for a failed challenge',
    fault: {
      error: (error) => ({
        error:
          error.data?.category === 'connection_refused'
            ? { ...error, data: { kind: 'callback', category: 'ECONNREFUSED' } }
            : error,
      }),
    },
  },
  {
    check: 'ans-category-only',
    wrong: "reports the endpoint's answer in health",
    fault: {
      ...onAnswer((answer, _, { memory }) => {
        memory['said'] = answer.body;
        return answer;
      }),
      ...onResult(['get'], (result, { memory }) =>
        result.callback?.health.attempts > 0
          ? withHealth(result, { detail: memory['said'] })
          : result,
      ),
    },
  },
  {
    check: 'ans-category-only',
    wrong: 'reports the status code in health',
    fault: {
      ...onAnswer((answer, _, { memory }) => {
        memory['status'] = answer.status;
        return answer;
      }),
      ...onResult(['get'], (result, { memory }) =>
        result.callback?.health.attempts > 0
          ? withHealth(result, { httpStatus: memory['status'] })
          : result,
      ),
    },
  },
  {
    check: 'ans-category-only',
    wrong: "includes the endpoint's answer in the error",
    fault: {
      callbackAnswer: (answer, { memory }) => {
        memory['said'] = answer.body;
        return answer;
      },
      error: (error, { memory }) => ({
        error: { ...error, message: `${error.message} It answered ${memory['said']}` },
      }),
    },
  },
  {
    check: 'ans-413',
    wrong: 'sends as many events again after 413',
    fault: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length > 1,
      503,
    ),
  },
  {
    check: 'ans-413',
    wrong: 'sends one event fewer after 413',
    fault: {
      callbackAnswer: (answer, { body, memory }) => {
        const { events, subscriptionId } = body.params;
        if (answer.status !== 413 || events.length < 2) return answer;
        memory[subscriptionId] = events.length - 1;
        return { ...answer, status: 503 };
      },
      callback: deliveries((params, { memory }) => {
        if (params.events.length > memory[params.subscriptionId])
          params.events.length = memory[params.subscriptionId];
      }),
    },
  },
  {
    check: 'ans-413',
    wrong: 'retries a single event after 413',
    fault: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length === 1,
      503,
    ),
  },
  {
    check: 'ans-413',
    wrong: 'reports the gap of an event that is too large as skipped',
    fault: renamed('too_large', 'skipped'),
  },
  {
    check: 'ans-413',
    wrong: 'suspends the callback after 413 for a single event',
    fault: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length === 1,
      410,
    ),
  },
  {
    check: 'ans-413',
    wrong: 'treats 413 to an empty delivery as http_5xx',
    fault: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length === 0,
      503,
    ),
  },
  {
    check: 'ans-413',
    wrong: 'suspends at once after 413 to an empty delivery',
    fault: {
      ...onAnswer((answer, _, { memory, body }) => {
        if (answer.status === 413 && body.params.events.length === 0)
          memory[body.params.subscriptionId] = true;
        return answer;
      }),
      ...onResult(['get'], (result, { memory }) =>
        memory[result.subscriptionId] === true ? withState(result, 'suspended') : result,
      ),
    },
  },
  { check: 'ans-retry-after', wrong: 'ignores Retry-After', fault: later(() => undefined) },
  {
    check: 'ans-retry-after',
    wrong: 'ignores Retry-After as a date',
    fault: later((value) => (/^[0-9]+$/.test(value) ? value : undefined)),
  },
  {
    check: 'ans-retry-after',
    wrong: 'ignores Retry-After unless the status is 503',
    fault: later((value, answer) => (answer.status === 503 ? value : undefined)),
  },
  {
    check: 'ans-retry-after',
    wrong: 'limits Retry-After to five minutes',
    fault: later((value) =>
      /^[0-9]+$/.test(value) ? String(Math.min(300, Number(value))) : value,
    ),
  },
];

function saidIn({ body }: CallbackAnswer): Json {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
