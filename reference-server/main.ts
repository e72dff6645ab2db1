#!/usr/bin/env node
/**
 * Starts the reference server: over HTTP, or with `--stdio` on a pipe. Configured by environment variables (`config.ts`).
 *
 * Exit codes: 0 stopped as asked; 1 unexpected failure; 2 unusable configuration; 3 the store cannot be opened (locked by
 * another process, damaged, wrong key); 4 the address cannot be listened on.
 */
import { LocalError } from 'mcp-triggers-experimental';
import { ConfigError, loadConfig, secretsOf } from './config.ts';
import { createLog } from './log.ts';
import { runHttp } from './run-http.ts';
import { runStdio } from './run-stdio.ts';
import { sourcesOf } from './sources.ts';

/** The exit codes by name. */
export const EXIT = { ok: 0, failure: 1, config: 2, store: 3, address: 4 } as const;

const USAGE = `Usage: main.ts [--stdio]
Starts the MCP triggers reference server. Configuration: environment variables TRIGGERS_*, see README.md.
`;

async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return EXIT.ok;
  }
  const unknown = args.find((arg) => arg !== '--stdio');
  if (unknown !== undefined) {
    process.stderr.write(`There is no option ${unknown}.\n${USAGE}`);
    return EXIT.config;
  }
  try {
    const config = loadConfig(env);
    const secrets = secretsOf(config);
    const log = createLog({ level: config.LOG_LEVEL, format: config.LOG_FORMAT, secrets: () => secrets, out: process.stderr });
    const piped = args.includes('--stdio');
    // Nobody can post a webhook to a pipe.
    const sources = sourcesOf(piped ? { ...config, GITHUB_SECRET: undefined } : config, log);
    await (piped ? runStdio : runHttp)({ config, log, sources, stop: stopSignal(), remember: (secret) => void secrets.push(secret), print: (text) => void process.stdout.write(text) });
    return EXIT.ok;
  } catch (error) {
    const { code, line } = verdict(error);
    process.stderr.write(`${line}\n`);
    return code;
  }
}

/** Fires on the first SIGTERM or SIGINT. The second one is Node's own: it ends the process at once. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  return stop.signal;
}

/** The exit code of a failure, and the one line that says what to do. */
function verdict(error: unknown): { readonly code: number; readonly line: string } {
  if (error instanceof ConfigError) return { code: EXIT.config, line: error.message };
  if (error instanceof LocalError) {
    const code = /^(store_|key_unknown)/.test(error.code) ? EXIT.store : /^(config_invalid|schema_refused)$/.test(error.code) ? EXIT.config : EXIT.failure;
    return { code, line: error.message };
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return { code: EXIT.address, line: 'The address is in use. Stop the other process, or set TRIGGERS_PORT to a free port.' };
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL') return { code: EXIT.address, line: `Cannot listen there or open the data directory (${code}). Check TRIGGERS_HOST, TRIGGERS_PORT and TRIGGERS_DATA_DIR.` };
  return { code: EXIT.failure, line: `Unexpected failure: ${(error as Error).stack ?? message}` };
}

// Set, not called: what is still being written to a pipe gets there before the process ends.
process.exitCode = await main(process.argv.slice(2), process.env);
