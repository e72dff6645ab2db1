/**
 * Prints every construction of `language/rules.ts` that the given folders contain:
 * `npm run language -- src/server`.
 */
import { readFileSync } from 'node:fs';
import { filesBelow } from './language/files.ts';
import { piecesOf } from './language/prose.ts';
import { findingsIn, ROWS } from './language/rules.ts';

const folders = process.argv.slice(2);
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
