/**
 * The HTTP routes: the MCP endpoint, discovery documents, health, metrics, and the webhook of the
 * GitHub source.
 */
import type { HttpBindings } from '@hono/node-server';
import { validateOriginHeader } from '@modelcontextprotocol/server';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { publicJwks, type PublishedKey, type Engine } from 'mcp-triggers-experimental/server';
import type { Auth } from './auth.ts';
import type { McpEndpoint } from './endpoint.ts';
import type { Metrics } from './metrics.ts';

/** GitHub's own limit for the payload of a webhook, in bytes. */
const WEBHOOK_BYTES_MAX = 25 * 2 ** 20;
/**
 * Time for which a verifier may cache the keys. A new key must be published for longer than this
 * before it signs.
 */
const JWKS_MAX_AGE_SECONDS = 300;

/** A webhook request. `rawBody` has the bytes as sent, because the signature covers them. */
export interface WebhookRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly rawBody: Uint8Array;
}

/** The response to a webhook. */
export interface WebhookAnswer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The parts that the routes use. */
export interface Parts {
  readonly engine: Pick<Engine, 'health'>;
  readonly auth: Auth;
  readonly endpoint: Pick<McpEndpoint, 'handle' | 'origins'>;
  readonly deliveryKeys: readonly PublishedKey[];
  /** Null = metrics are off. */
  readonly metrics: Metrics | null;
  /** Null = the source is off. */
  readonly github: ((request: WebhookRequest) => Promise<WebhookAnswer>) | null;
  /**
   * False once the server is stopping. `/readyz` then fails, so that a load balancer sends requests
   * elsewhere.
   */
  readonly accepting: () => boolean;
  readonly onError: (error: Error) => void;
}

/** Creates the HTTP application. Serve it with `@hono/node-server` or call `fetch`. */
export function createApp(parts: Parts): Hono<{ Bindings: HttpBindings }> {
  const { engine, auth, endpoint, deliveryKeys, metrics, github, accepting, onError } = parts;
  const app = new Hono<{ Bindings: HttpBindings }>();

  // CORS only informs browsers; the endpoint itself rejects requests from other origins.
  app.use(
    '/mcp',
    cors({
      origin: (origin) =>
        origin !== '' && validateOriginHeader(origin, [...endpoint.origins]).ok ? origin : null,
      allowMethods: ['POST', 'GET', 'DELETE'],
      allowHeaders: [
        'authorization',
        'content-type',
        'accept',
        'last-event-id',
        'mcp-protocol-version',
        'mcp-method',
        'mcp-name',
        'mcp-session-id',
      ],
      exposeHeaders: ['mcp-session-id', 'www-authenticate', 'retry-after'],
      maxAge: 600,
    }),
  );
  app.all('/mcp', (c) =>
    endpoint.handle(
      c.req.raw,
      (run) => void c.env.outgoing.once('close', run),
      () => void c.env.outgoing.destroy(),
    ),
  );

  const discovery = {
    'cache-control': `public, max-age=${JWKS_MAX_AGE_SECONDS}`,
    'access-control-allow-origin': '*',
  };
  app.get(auth.metadataPath, (c) => c.json(auth.metadata, 200, discovery));
  app.get('/.well-known/oauth-protected-resource', (c) => c.json(auth.metadata, 200, discovery));
  // The draft of SEP-3415 uses the second path for the keys of `v1a` signatures.
  for (const path of ['/.well-known/jwks.json', '/.well-known/mcp-webhook-jwks.json'])
    app.get(path, (c) => c.json(publicJwks(deliveryKeys), 200, discovery));

  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', async (c) => {
    const status = accepting() ? (await engine.health()).status : 'stopping';
    return c.json({ status }, status === 'ok' ? 200 : 503);
  });
  if (metrics)
    app.get('/metrics', async (c) =>
      c.body(await metrics.page(), 200, { 'content-type': metrics.contentType }),
    );

  if (github) {
    app.post('/sources/github', async (c) => {
      // The signature covers the bytes as sent, so the body must need no decoding.
      if (!/^(identity)?$/i.test(c.req.header('content-encoding') ?? ''))
        return c.text('Unsupported content encoding. Send the body uncompressed.', 415);
      const rawBody = await readBody(c.req.raw, WEBHOOK_BYTES_MAX);
      if (rawBody === null)
        return c.text(
          `The request body is too large. Send at most ${WEBHOOK_BYTES_MAX} bytes.`,
          413,
          { connection: 'close' },
        );
      const { status, body, headers } = await github({ headers: c.req.header(), rawBody });
      return new Response(body, {
        status,
        headers: { 'content-type': 'text/plain; charset=utf-8', ...headers },
      });
    });
  }

  app.notFound((c) => c.text('Not found. The MCP endpoint is /mcp.', 404));
  app.onError((error, c) => {
    onError(error);
    return c.text('Internal error. Try again later.', 500);
  });
  return app;
}

/** Reads a body; null = it has more than `maxBytes`. Stops reading there. */
async function readBody(request: Request, maxBytes: number): Promise<Uint8Array | null> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) return null;
  const chunks: Uint8Array[] = [];
  let size = 0;
  // A chunked body announces no length, so the bytes are counted while they are read.
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
