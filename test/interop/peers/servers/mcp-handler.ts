/**
 * A server made with `mcp-handler`: `events/*` by webhook, and nothing of this extension. The
 * package brings the control methods; the parts it leaves to the application are here, in memory:
 * the subscriptions, and a delivery that is signed by `standardwebhooks` and posted once.
 *
 * It accepts https callbacks only, so a client names a public URL, and `reach` maps it to the
 * loopback address to which the proxy of that name would pass it on.
 */
import { randomUUID } from 'node:crypto';
import { createMcpHandler, experimental_registerMcpEvents, withMcpAuth } from 'mcp-handler';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import { serveFetch } from '../loopback.ts';
import { installedVersion } from '../matrix.ts';

type Options = Parameters<typeof experimental_registerMcpEvents>[1];
type Subscription = Parameters<Options['subscriptions']['upsert']>[0];
/** A granted subscription, with the previous secret if a refresh changed it. */
type Active = Subscription & { readonly previousSecret?: string };

export const TOKEN = 'token-of-alice';
export const EVENT_NAME = 'box.opened';
const POST_TIMEOUT_MS = 10_000;

export interface McpHandlerServer extends AsyncDisposable {
  readonly url: string;
  readonly version: string;
  /** The current subscriptions. */
  readonly subscriptions: ReadonlyMap<string, Active>;
  /**
   * Sends an event to every subscription; resolves with the statuses of the answers, 0 for a
   * missing answer.
   */
  deliver(data: { readonly box: string }): Promise<number[]>;
}

export interface McpHandlerOptions {
  readonly reach?: (url: string) => string;
  /** Default: any. */
  readonly port?: number;
  /** Lifetime of a subscription. Default one hour. */
  readonly ttlMs?: number;
}

export async function startMcpHandler({
  reach = (url) => url,
  port = 0,
  ttlMs = 3_600_000,
}: McpHandlerOptions = {}): Promise<McpHandlerServer> {
  const active = new Map<string, Active>();
  const attempts = new Map<string, string>();

  async function post(
    subscription: Pick<Active, 'id' | 'url' | 'secret' | 'previousSecret'>,
    webhookId: string,
    message: object,
  ): Promise<Response> {
    const [body, now] = [JSON.stringify(message), new Date()];
    const secrets = [
      subscription.secret,
      ...(subscription.previousSecret === undefined ? [] : [subscription.previousSecret]),
    ];
    return fetch(reach(subscription.url), {
      method: 'POST',
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(POST_TIMEOUT_MS),
      headers: {
        'content-type': 'application/json',
        'webhook-id': webhookId,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': secrets
          .map((secret) => new Webhook(secret).sign(webhookId, now, body))
          .join(' '),
        'x-mcp-subscription-id': subscription.id,
      },
    });
  }

  const events: Options = {
    getPrincipal: ({ clientId }) => clientId,
    ttl: { minMs: Math.min(ttlMs, 60_000), defaultMs: ttlMs, maxMs: ttlMs },
    events: [
      {
        name: EVENT_NAME,
        description: 'A box was opened.',
        inputSchema: z.object({ box: z.string().exactOptional() }),
        payloadSchema: z.object({ box: z.string() }),
        authorize: () => true,
      },
    ],
    subscriptions: {
      async prepare({ id }) {
        const operation = randomUUID();
        attempts.set(id, operation);
        return operation;
      },
      async upsert(subscription, _, operation) {
        if (attempts.get(subscription.id) !== operation)
          throw new Error('A later attempt took over.');
        const before = active.get(subscription.id);
        const rotated = before !== undefined && before.secret !== subscription.secret;
        active.set(subscription.id, {
          ...subscription,
          ...(rotated ? { previousSecret: before.secret } : {}),
        });
        return { cursor: null, truncated: false };
      },
      async remove({ id }) {
        attempts.delete(id);
        return active.delete(id);
      },
    },
    delivery: {
      async verifyEndpoint(target) {
        const challenge = randomUUID();
        const response = await post(target, `msg_verification_${randomUUID()}`, {
          type: 'verification',
          challenge,
        }).catch(() => undefined);
        if (!response?.ok)
          return {
            verified: false,
            reason:
              response === undefined
                ? 'connection_refused'
                : response.status < 500
                  ? 'http_4xx'
                  : 'http_5xx',
          };
        const echo = (await response.json().catch(() => undefined)) as
          { readonly challenge?: string } | undefined;
        return echo?.challenge === challenge
          ? { verified: true }
          : { verified: false, reason: 'challenge_failed' };
      },
    },
  };

  const handler = withMcpAuth(
    createMcpHandler((mcp) => experimental_registerMcpEvents(mcp, events), {
      serverInfo: { name: 'boxes', version: '1' },
      telemetry: false,
    }),
    (_, token) => (token === TOKEN ? { token, clientId: 'alice', scopes: [] } : undefined),
    { required: true },
  );
  const server = await serveFetch(async (request) => handler(request), port);
  return {
    url: `${server.origin}/mcp`,
    version: installedVersion('mcp-handler'),
    subscriptions: active,
    deliver: (data) => {
      const event = {
        eventId: `evt_${randomUUID()}`,
        name: EVENT_NAME,
        timestamp: new Date().toISOString(),
        data,
        cursor: null,
      };
      return Promise.all(
        [...active.values()].map((subscription) =>
          post(subscription, event.eventId, event).then(
            ({ status }) => status,
            () => 0,
          ),
        ),
      );
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
