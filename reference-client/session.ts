/**
 * Runs a command with a connected client: reads the global options, connects, and closes the
 * connection in any case.
 */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import {
  connect,
  triggersClient,
  type Target,
  type TriggersClient,
} from 'mcp-triggers-experimental/client';
import packageJson from 'mcp-triggers-experimental/package.json' with { type: 'json' };
import { commandLine, UsageError } from './arguments.ts';
import { createPrinter, type Outputs, type Printer } from './printer.ts';

/** The context of a command. */
export interface Shell {
  readonly program: Command;
  readonly outputs: Outputs;
  /** Fires at the first Ctrl+C or SIGTERM. */
  readonly stop: AbortSignal;
}

/** The global options. */
export interface Globals {
  readonly url: string;
  readonly stdio?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly protocol: 'auto' | '2026-07-28' | '2025-11-25';
  readonly json?: true;
  readonly ledger?: string;
}

/**
 * The variable with the access token. Not TRIGGERS_TOKEN: the reference server rejects unknown
 * variables with the prefix TRIGGERS_.
 */
const TOKEN_VARIABLE = 'MCP_TRIGGERS_TOKEN';
/** Where a development server, started in the same directory, writes its token. */
const DEVELOPMENT_TOKEN_FILE = 'data/token';

/** Ctrl+C came before the connection was open. */
export class StoppedEarly extends Error {
  override readonly name = 'StoppedEarly';
}

/** Connects, runs a command, and closes the connection. */
export async function run(
  shell: Shell,
  command: (client: TriggersClient, printer: Printer, globals: Globals) => Promise<void>,
): Promise<void> {
  const globals = shell.program.opts<Globals>();
  const printer = createPrinter(globals.json === true, shell.outputs);
  const target = await targetOf(globals);
  const connection = await Promise.race([
    connect(target, {
      protocol: globals.protocol,
      dataRef: true,
      clientInfo: { name: 'mcp-triggers-reference-client', version: packageJson.version },
    }),
    stopped(shell.stop),
  ]);
  const client = triggersClient(connection);
  try {
    await command(client, printer, globals);
  } finally {
    await client.close();
  }
}

const stopped = (stop: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(new StoppedEarly('Stopped before the connection was open.'));
    if (stop.aborted) end();
    stop.addEventListener('abort', end, { once: true });
  });

/** Whether the server runs on this machine and can reach a loopback address. */
export function isLocal({ url, stdio }: Globals): boolean {
  return (
    stdio !== undefined || /^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(endpointOf(url).hostname)
  );
}

async function targetOf(globals: Globals): Promise<Target> {
  if (globals.stdio !== undefined) {
    const [command, ...args] = commandLine(globals.stdio);
    return { command, args, env: environment() };
  }
  const token = await tokenOf(globals);
  return { url: endpointOf(globals.url), ...(token === undefined ? {} : { token }) };
}

function endpointOf(text: string): URL {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new UsageError('--url must be an http or https URL.');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '')
    throw new UsageError(
      `--url must not contain a user name or a password. Pass an access token with --token-file or ${TOKEN_VARIABLE}.`,
    );
  return url;
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
    return undefined; // Without a token, the error of the server says what it requires.
  }
}

/**
 * The environment of a server on a pipe: this process's own, without the access token, which is for
 * HTTP.
 */
function environment(): Record<string, string> {
  const { [TOKEN_VARIABLE]: _token, ...rest } = process.env;
  return Object.fromEntries(
    Object.entries(rest).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
