/**
 * Draws texts for a review of the language: twenty comments, ten log lines and ten errors of a folder.
 *
 *     npm run sample -- --folder src/server --seed 7
 *
 * The same seed draws the same texts as long as the files are unchanged.
 */
import { existsSync, readFileSync } from 'node:fs';
import { seededRandom } from 'mcp-triggers-experimental/testing';
import { argumentsOf, integerOf, wrongUsage } from './arguments.ts';
import { filesBelow } from './language/files.ts';
import { piecesOf, type Kind } from './language/prose.ts';

const DRAWN: readonly (readonly [kind: Kind, title: string, count: number])[] = [
  ['comment', 'Comments', 20],
  ['log', 'Log lines', 10],
  ['error', 'Errors', 10],
];

const USAGE = `Usage: npm run sample [-- OPTIONS]

Draws twenty comments, ten log lines and ten errors for a review of the language.

Options:
  --folder FOLDER  where to draw (default: src)
  --seed N         the same seed draws the same texts (default: 1)`;

const { values } = argumentsOf(USAGE, {
  options: { folder: { type: 'string', default: 'src' }, seed: { type: 'string', default: '1' } },
});
const seed = integerOf('seed', values.seed);
if (!existsSync(values.folder)) wrongUsage(`There is no folder ${values.folder}.`);

const { uniform } = seededRandom(seed);
const files = filesBelow([values.folder]).filter((file) => !file.endsWith('.md'));
const pieces = files.flatMap((file) =>
  piecesOf(file, readFileSync(file, 'utf8')).map((piece) => ({ ...piece, file })),
);

for (const [kind, title, count] of DRAWN) {
  const left = pieces.filter((piece) => piece.kind === kind);
  const all = left.length;
  const drawn = [];
  while (drawn.length < count && left.length > 0) {
    drawn.push(...left.splice(Math.floor(uniform() * left.length), 1));
  }
  console.log(`\n${title} (${drawn.length} of ${all})\n`);
  for (const { file, line, source } of drawn) {
    console.log(
      `${file}:${line}\n    ${source.replace(/\s*\n[ \t]*(\*(?!\/) ?|\/\/ ?)?/g, ' ').trim()}`,
    );
  }
}
