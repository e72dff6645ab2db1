/**
 * The reference server under test: the real program parts over loopback HTTP, one trigger type
 * whose events the test emits, an authorization server that mints any token the test asks for, and
 * the real SDK clients of both generations.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  PROTOCOL_VERSION_META_KEY,
} from '@modelcontextprotocol/server';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { defineTrigger, type Accepted, type NewEvent } from 'mcp-triggers-experimental/server';
import { http, HttpResponse } from 'msw';
import { setupServer } from 'msw/node';
import { z } from 'zod';
import { loadConfig } from '../../reference-server/config.ts';
import { createLog } from '../../reference-server/log.ts';
import { runHttp } from '../../reference-server/run-http.ts';
import type { Sources } from '../../reference-server/sources.ts';
import { freePort } from '../../scripts/demo/server-process.ts';

/** The trigger type of these tests. */
export const boxOpened = defineTrigger({
  name: 'box.opened',
  description: 'A box was opened.',
  input: z.object({ box: z.string().min(1).optional() }),
  payload: z.object({ box: z.string(), by: z.string() }),
  history: { maxAgeMs: 3_600_000 },
});

/** Anything an SDK client accepts as the schema of a result. */
export const anything = z.looseObject({});

export { freePort };

/** Claims that replace those of a valid token; `undefined` omits one. */
export type Claims = Readonly<Record<string, unknown>>;

/** Serves the key sets of the issuers of this process; every other request goes to the network. */
const keyServices = setupServer();
let issuers = 0;
let issuersOpen = 0;

/** An authorization server reduced to its key set and the tokens that it signs. */
export class Issuer {
  readonly #key: CryptoKey;
  readonly url: string;

  private constructor(url: string, key: CryptoKey) {
    this.#key = key;
    this.url = url;
  }

  static async start(): Promise<Issuer> {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const keys = [{ ...(await exportJWK(publicKey)), kid: 'test', alg: 'ES256', use: 'sig' }];
    const url = `https://issuer-${(issuers += 1)}.example`;
    keyServices.use(http.get(`${url}/jwks.json`, () => HttpResponse.json({ keys })));
    if ((issuersOpen += 1) === 1) keyServices.listen({ onUnhandledFrame: 'bypass' });
    return new Issuer(url, privateKey);
  }

  /** A token that is valid for `audience` unless `claims` says otherwise. */
  async token(
    audience: string,
    subject: string,
    claims: Claims = {},
    key: CryptoKey = this.#key,
  ): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const payload = {
      iss: this.url,
      aud: audience,
      sub: subject,
      iat: now,
      exp: now + 600,
      scope: 'triggers',
      ...claims,
    };
    return new SignJWT(payload)
      .setProtectedHeader({ alg: 'ES256', kid: 'test', typ: 'at+jwt' })
      .sign(key);
  }

  close(): void {
    if ((issuersOpen -= 1) === 0) keyServices.close();
  }
}

