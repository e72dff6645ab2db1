#!/usr/bin/env node
/** `npx mcp-triggers-experimental conformance …`: the package's command. */
import { main } from './runner/main.ts';

const [command, ...args] = process.argv.slice(2);
const screen = { out: (text: string) => void process.stdout.write(text), err: (text: string) => void process.stderr.write(text) };
if (command === 'conformance') process.exitCode = await main(args, screen);
else {
  screen.err(`The command is "conformance"${command === undefined ? '' : `, not "${command}"`}. Try: conformance --help\n`);
  process.exitCode = 2;
}
