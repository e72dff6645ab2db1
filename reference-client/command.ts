/** What each command is given: its place on the command line, the printer, and the signal that somebody pressed Ctrl+C. */
import type { Command } from 'commander';
import type { TriggersClient } from 'mcp-triggers-experimental/client';
import { createPrinter, type Outputs, type Printer } from './printer.ts';
import { withClient, type Globals } from './session.ts';

/** The program around the commands. */
export interface Shell {
  readonly program: Command;
  readonly outputs: Outputs;
  /** Fires at the first Ctrl+C or SIGTERM. */
  readonly stop: AbortSignal;
}

/** The options given before or after the command's name. */
export const globalsOf = (shell: Shell): Globals => shell.program.opts<Globals>();

/** Connects, runs and closes. */
export async function run(
  shell: Shell,
  work: (client: TriggersClient, printer: Printer, globals: Globals) => Promise<void>,
): Promise<void> {
  const globals = globalsOf(shell);
  const printer = createPrinter(globals.json === true, shell.outputs);
  await withClient(globals, (client) => work(client, printer, globals));
}
