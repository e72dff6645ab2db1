/** Servers whose callback requests are broken, or that read answers wrongly. */
import { randomBytes } from 'node:crypto';
import { webhookIdOf } from '../../../runner/wire/sender.ts';
import type { BrokenServer, CallbackAnswer, CallbackRequest } from '../proxy.ts';

/** Changes every request to a callback. */
const sent = (
  change: (outgoing: CallbackRequest) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): BrokenServer['fault'] => ({ callback: change });
const isChallenge = ({ body }: CallbackRequest): boolean => body.params.challenge !== undefined;
const deliveries = (
  change: (outgoing: CallbackRequest) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): BrokenServer['fault'] =>
  sent((outgoing) => (isChallenge(outgoing) ? undefined : change(outgoing)));
const challenges = (change: (outgoing: CallbackRequest) => void): BrokenServer['fault'] =>
  sent((outgoing) => {
    if (isChallenge(outgoing)) change(outgoing);
  });
const without = (name: string): BrokenServer['fault'] =>
  sent((outgoing) => {
    outgoing.resign = name !== 'webhook-signature';
    delete outgoing.headers[name];
  });
/** Reports a failure this many milliseconds late. */
const patient = (moreMs: number): BrokenServer['fault'] => ({
  result: (result, { method, memory }) => {
    if (method !== 'triggers/get' || !(result.callback?.health.attempts > 0)) return result;
    const since = (memory[result.subscriptionId] ??= Date.now()) as number;
    return Date.now() - since > moreMs
      ? result
      : { ...result, callback: { ...result.callback, health: { attempts: 0 } } };
  },
});

