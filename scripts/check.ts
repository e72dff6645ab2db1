/**
 * `npm run check`: runs every check except the tests, roughly the cheapest first. Prints one line
 * for each step, and the output of a step only if it fails. `npm run check -- lint knip` runs the
 * named steps.
 */
import { spawnSync } from 'node:child_process';
import { argumentsOf, wrongUsage } from './arguments.ts';

/** The steps are scripts of package.json. The last two read the build. */
const STEPS: readonly (readonly [name: string, script: string, ...args: string[]])[] = [
  ['format', 'format:check'],
  ['schema', 'schema', '--', '--check'],
  ['vectors', 'vectors', '--', 'lint'],
  ['readme', 'readme', '--', '--check'],
  ['typecheck', 'typecheck'],
  ['knip', 'knip'],
  ['spell', 'spell'],
  ['deps', 'deps'],
  ['lint', 'lint'],
  ['build', 'build'],
  ['api', 'api:check', '--', '--built'],
  ['package', 'package:check', '--', '--built'],
];

const ALL = STEPS.map(([step]) => step).join(', ');
const USAGE = `Usage: npm run check [-- STEP...]

Runs every check except the tests, or only the named steps.

Steps: ${ALL}`;

const { positionals: names } = argumentsOf(USAGE, { allowPositionals: true });
const unknown = names.filter((name) => !STEPS.some(([step]) => step === name));
if (unknown.length > 0) wrongUsage(`There is no step ${unknown.join(', ')}. Steps are ${ALL}.`);

const NPM = process.env['npm_execpath'];
if (NPM === undefined)
  throw new Error('The path of npm is not known. Start this script with "npm run check".');

const failed: string[] = [];
for (const [name, ...script] of STEPS.filter(
  ([step]) => names.length === 0 || names.includes(step),
)) {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [NPM, 'run', '--silent', ...script],
    { encoding: 'utf8', maxBuffer: 2 ** 26 },
  );
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (status !== 0) {
    failed.push(name);
    console.log(`${stdout}${stderr}`.trimEnd().replace(/^/gm, '  '));
  }
}
if (failed.length > 0) console.error(`Failed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
