/** Servers whose requests to callbacks are wrong, or that read answers wrongly. */
import { randomBytes } from 'node:crypto';
import { webhookIdOf } from '../../../runner/wire/sender.ts';
import type { BrokenServer, CallbackAnswer, Calling } from '../proxy.ts';

/** Changes every request to a callback. */
const sent = (
  change: (calling: Calling) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): BrokenServer['spoil'] => ({ callback: change });
const isChallenge = ({ body }: Calling): boolean => body.params.challenge !== undefined;
const deliveries = (
  change: (calling: Calling) => CallbackAnswer | void | Promise<CallbackAnswer | void>,
): BrokenServer['spoil'] => sent((calling) => (isChallenge(calling) ? undefined : change(calling)));
const challenges = (change: (calling: Calling) => void): BrokenServer['spoil'] =>
  sent((calling) => {
    if (isChallenge(calling)) change(calling);
  });
const without = (name: string): BrokenServer['spoil'] =>
  sent((calling) => {
    calling.resign = name !== 'webhook-signature';
    delete calling.headers[name];
  });
/** Does not tell of a failure until so much later. */
const patient = (moreMs: number): BrokenServer['spoil'] => ({
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
    spoil: sent((calling) => {
      calling.verb = 'PUT';
    }),
  },
  {
    check: 'cb-post',
    wrong: 'says text/plain',
    spoil: sent((calling) => {
      calling.headers['content-type'] = 'text/plain';
    }),
  },
  {
    check: 'cb-post',
    wrong: 'gives the notification an id',
    spoil: sent((calling) => {
      calling.body = { ...calling.body, id: 1 };
    }),
  },
  {
    check: 'cb-post',
    wrong: 'has another name for the notification',
    spoil: sent((calling) => {
      calling.body = { ...calling.body, method: 'triggers/delivery' };
    }),
  },
  {
    check: 'cb-post',
    wrong: 'writes Latin-1',
    spoil: sent((calling) => {
      calling.raw = Buffer.from(
        JSON.stringify(calling.body).replaceAll(/[^\u0000-\u00ff]/gu, '?'),
        'latin1',
      );
    }),
  },
  ...['webhook-id', 'webhook-timestamp', 'webhook-signature', 'mcp-subscription-id'].map(
    (name) => ({ check: 'cb-headers', wrong: `leaves ${name} away`, spoil: without(name) }),
  ),
  {
    check: 'cb-headers',
    wrong: 'puts the key into MCP-Subscription-Id',
    spoil: sent((calling) => {
      calling.headers['mcp-subscription-id'] = calling.body.params.key;
    }),
  },
  {
    check: 'cb-no-extra',
    wrong: 'keeps cookies',
    spoil: {
      callback: ({ headers, memory }) => {
        if (memory['cookie'] !== undefined) headers['cookie'] = memory['cookie'];
      },
      answered: (answer, { memory }) => {
        memory['cookie'] = 'session=do-not-repeat';
        return answer;
      },
    },
  },
  {
    check: 'cb-no-extra',
    wrong: 'sends credentials of its own',
    spoil: sent(({ headers }) => {
      headers['authorization'] = 'Bearer of-the-server';
    }),
  },
  {
    check: 'cb-no-extra',
    wrong: 'passes the token of the client on',
    spoil: {
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
    wrong: 'says of a challenge that it begins at 0',
    spoil: challenges(({ body }) => {
      body.params.after = 0;
    }),
  },
  {
    check: 'cb-start',
    wrong: 'begins every delivery at 0',
    spoil: deliveries(({ body }) => {
      body.params.after = 0;
    }),
  },
  {
    check: 'cb-id-random',
    wrong: 'computes the identifier of an empty delivery from its range',
    spoil: challenges(({ body, headers }) => {
      headers['webhook-id'] = webhookIdOf({
        ...body.params,
        gaps: [{ from: 1, to: body.params.after + 1 }],
      });
    }),
  },
  {
    check: 'cb-id-random',
    wrong: 'counts',
    spoil: challenges(({ headers, memory }) => {
      headers['webhook-id'] = `msg_${(memory['count'] = (memory['count'] ?? 0) + 1)}`;
    }),
  },
  {
    check: 'cb-id-range',
    wrong: 'draws identifiers',
    spoil: deliveries(({ headers }) => {
      headers['webhook-id'] = `msg_${randomBytes(24).toString('base64url')}`;
    }),
  },
  {
    check: 'cb-id-range',
    wrong: 'forgets the gaps in the identifier',
    spoil: deliveries(({ headers, body }) => {
      headers['webhook-id'] = webhookIdOf({ ...body.params, gaps: undefined });
    }),
  },
  {
    check: 'cb-id-retry',
    wrong: 'has a new identifier for every attempt',
    spoil: deliveries(({ headers }) => {
      headers['webhook-id'] = `msg_${randomBytes(24).toString('base64url')}`;
    }),
  },
  {
    check: 'cb-id-retry',
    wrong: 'sends the first request again as it was',
    spoil: deliveries((calling) => {
      const { headers, memory } = calling;
      memory['stamp'] ??= headers['webhook-timestamp'];
      headers['webhook-timestamp'] = memory['stamp'];
    }),
  },
  {
    check: 'cb-id-retry',
    wrong: 'keeps the signature of the first attempt',
    spoil: deliveries((calling) => {
      const { headers, memory } = calling;
      calling.resign = false;
      headers['webhook-signature'] = memory['signature'] ??= headers['webhook-signature'];
    }),
  },
  {
    check: 'cb-one-lease',
    wrong: 'sends everything twice at once',
    spoil: deliveries((calling) => {
      calling.send().catch(() => undefined);
    }),
  },
  {
    check: 'cb-body-limit',
    wrong: 'sends bodies of 300 KB',
    spoil: deliveries((calling) => {
      calling.raw = Buffer.from(JSON.stringify(calling.body).padEnd(300_000));
    }),
  },
  {
    check: 'cb-batch',
    wrong: 'sends more than a hundred',
    spoil: {
      callback: ({ body }) => {
        const { events, challenge } = body.params;
        if (challenge === undefined && events.length === 100)
          events.push({ ...events.at(-1), sequence: events.at(-1).sequence + 1 });
      },
      answered: (answer, { body }) => ({
        ...answer,
        body:
          body.params.events.length === 101
            ? JSON.stringify({ ack: body.params.after + 100 })
            : answer.body,
      }),
    },
  },
  { check: 'cb-deadline', wrong: 'gives an endpoint twenty seconds', spoil: patient(10_000) },
  {
    check: 'cb-answer-limit',
    wrong: 'reads answers to their end',
    spoil: { answered: (answer) => ({ ...answer, body: compact(answer.body) }) },
  },
  {
    check: 'cb-answer-limit',
    wrong: 'reads half of what it may',
    spoil: {
      answered: (answer) => ({ ...answer, body: answer.body.length > 4096 ? '' : answer.body }),
    },
  },
  // The proxy's own client decodes.
  { check: 'cb-no-decoding', wrong: 'decompresses answers', spoil: sent(() => undefined) },
];

function compact(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body));
  } catch {
    return body;
  }
}
