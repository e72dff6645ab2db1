/** The command line: global options, commands, and the end of `--help`. */
import { Command, Option } from 'commander';
import packageJson from 'mcp-triggers-experimental/package.json' with { type: 'json' };
import { ack, get, list, subscriptions, unsubscribe, update } from './commands.ts';
import { EXIT_MEANINGS } from './exit.ts';
import type { Outputs } from './printer.ts';
import type { Shell } from './session.ts';
import { watch } from './watch.ts';

/** The commands in the order of `--help`. */
const COMMANDS = [list, watch, subscriptions, get, update, ack, unsubscribe] as const;

const AFTER = `
Exit codes:
${EXIT_MEANINGS.map(([code, meaning]) => `  ${code}  ${meaning}`).join('\n')}

Examples:
  triggers list
  triggers watch github.push --drain stream --ledger positions.json
  triggers --stdio "npm run --silent server -- --stdio" list
In this repository, write "npm run client --" instead of "triggers".
`;

/** Creates the program. It never ends the process itself. */
export function createProgram(outputs: Outputs, stop: AbortSignal): Command {
  const program = new Command('triggers');
  program
    .description(
      'Reference client of the proposed MCP extension io.modelcontextprotocol/triggers (experimental).',
    )
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ writeOut: outputs.out, writeErr: outputs.err, outputError: () => undefined })
    .option('--url <url>', 'URL of the MCP endpoint', 'http://127.0.0.1:4600/mcp')
    .option(
      '--stdio <command>',
      'start this command as the server and use its pipes instead of --url',
    )
    .option(
      '--token <token>',
      'access token; process lists show it, so prefer the variable MCP_TRIGGERS_TOKEN',
    )
    .option(
      '--token-file <file>',
      'file with the access token (default: data/token, where a development server writes it)',
    )
    .addOption(
      new Option('--protocol <revision>', 'protocol revision of MCP')
        .choices(['auto', '2026-07-28', '2025-11-25'])
        .default('auto'),
    )
    .option('--json', 'print one JSON object per line')
    .option(
      '--ledger <file>',
      'store positions in this file (mode 0600), so that the next run continues there',
    )
    .addHelpText('after', AFTER);
  const shell: Shell = { program, outputs, stop };
  for (const command of COMMANDS) command(shell);
  return program;
}
