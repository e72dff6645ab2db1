/** Servers that misunderstand what endpoints answer. */
import { lastOf } from '../../../runner/server/callback-endpoint.ts';
import type { BrokenServer, CallbackAnswer, Calling, Json, Passing } from '../proxy.ts';

/** Changes what is heard of an answer to a delivery. */
const heard = (
  change: (
    answer: CallbackAnswer,
    said: Json,
    calling: Calling,
  ) => CallbackAnswer | Promise<CallbackAnswer>,
): BrokenServer['spoil'] => ({
  answered: (answer, calling) =>
    calling.body.params.challenge === undefined ? change(answer, saidIn(answer), calling) : answer,
});
const words = (said: Json): CallbackAnswer => ({
  status: 200,
  headers: {},
  body: JSON.stringify(said),
});
const all = ({ body }: Calling): CallbackAnswer => words({ ack: lastOf(body.params) });
const status = (
  from: (answer: CallbackAnswer, calling: Calling) => boolean,
  to: number,
): BrokenServer['spoil'] =>
  heard((answer, _, calling) => (from(answer, calling) ? { ...answer, status: to } : answer));
const good = ({ status: one }: CallbackAnswer): boolean => one >= 200 && one < 300;
/** Takes an answer for a success that moves nothing: nobody is told of the failure. */
const content = (fits: (said: Json, calling: Calling) => boolean): BrokenServer['spoil'] => ({
  ...heard((answer, said, calling) => {
    if (good(answer) && fits(said, calling))
      calling.memory[calling.body.params.subscriptionId] = true;
    return answer;
  }),
  result: (result, { method, memory }) =>
    method === 'triggers/get' && memory[result.subscriptionId] === true
      ? { ...result, callback: { ...result.callback, health: { attempts: 0 } } }
      : result,
});
const deliveries =
  (
    change: (params: Json, calling: Calling) => void,
  ): NonNullable<BrokenServer['spoil']['callback']> =>
  (calling) => {
    if (calling.body.params.challenge === undefined) change(calling.body.params, calling);
  };
