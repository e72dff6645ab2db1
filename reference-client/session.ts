/** From the global options to a connected client, and back to a closed one, whatever happens in between. */
import { readFile } from 'node:fs/promises';
import {
  connect,
  triggersClient,
  type Target,
  type TriggersClient,
} from 'mcp-triggers-experimental/client';
import packageJson from 'mcp-triggers-experimental/package.json' with { type: 'json' };
import { words } from './arguments.ts';
import { UsageError } from './usage-error.ts';

/** The options every command has. */
export interface Globals {
  readonly url: string;
  readonly stdio?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly protocol: 'auto' | '2026-07-28' | '2025-11-25';
  readonly json?: true;
  readonly ledger?: string;
}

/** Not TRIGGERS_TOKEN: that prefix is the server's, which refuses variables it does not know. */
const TOKEN_VARIABLE = 'MCP_TRIGGERS_TOKEN';
/** Where the development server of the same folder leaves its token. */
const DEVELOPMENT_TOKEN_FILE = 'data/token';

/** Runs `work` with a connected client and closes the connection afterwards. */
export async function withClient<T>(
  globals: Globals,
  work: (client: TriggersClient) => Promise<T>,
): Promise<T> {
  const connection = await connect(await targetOf(globals), {
    protocol: globals.protocol,
    clientInfo: { name: 'mcp-triggers-reference-client', version: packageJson.version },
  });
  const client = triggersClient(connection);
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** Whether the server runs on this machine, so that it could reach a loopback address of ours. */
export function isLocal({ url, stdio }: Globals): boolean {
  return (
    stdio !== undefined || /^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(endpointOf(url).hostname)
  );
}

async function targetOf(globals: Globals): Promise<Target> {
  if (globals.stdio !== undefined) {
    const [command, ...args] = words(globals.stdio);
    return { command, args, env: environment() };
  }
  const token = await tokenOf(globals);
  return { url: endpointOf(globals.url), ...(token === undefined ? {} : { token }) };
}

function endpointOf(text: string): URL {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new UsageError('--url must be the http or https URL of an MCP endpoint.');
  return new URL(text);
}

async function tokenOf(globals: Globals): Promise<string | undefined> {
  if (globals.token !== undefined) return globals.token;
  if (globals.tokenFile !== undefined) return (await readFile(globals.tokenFile, 'utf8')).trim();
  const given = process.env[TOKEN_VARIABLE];
  if (given !== undefined && given !== '') return given;
  if (!isLocal(globals)) return undefined;
  try {
    return (await readFile(DEVELOPMENT_TOKEN_FILE, 'utf8')).trim();
  } catch {
    return undefined; // No development server has run here: the server says what it thinks of no token.
  }
}

/** A server on a pipe is configured by our environment; the token is for servers over HTTP. */
function environment(): Record<string, string> {
  const { [TOKEN_VARIABLE]: _token, ...rest } = process.env;
  return Object.fromEntries(
    Object.entries(rest).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