/** The running server. */
export interface Running {
  readonly url: URL;
  readonly issuer: Issuer;
  readonly dataDir: string;
  /** Everything it logged and printed, line by line. */
  readonly output: string[];
  emit(event: NewEvent): Promise<Accepted>;
  token(subject: string, claims?: Claims, key?: CryptoKey): Promise<string>;
  /** One HTTP request to `/mcp` as that subject; a string or bytes `body` is sent unchanged. */
  post(
    body: unknown,
    options?: { readonly as?: string | null; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<Response>;
  /** One modern JSON-RPC call, without any SDK: the HTTP status and the bytes of the answer. */
  call(method: string, params?: object, options?: { readonly as?: string | null }): Promise<Answer>;
  client(era: Era, subject: string): Promise<AnyClient>;
  /** Asks the server to stop and waits until it has. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly result?: Record<string, unknown>;
  readonly error?: {
    readonly code: number;
    readonly message: string;
    readonly data?: Record<string, unknown>;
  };
}

/** The body and headers of a modern request. */
export function modern(method: string, params: object = {}, id: number | string = 1) {
  const envelope = {
    [PROTOCOL_VERSION_META_KEY]: '2026-07-28',
    [CLIENT_INFO_META_KEY]: { name: 'test', version: '1' },
    [CLIENT_CAPABILITIES_META_KEY]: {},
  };
  return {
    headers: { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method },
    body: { jsonrpc: '2.0', id, method, params: { ...params, _meta: envelope } },
  };
}

/** The SDK client for each revision. */
export const ERAS = ['v2 modern', 'v2 legacy', 'v1'] as const;
export type Era = (typeof ERAS)[number];

/** The common interface of both SDKs' clients. */
export interface AnyClient {
  readonly capabilities: Record<string, unknown>;
  request(
    method: string,
    params?: object,
    options?: { readonly signal?: AbortSignal },
  ): Promise<Record<string, unknown>>;
  onNotification(method: string, run: (params: Record<string, unknown>) => void): void;
  close(): Promise<void>;
}

export async function startServer(
  env: Readonly<Record<string, string>> = {},
  log: 'debug' | 'info' = 'debug',
): Promise<Running> {
  const issuer = await Issuer.start();
  const dataDir = await mkdtemp(join(tmpdir(), 'triggers-'));
  const config = loadConfig({
    TRIGGERS_PORT: String(await freePort()),
    TRIGGERS_DATA_DIR: dataDir,
    TRIGGERS_AUTH_ISSUER: issuer.url,
    TRIGGERS_AUTH_JWKS_URI: `${issuer.url}/jwks.json`,
    TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: 'true',
    ...env,
  });
  const output: string[] = [];
  const secrets: string[] = [];
  const stopping = new AbortController();
  let emit: Running['emit'] | undefined;
  const sources: Sources = {
    sources: [{ triggers: [boxOpened], start: (to) => void (emit = to), stop: () => undefined }],
    github: async ({ rawBody }) => ({ status: 202, body: String(rawBody.byteLength) }),
  };
  let stopped: Promise<void> = Promise.resolve();
  await new Promise<void>((ready, failed) => {
    stopped = runHttp({
      config,
      sources,
      log: createLog({
        level: log,
        format: 'json',
        secrets: () => secrets,
        out: { write: (line) => void output.push(line) },
      }),
      stop: stopping.signal,
      addSecret: (secret) => void secrets.push(secret),
      print: (text) => {
        output.push(text);
        ready();
      },
    });
    stopped.catch(failed);
  });
  const stop = async () => {
    stopping.abort();
    await stopped;
  };
  const token: Running['token'] = (subject, claims, key) =>
    issuer.token(config.resource.href, subject, claims, key);
  const post: Running['post'] = async (body, { as = 'alice', headers = {} } = {}) =>
    fetch(config.resource, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(as === null
          ? {}
          : { authorization: `Bearer ${as.includes('.') ? as : await token(as)}` }),
        ...headers,
      },
      body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    });
  return {
    url: config.resource,
    issuer,
    dataDir,
    output,
    token,
    stop,
    post,
    emit: (event) => emit!(event),
    async call(method, params = {}, { as = 'alice' } = {}) {
      const { body, headers } = modern(method, params);
      const response = await post(body, { as, headers });
      const text = await response.text();
      return {
        status: response.status,
        text,
        ...(JSON.parse(text) as Pick<Answer, 'result' | 'error'>),
      };
    },
    client: (era, subject) => connect(era, config.resource, () => token(subject)),
    async close() {
      await stop();
      issuer.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

async function connect(era: Era, url: URL, token: () => Promise<string>): Promise<AnyClient> {
  if (era === 'v1') return connectV1(url, token);
  const client = new Client(
    { name: 'test', version: '1' },
    {
      versionNegotiation:
        era === 'v2 modern' ? { mode: { pin: '2026-07-28' } } : { mode: 'legacy' },
    },
  );
  await client.connect(new StreamableHTTPClientTransport(url, { authProvider: { token } }));
  return {
    capabilities: { ...client.getServerCapabilities() },
    request: (method, params = {}, options = {}) =>
      client.request({ method, params: { ...params } }, anything, { timeout: 60_000, ...options }),
    onNotification: (method, run) =>
      client.setNotificationHandler(method, { params: z.looseObject({}).default({}) }, (params) =>
        run(params),
      ),
    close: () => client.close(),
  };
}

async function connectV1(url: URL, token: () => Promise<string>): Promise<AnyClient> {
  const client = new ClientV1({ name: 'test', version: '1' });
  const transport = new TransportV1(url, {
    requestInit: { headers: { authorization: `Bearer ${await token()}` } },
  });
  await client.connect(transport);
  return {
    capabilities: { ...client.getServerCapabilities() },
    // The first generation's types list only the methods of the base protocol.
    request: (method, params = {}, options = {}) =>
      client.request({ method, params } as never, anything as never, {
        timeout: 60_000,
        ...options,
      }),
    onNotification: (method, run) =>
      client.setNotificationHandler(
        z.object({ method: z.literal(method), params: z.looseObject({}).optional() }) as never,
        (message: { params?: Record<string, unknown> }) => run(message.params ?? {}),
      ),
    close: () => client.close(),
  };
}