export const callback: readonly BrokenServer[] = [
  {
    check: 'cb-post',
    wrong: 'sends a PUT',
    fault: sent((outgoing) => {
      outgoing.verb = 'PUT';
    }),
  },
  {
    check: 'cb-post',
    wrong: 'sends text/plain as content type',
    fault: sent((outgoing) => {
      outgoing.headers['content-type'] = 'text/plain';
    }),
  },
  {
    check: 'cb-post',
    wrong: 'sends the notification with an id',
    fault: sent((outgoing) => {
      outgoing.body = { ...outgoing.body, id: 1 };
    }),
  },
  {
    check: 'cb-post',
    wrong: 'renames the notification',
    fault: sent((outgoing) => {
      outgoing.body = { ...outgoing.body, method: 'triggers/delivery' };
    }),
  },
  {
    check: 'cb-post',
    wrong: 'encodes the body as Latin-1',
    fault: sent((outgoing) => {
      outgoing.raw = Buffer.from(
        JSON.stringify(outgoing.body).replaceAll(/[^\u0000-\u00ff]/gu, '?'),
        'latin1',
      );
    }),
  },
  ...['webhook-id', 'webhook-timestamp', 'webhook-signature', 'mcp-subscription-id'].map(
    (name) => ({ check: 'cb-headers', wrong: `omits ${name}`, fault: without(name) }),
  ),
  {
    check: 'cb-headers',
    wrong: 'sends the key as MCP-Subscription-Id',
    fault: sent((outgoing) => {
      outgoing.headers['mcp-subscription-id'] = outgoing.body.params.key;
    }),
  },
  {
    check: 'cb-no-extra',
    wrong: 'sends cookies back',
    fault: {
      callback: ({ headers, memory }) => {
        if (memory['cookie'] !== undefined) headers['cookie'] = memory['cookie'];
      },
      callbackAnswer: (answer, { memory }) => {
        memory['cookie'] = 'session=do-not-repeat';
        return answer;
      },
    },
  },
  {
    check: 'cb-no-extra',
    wrong: 'sends its own credentials',
    fault: sent(({ headers }) => {
      headers['authorization'] = 'Bearer of-the-server';
    }),
  },
  {
    check: 'cb-no-extra',
    wrong: "forwards the client's token",
    fault: {
      request: ({ headers, memory }) => {
        memory['token'] = headers['authorization'];
      },
      callback: ({ headers, memory }) => {
        headers['x-forwarded-token'] = String(memory['token']);
      },
    },
  },
  {
    check: 'cb-start',
    wrong: 'starts every delivery at 0',
    fault: deliveries(({ body }) => {
      body.params.afterSequence = 0;
    }),
  },
  {
    check: 'cb-id-random',
    wrong: 'derives the webhook-id of a challenge from its subscription',
    fault: challenges(({ body, headers }) => {
      const { subscriptionId } = body.params;
      const gaps = [{ from: 1, to: 1 }];
      headers['webhook-id'] = webhookIdOf({ subscriptionId, epoch: '', afterSequence: 0, gaps });
    }),
  },
  {
    check: 'cb-id-random',
    wrong: 'uses a counter as webhook-id of a challenge',
    fault: challenges(({ headers, memory }) => {
      headers['webhook-id'] = `msg_${(memory['count'] = (memory['count'] ?? 0) + 1)}`;
    }),
  },
  {
    check: 'cb-id-range',
    wrong: 'uses a random webhook-id for a delivery',
    fault: deliveries(({ headers }) => {
      headers['webhook-id'] = `msg_${randomBytes(24).toString('base64url')}`;
    }),
  },
  {
    check: 'cb-id-range',
    wrong: 'omits gaps from the hashed webhook-id',
    fault: deliveries(({ headers, body }) => {
      headers['webhook-id'] = webhookIdOf({ ...body.params, gaps: undefined });
    }),
  },
  {
    check: 'cb-id-retry',
    wrong: 'uses a new webhook-id for each attempt',
    fault: deliveries(({ headers }) => {
      headers['webhook-id'] = `msg_${randomBytes(24).toString('base64url')}`;
    }),
  },
  {
    check: 'cb-id-retry',
    wrong: 'retries with the timestamp of the first attempt',
    fault: deliveries((outgoing) => {
      const { headers, memory } = outgoing;
      memory['stamp'] ??= headers['webhook-timestamp'];
      headers['webhook-timestamp'] = memory['stamp'];
    }),
  },
  {
    check: 'cb-id-retry',
    wrong: 'retries with the signature of the first attempt',
    fault: deliveries((outgoing) => {
      const { headers, memory } = outgoing;
      outgoing.resign = false;
      headers['webhook-signature'] = memory['signature'] ??= headers['webhook-signature'];
    }),
  },
  {
    check: 'cb-one-lease',
    wrong: 'sends two copies at once',
    fault: deliveries((outgoing) => {
      outgoing.send().catch(() => undefined);
    }),
  },
  {
    check: 'cb-body-limit',
    wrong: 'sends bodies of 300 KB',
    fault: deliveries((outgoing) => {
      outgoing.raw = Buffer.from(JSON.stringify(outgoing.body).padEnd(300_000));
    }),
  },
  {
    check: 'cb-batch',
    wrong: 'sends more than 100 events',
    fault: {
      callback: ({ body }) => {
        const { events, challenge } = body.params;
        if (challenge === undefined && events.length === 100)
          events.push({ ...events.at(-1), sequence: events.at(-1).sequence + 1 });
      },
      callbackAnswer: (answer, { body }) => ({
        ...answer,
        body:
          body.params.events?.length === 101
            ? JSON.stringify({ ackSequence: body.params.afterSequence + 100 })
            : answer.body,
      }),
    },
  },
  { check: 'cb-deadline', wrong: 'waits 20 seconds for an endpoint', fault: patient(10_000) },
  {
    check: 'cb-answer-limit',
    wrong: 'reads answers beyond the limit',
    fault: { callbackAnswer: (answer) => ({ ...answer, body: compact(answer.body) }) },
  },
  {
    check: 'cb-answer-limit',
    wrong: 'reads half of an allowed answer',
    fault: {
      callbackAnswer: (answer) => ({
        ...answer,
        body: answer.body.length > 4096 ? '' : answer.body,
      }),
    },
  },
  // The proxy reads answers by `fetch`, which decompresses them.
  { check: 'cb-answer-limit', wrong: 'decompresses answers', fault: sent(() => undefined) },
];

function compact(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body));
  } catch {
    return body;
  }
}
