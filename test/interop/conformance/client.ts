/**
 * The client under test: this library's `connect()`, driven through what a scenario expects of any
 * client. The suite starts a process per scenario; `command.ts` is that process and asks this
 * driver, so that the modules are loaded once instead of sixty times.
 *
 * The library follows events and leaves the rest of MCP to the SDK. For a scenario about that rest
 * (forms, schemas of tools, questions inside a result), an SDK client does the work and is handed
 * to `connect()`, which must not interfere with it.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { connect, type Connection } from 'mcp-triggers-experimental/client';
import type { Order } from './command.ts';
import { authorized, type Registered } from './oauth.ts';

type Act = (scenario: Scenario) => Promise<void>;

interface Scenario {
  readonly url: string;
  /** Scenario-specific input for the client. */
  readonly context: { readonly toolCalls?: readonly Call[] } & Partial<Registered>;
}

interface Call {
  readonly name: string;
  readonly arguments?: Record<string, unknown>;
}

interface Named {
  readonly name: string;
  readonly inputSchema?: object;
}

/** A connection made by this library. */
const own =
  (act: (connection: Connection) => Promise<unknown>): Act =>
  async ({ url }) => {
    const connection = await connect({ url });
    await act(connection);
    await connection.close();
  };

/** An SDK client that does the scenario's part, with a connection of this library on it. */
const handedOver =
  (act: (client: Client, scenario: Scenario) => Promise<unknown>): Act =>
  async (scenario) => {
    const client = new Client(
      { name: 'conformance-client', version: '1' },
      {
        capabilities: { elicitation: { form: { applyDefaults: true } } },
        versionNegotiation: { mode: 'auto' },
      },
    );
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: {} }));
    await client.connect(new StreamableHTTPClientTransport(new URL(scenario.url)));
    const connection = await connect(client);
    await act(client, scenario);
    await connection.close();
    await client.close();
  };

const toolsOf = async (connection: Connection) =>
  ((await connection.call('tools/list', {})) as { tools: Named[] }).tools;

const listTools = own(toolsOf);

/** Calls every tool that the SDK shows. */
const callTools = handedOver(async (client, { context }) => {
  const { tools } = await client.listTools();
  for (const call of context.toolCalls ?? tools.map(({ name }) => ({ name, arguments: {} })))
    await client.callTool(call);
});

const withToken: Act = ({ url, context }) =>
  authorized(url, context, async (authProvider) => {
    const connection = await connect({ url, authProvider });
    try {
      const [tool] = await toolsOf(connection);
      if (tool !== undefined)
        await connection.call('tools/call', { name: tool.name, arguments: {} });
    } finally {
      await connection.close();
    }
  });

const SCENARIOS: Readonly<Record<string, Act>> = {
  initialize: listTools,
  'request-metadata': listTools,
  'json-schema-ref-no-deref': listTools,
  tools_call: own((connection) =>
    connection.call('tools/call', { name: 'add_numbers', arguments: { a: 2, b: 3 } }),
  ),
  'sse-retry': own((connection) =>
    connection.call('tools/call', { name: 'test_reconnection', arguments: {} }),
  ),
  'http-standard-headers': own(async (connection) => {
    for (const { name } of await toolsOf(connection))
      await connection.call('tools/call', { name, arguments: {} });
    const { resources } = (await connection.call('resources/list', {})) as {
      resources: { uri: string }[];
    };
    for (const { uri } of resources) await connection.call('resources/read', { uri });
    const { prompts } = (await connection.call('prompts/list', {})) as { prompts: Named[] };
    for (const { name } of prompts) await connection.call('prompts/get', { name });
  }),
  'http-custom-headers': callTools,
  'http-invalid-tool-headers': callTools,
  'json-schema-2020-12-preservation': own(async (connection) => {
    const [tool] = await toolsOf(connection);
    await connection.call('tools/call', {
      name: 'json_schema_echo',
      arguments: { schema: tool?.inputSchema },
    });
  }),
  'elicitation-sep1034-client-defaults': callTools,
  'sep-2322-client-request-state': callTools,
};

/** Runs scenarios on request, over loopback. */
export interface Driver {
  readonly url: string;
  close(): Promise<void>;
}

export async function startDriver(): Promise<Driver> {
  const server = createServer((request, answer) => {
    drive(request).then(
      () => answer.end(),
      (error: unknown) => answer.writeHead(500).end(inspect(error)),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.close();
      await once(server, 'close');
    },
  };
}

async function drive(request: IncomingMessage): Promise<void> {
  const { scenario, url, context } = (await json(request)) as Order;
  const act = scenario.startsWith('auth/') ? withToken : SCENARIOS[scenario];
  if (act === undefined) throw new Error(`No client handles the scenario ${scenario}.`);
  await act({ url, context: JSON.parse(context) as Scenario['context'] });
}
