/**
 * Prints every construction of `language/rules.ts` that the given folders contain:
 * `npm run language -- src/server`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { argumentsOf, wrongUsage } from './arguments.ts';
import { filesBelow } from './language/files.ts';
import { piecesOf } from './language/prose.ts';
import { findingsIn, ROWS } from './language/rules.ts';

const USAGE = `Usage: npm run language [-- FOLDER...]

Prints the constructions that the language rules reject, in all files or in the given files and folders.
Exit code 1 if there is one.`;

const { positionals: folders } = argumentsOf(USAGE, { allowPositionals: true });
const missing = folders.find((folder) => !existsSync(folder));
if (missing !== undefined) wrongUsage(`There is no file or folder ${missing}.`);
const pieces = filesBelow(folders.length === 0 ? ['.'] : folders).map(
  (file) => [file, piecesOf(file, readFileSync(file, 'utf8'))] as const,
);
let count = 0;
for (const row of ROWS) {
  const found = pieces.flatMap(([file, parts]) => findingsIn(file, parts, row));
  count += found.length;
  if (found.length > 0) {
    console.log(`${row.name}: write ${row.instead}\n  ${found.join('\n  ')}\n`);
  }
}
console.log(`${count} findings in ${pieces.length} files`);
process.exitCode = count === 0 ? 0 : 1;
