/** The command line as a whole: global options, the commands, and what `--help` says at its end. */
import { Command, Option } from 'commander';
import packageJson from 'mcp-triggers-experimental/package.json' with { type: 'json' };
import type { Shell } from './command.ts';
import { ack } from './commands/ack.ts';
import { get } from './commands/get.ts';
import { list } from './commands/list.ts';
import { subscriptions } from './commands/subscriptions.ts';
import { unsubscribe } from './commands/unsubscribe.ts';
import { update } from './commands/update.ts';
import { watch } from './commands/watch.ts';
import { EXIT_MEANINGS } from './exit.ts';
import type { Outputs } from './printer.ts';

/** In the order of `--help`. */
const COMMANDS = [list, watch, subscriptions, get, update, ack, unsubscribe] as const;

const AFTER = `
Exit codes:
${EXIT_MEANINGS.map(([code, meaning]) => `  ${code}  ${meaning}`).join('\n')}

Examples:
  triggers list
  triggers watch github.push --drain stream --ledger positions.json
  triggers --stdio "npm run --silent server -- --stdio" list
`;

/** Builds the program. Nothing in it ends the process. */
export function createProgram(outputs: Outputs, stop: AbortSignal): Command {
  const program = new Command('triggers');
  program
    .description(
      'Reference client of the proposed MCP extension io.modelcontextprotocol/triggers (experimental).',
    )
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ writeOut: outputs.out, writeErr: outputs.err, outputError: () => undefined })
    .option('--url <url>', 'MCP endpoint over HTTP', 'http://127.0.0.1:4600/mcp')
    .option('--stdio <command>', 'start this command and speak MCP on its pipe, instead of --url')
    .option(
      '--token <token>',
      'access token; also MCP_TRIGGERS_TOKEN, which does not show in process lists',
    )
    .option(
      '--token-file <file>',
      'read the access token from this file (default: data/token of a development server here)',
    )
    .addOption(
      new Option('--protocol <revision>', 'protocol revision')
        .choices(['auto', '2026-07-28', '2025-11-25'])
        .default('auto'),
    )
    .option('--json', 'one JSON object per line')
    .option(
      '--ledger <file>',
      'remember positions in this file (mode 0600), so that a restart continues where it was',
    )
    .addHelpText('after', AFTER);
  const shell: Shell = { program, outputs, stop };
  for (const command of COMMANDS) command(shell);
  return program;
}
