/**
 * A real engine over a volatile store, and SDK servers attached to it in every way a test needs.
 */
import {
  createMcpHandler,
  InMemoryTransport,
  McpServer,
  type AuthInfo,
  type McpHttpHandler,
} from '@modelcontextprotocol/server';
import { createEgress } from '../../../src/server/callback/egress/egress.ts';
import { createEngine, type EngineOptions } from '../../../src/server/engine/create-engine.ts';
import type { Engine } from '../../../src/server/engine/verbs.ts';
import type { AttachableEngine } from '../../../src/server/mcp/sdk.ts';
import { attachTriggers, type AttachOptions } from '../../../src/server/mcp/triggers/install.ts';
import { defineTrigger } from '../../../src/server/engine/define-trigger.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';

export const alarm = defineTrigger<{ house?: string }, { house: string }>({
  name: 'alarm.raised',
  description: 'An alarm was raised.',
  input: { type: 'object', properties: { house: { type: 'string' } } },
  payload: { type: 'object', required: ['house'], properties: { house: { type: 'string' } } },
});

export async function startEngine(options: Partial<EngineOptions> = {}): Promise<Engine> {
  const engine = createEngine({
    store: sqliteStore({ path: ':memory:', key: undefined }),
    triggers: [alarm],
    egress: createEgress(),
    ...options,
  });
  await engine.start();
  return engine;
}

export const settings: AttachOptions = { levels: ['log', 'stream'] };

/** A message that a server sent. */
export interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** Both ends of a pipe to a server of the handshake era: its messages, and a way to send to it. */
export async function pipe(engine: AttachableEngine, options: AttachOptions = settings) {
  const mcp = new McpServer({ name: 'test', version: '1' });
  attachTriggers(mcp, engine, options);
  const [near, far] = InMemoryTransport.createLinkedPair();
  const messages: Message[] = [];
  near.onmessage = (message) => void messages.push(message as Message);
  await mcp.connect(far);
  await near.start();
  const send = (message: object) =>
    near.send({ jsonrpc: '2.0', ...message } as Parameters<typeof near.send>[0]);
  const next = async (wanted: (message: Message) => boolean): Promise<Message> => {
    await until(async () => messages.some(wanted));
    return messages.find(wanted)!;
  };
  await send({
    id: 'init',
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'test', version: '1' },
    },
  });
  const { result } = await next(({ id }) => id === 'init');
  await send({ method: 'notifications/initialized' });
  return {
    mcp,
    messages,
    send,
    next,
    capabilities: result?.['capabilities'] as Record<string, Record<string, unknown>>,
    async call(id: number | string, method: string, params?: object): Promise<Message> {
      await send({ id, method, ...(params === undefined ? {} : { params }) });
      return next((message) => message.id === id);
    },
    close: () => near.close(),
  };
}

/** A modern HTTP endpoint without a socket. */
export function modernEndpoint(
  engine: AttachableEngine,
  options: AttachOptions = settings,
): McpHttpHandler {
  return createMcpHandler(
    () => {
      const mcp = new McpServer({ name: 'test', version: '1' });
      attachTriggers(mcp, engine, options);
      return mcp;
    },
    { legacy: 'reject' },
  );
}

/** One modern request. */
export async function ask(
  handler: McpHttpHandler,
  method: string,
  params: object = {},
  authInfo?: AuthInfo,
): Promise<Response> {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  return handler.fetch(
    new Request('http://localhost/mcp', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: meta } }),
    }),
    authInfo === undefined ? {} : { authInfo },
  );
}

export const token = (
  extra: Record<string, unknown> | undefined,
  expiresAt?: number,
): AuthInfo => ({
  token: 't',
  clientId: 'c',
  scopes: ['triggers'],
  ...(extra === undefined ? {} : { extra }),
  ...(expiresAt === undefined ? {} : { expiresAt }),
});

/** The messages of a response, whether it is one JSON or an event stream. */
export async function messagesOf(response: Response): Promise<Message[]> {
  const text = await response.text();
  if (!response.headers.get('content-type')?.includes('event-stream'))
    return [JSON.parse(text) as Message];
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as Message);
}

/** Waits for a condition, for as long as a loaded machine may need. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('The condition was not met within 20 s.');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
