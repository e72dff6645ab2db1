#!/usr/bin/env node
/** Entry point of the command `mcp-triggers-conformance`. */
import { main } from './runner/main.ts';

process.exitCode = await main(
  process.argv.slice(2),
  {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  },
  process.env,
);