const renamed = (from: string, to: string): BrokenServer['spoil'] => ({
  callback: deliveries((params) => {
    if (params.gaps !== undefined)
      params.gaps = params.gaps.map((gap: Json) =>
        gap.reason === from ? { ...gap, reason: to } : gap,
      );
  }),
});
const got = (change: (result: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  result: (result, passing) =>
    passing.method === 'triggers/get' ? change(result, passing) : result,
});
const later = (
  change: (value: string, answer: CallbackAnswer) => string | undefined,
): BrokenServer['spoil'] =>
  heard((answer) => {
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
    wrong: 'wants status 200',
    spoil: status((answer) => good(answer) && answer.status !== 200, 500),
  },
  {
    check: 'ans-ack',
    wrong: 'wants the content type to be JSON',
    spoil: heard((answer) =>
      answer.headers['content-type'] === 'application/json' ? answer : { ...answer, body: '' },
    ),
  },
  {
    check: 'ans-ack',
    wrong: 'wants no other members',
    spoil: heard((answer, said) =>
      said?.ack !== undefined &&
      Object.keys(said).some((name) => name !== 'ack' && name !== 'reject')
        ? { ...answer, body: '' }
        : answer,
    ),
  },
  {
    check: 'ans-ack',
    wrong: 'acknowledges one number at a time',
    spoil: heard((answer, said, { body }) =>
      said?.ack > body.params.after + 1 ? words({ ack: body.params.after + 1 }) : answer,
    ),
  },
  {
    check: 'ans-ack-bound',
    wrong: 'cuts `ack` to what was sent',
    spoil: heard((answer, said, calling) =>
      said?.ack > lastOf(calling.body.params) && said.reject === undefined ? all(calling) : answer,
    ),
  },
  {
    check: 'ans-ack-bound',
    wrong: 'is content with an old `ack`',
    spoil: content((said, { body }) => said?.ack < body.params.after),
  },
  {
    check: 'ans-no-ack',
    wrong: 'takes any 2xx for an acknowledgement',
    spoil: heard((answer, said, calling) =>
      good(answer) && said?.ack === undefined ? all(calling) : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'reads texts as numbers',
    spoil: heard((answer, said) =>
      typeof said?.ack === 'string' ? words({ ack: Number(said.ack) }) : answer,
    ),
  },
  {
    check: 'ans-no-ack',
    wrong: 'rounds',
    spoil: heard((answer, said) => (said?.ack === 1.5 ? words({ ack: 1 }) : answer)),
  },
  {
    check: 'ans-no-ack',
    wrong: 'reads what begins well',
    spoil: heard((answer) => (answer.body === '{"ack":1' ? words({ ack: 1 }) : answer)),
  },
  {
    check: 'ans-no-progress',
    wrong: 'is content with no progress',
    spoil: content(
      (said, { body }) => said?.ack === body.params.after && said.reject === undefined,
    ),
  },
  {
    check: 'ans-no-progress',
    wrong: 'takes no progress for a 5xx',
    spoil: heard((answer, said, { body }) =>
      good(answer) && said?.ack === body.params.after && said.reject === undefined
        ? { ...answer, status: 500 }
        : answer,
    ),
  },
  {
    check: 'ans-partial',
    wrong: 'takes a part for the whole',
    spoil: heard((answer, said, calling) =>
      said?.ack < lastOf(calling.body.params) && said.reject === undefined ? all(calling) : answer,
    ),
  },
  {
    check: 'ans-partial',
    wrong: 'sends everything again',
    spoil: heard((answer, said, calling) =>
      said?.ack < lastOf(calling.body.params) ? { ...answer, status: 503 } : answer,
    ),
  },
  {
    check: 'ans-reject',
    wrong: 'does not know `reject`',
    spoil: heard((answer, said) =>
      said?.reject === undefined ? answer : words({ ack: said.ack }),
    ),
  },
  {
    check: 'ans-reject',
    wrong: 'takes `reject` for an acknowledgement',
    spoil: heard((answer, said) =>
      said?.reject === undefined ? answer : words({ ack: said.reject.sequence }),
    ),
  },
  {
    check: 'ans-reject',
    wrong: 'calls the gap abandoned',
    spoil: renamed('rejected', 'abandoned'),
  },
  {
    check: 'ans-reject',
    wrong: 'gives a gap another reason',
    spoil: renamed('redacted', 'rejected'),
  },
  {
    check: 'ans-reject-other',
    wrong: 'believes the `ack` and forgets the `reject`',
    spoil: heard((answer, said) =>
      said?.reject !== undefined && said.reject.sequence !== said.ack + 1
        ? words({ ack: Math.max(1, said.ack) })
        : answer,
    ),
  },
  {
    check: 'ans-reject-other',
    wrong: 'rejects whatever number it is told',
    spoil: heard((answer, said, { body }) =>
      said?.reject?.sequence > lastOf(body.params) ? words({ ack: said.ack }) : answer,
    ),
  },
  {
    check: 'ans-no-redirect',
    wrong: 'follows redirects',
    spoil: heard(async (answer, _, { body, headers }) => {
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
    wrong: 'takes a redirect for a failure of the server',
    spoil: status((answer) => answer.status >= 300 && answer.status < 400, 502),
  },
  {
    check: 'ans-gone',
    wrong: 'tries again after 410',
    spoil: status((answer) => answer.status === 410, 404),
  },
  {
    check: 'ans-gone',
    wrong: 'suspends after 410',
    spoil: got((result) =>
      result.callback === undefined ? { ...result, status: 'suspended' } : result,
    ),
  },
  {
    check: 'ans-gone',
    wrong: 'ends the subscription after 410',
    spoil: {
      ...heard((answer, _, { memory, body }) => {
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
    wrong: 'forgets the log after 410',
    spoil: {
      result: (result, { method }) =>
        method === 'triggers/pull'
          ? {
              ...result,
              events: [],
              gaps:
                result.events.length > 0
                  ? [{ from: 1, to: result.events.at(-1).sequence, reason: 'abandoned' }]
                  : undefined,
            }
          : result,
    },
  },
  {
    check: 'retry-categories',
    wrong: 'has a category of its own',
    spoil: got((result) =>
      result.callback?.health.lastError === 'http_4xx'
        ? {
            ...result,
            callback: {
              ...result.callback,
              health: { ...result.callback.health, lastError: 'redirect' },
            },
          }
        : result,
    ),
  },
  {
    check: 'retry-categories',
    wrong: 'shows the status',
    spoil: got((result) =>
      result.callback?.health.lastError === 'http_5xx'
        ? {
            ...result,
            callback: {
              ...result.callback,
              health: { ...result.callback.health, lastError: 'http_503' },
            },
          }
        : result,
    ),
  },
  {
    check: 'retry-categories',
    wrong: 'says of a challenge what the system said',
    spoil: {
      error: (error) => ({
        error:
          error.data?.reason === 'connection_refused'
            ? { ...error, data: { reason: 'ECONNREFUSED' } }
            : error,
      }),
    },
  },
  {
    check: 'ans-category-only',
    wrong: 'shows the answer for debugging',
    spoil: {
      ...heard((answer, _, { memory }) => {
        memory['said'] = answer.body;
        return answer;
      }),
      ...got((result, { memory }) =>
        result.callback?.health.attempts > 0
          ? {
              ...result,
              callback: {
                ...result.callback,
                health: { ...result.callback.health, detail: memory['said'] },
              },
            }
          : result,
      ),
    },
  },
  {
    check: 'ans-category-only',
    wrong: 'shows the status',
    spoil: {
      ...heard((answer, _, { memory }) => {
        memory['status'] = answer.status;
        return answer;
      }),
      ...got((result, { memory }) =>
        result.callback?.health.attempts > 0
          ? {
              ...result,
              callback: {
                ...result.callback,
                health: { ...result.callback.health, httpStatus: memory['status'] },
              },
            }
          : result,
      ),
    },
  },
  {
    check: 'ans-category-only',
    wrong: 'explains the failure of a challenge',
    spoil: {
      answered: (answer, { memory }) => {
        memory['said'] = answer.body;
        return answer;
      },
      error: (error, { memory }) => ({
        error: { ...error, message: `${error.message} It said ${memory['said']}` },
      }),
    },
  },
  {
    check: 'ans-413',
    wrong: 'sends as many again',
    spoil: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length > 1,
      503,
    ),
  },
  {
    check: 'ans-413',
    wrong: 'sends one fewer',
    spoil: {
      answered: (answer, { body, memory }) => {
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
    check: 'ans-413-single',
    wrong: 'tries an event that is too large again',
    spoil: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length === 1,
      503,
    ),
  },
  {
    check: 'ans-413-single',
    wrong: 'calls the gap abandoned',
    spoil: renamed('too_large', 'abandoned'),
  },
  {
    check: 'ans-413-empty',
    wrong: 'takes it for a failure of the server',
    spoil: status(
      (answer, { body }) => answer.status === 413 && body.params.events.length === 0,
      503,
    ),
  },
  {
    check: 'ans-413-empty',
    wrong: 'suspends at once',
    spoil: {
      ...heard((answer, _, { memory, body }) => {
        if (answer.status === 413 && body.params.events.length === 0)
          memory[body.params.subscriptionId] = true;
        return answer;
      }),
      ...got((result, { memory }) =>
        memory[result.subscriptionId] === true ? { ...result, status: 'suspended' } : result,
      ),
    },
  },
  { check: 'ans-retry-after', wrong: 'does not know Retry-After', spoil: later(() => undefined) },
  {
    check: 'ans-retry-after',
    wrong: 'knows seconds only',
    spoil: later((value) => (/^[0-9]+$/.test(value) ? value : undefined)),
  },
  {
    check: 'ans-retry-after',
    wrong: 'knows it with 503 only',
    spoil: later((value, answer) => (answer.status === 503 ? value : undefined)),
  },
  {
    check: 'ans-retry-after',
    wrong: 'waits five minutes at most',
    spoil: later((value) =>
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
