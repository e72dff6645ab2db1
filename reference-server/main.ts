#!/usr/bin/env node
/**
 * Starts the reference server over HTTP, or on a pipe with `--stdio`. Environment variables
 * configure it (`config.ts`).
 *
 * Exit codes: 0 = stopped by a signal or by the client; 1 = unexpected failure; 2 = invalid option
 * or configuration; 3 = the store or its directory is not usable (locked by another process,
 * damaged, wrong key, no permission); 4 = the address is not available.
 */
import { LocalError } from 'mcp-triggers-experimental';
import { ConfigError, loadConfig, secretsOf } from './config.ts';
import { createLog, withoutSecrets } from './log.ts';
import { runHttp } from './run-http.ts';
import { runStdio } from './run-stdio.ts';
import { sourcesOf } from './sources.ts';

/** The exit codes. */
export const EXIT = { ok: 0, failure: 1, config: 2, store: 3, address: 4 } as const;

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

const USAGE = `Usage: npm run server [-- --stdio]

Starts the MCP triggers reference server.

Options:
  --stdio  serve one client on standard input and output instead of HTTP
  --help   show this text

Environment variables with the prefix TRIGGERS_ configure the server. README.md lists them.
`;

async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return EXIT.ok;
  }
  const unknown = args.find((arg) => arg !== '--stdio');
  if (unknown !== undefined) {
    process.stderr.write(`Unknown option ${unknown}. Run with --help to list the options.\n`);
    return EXIT.config;
  }
  const secrets: string[] = [];
  try {
    const config = loadConfig(env);
    secrets.push(...secretsOf(config));
    const log = createLog({
      level: config.LOG_LEVEL,
      format: config.LOG_FORMAT,
      secrets: () => secrets,
      out: process.stderr,
    });
    // Node would print the error unredacted.
    process.once('uncaughtException', (error) => {
      log.error({ err: error }, 'uncaught exception; exiting');
      process.exit(EXIT.failure);
    });
    const piped = args.includes('--stdio');
    // On a pipe there is no HTTP server that could receive webhooks.
    const sources = sourcesOf(piped ? { ...config, GITHUB_SECRET: undefined } : config, log);
    await (piped ? runStdio : runHttp)({
      config,
      log,
      sources,
      stop: stopSignal(),
      addSecret: (secret) => void secrets.push(secret),
      print: (text) => void process.stdout.write(text),
    });
    return EXIT.ok;
  } catch (error) {
    const { code, line } = exitOf(error);
    process.stderr.write(withoutSecrets(`${line}\n`, secrets));
    return code;
  }
}

/**
 * A signal that fires on the first SIGTERM or SIGINT. A second one of either name ends the process
 * immediately, as is Node's default.
 */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  const end = (): void => {
    stop.abort();
    for (const name of SIGNALS) process.off(name, end);
  };
  for (const name of SIGNALS) process.on(name, end);
  return stop.signal;
}

/** The exit code for an error, and the text to print. */
function exitOf(error: unknown): { readonly code: number; readonly line: string } {
  if (error instanceof ConfigError) return { code: EXIT.config, line: error.message };
  if (error instanceof LocalError)
    return {
      code: LOCAL.find(([pattern]) => pattern.test(error.code))?.[1] ?? EXIT.failure,
      line: error.message,
    };
  const { code, syscall, path, port, message, stack } = error as NodeJS.ErrnoException & {
    readonly port?: number;
  };
  if (code === 'EADDRINUSE')
    return {
      code: EXIT.address,
      line: `Port ${port} is in use. Stop the other process, or set TRIGGERS_PORT to a free port.`,
    };
  if (syscall === 'listen' || syscall === 'getaddrinfo')
    return {
      code: EXIT.address,
      line: `Cannot listen on this address (${code}). Check TRIGGERS_HOST and TRIGGERS_PORT.`,
    };
  if (code !== undefined && FILES.test(code))
    return {
      code: EXIT.store,
      line: `Cannot use the data directory: ${syscall} failed for ${path} (${code}). Set TRIGGERS_DATA_DIR to a directory that this user can write to.`,
    };
  return { code: EXIT.failure, line: `Unexpected failure: ${stack ?? message}` };
}

/** The exit code for each code of a `LocalError`. */
const LOCAL: readonly (readonly [code: RegExp, exit: number])[] = [
  [/^(store_|key_unknown$)/, EXIT.store],
  [/^(config_invalid|schema_refused)$/, EXIT.config],
];
const FILES = /^(EACCES|EPERM|EROFS|ENOSPC|ENOTDIR|EISDIR|EEXIST|ENOENT)$/;

// `process.exit` would lose output that is still being written to a pipe.
process.exitCode = await main(process.argv.slice(2), process.env);
