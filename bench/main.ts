/**
 * `npm run bench`: measures this implementation, and the raw limit in the same run on the same
 * machine. Quote the ratios: absolute figures differ between machines and runs.
 * `npm run bench -- callback` runs one group; the others are `protocol`, `memory` and `store`.
 */
import { cpus, release } from 'node:os';
import { argumentsOf, wrongUsage } from '../scripts/arguments.ts';
import { callbackBench } from './callback.ts';
import { print, type Row } from './harness.ts';
import { memoryBench } from './memory.ts';
import { protocolBench } from './protocol.ts';
import { storeBench } from './store.ts';

const ROUNDS = 5;
const GROUPS: Readonly<Record<string, () => Promise<Row[]>>> = {
  callback: () => callbackBench(ROUNDS),
  protocol: () => protocolBench(ROUNDS),
  memory: () => memoryBench(),
  store: async () =>
    (await storeBench(ROUNDS)).map(({ name, value, unit, limit }) => ({
      measure: `store: ${name}`,
      ours: `${Math.round(value).toLocaleString('en-US')} ${unit}`,
      limit: limit === undefined ? '-' : `${Math.round(limit).toLocaleString('en-US')} bare SQLite`,
      ratio: limit === undefined ? '-' : (value / limit).toFixed(2),
      aim: '-',
    })),
};

const ALL = Object.keys(GROUPS).join(', ');
const USAGE = `Usage: npm run bench [-- GROUP...]

Measures this implementation, and the raw limit of the machine beside it. Takes minutes.

Groups (default: all): ${ALL}`;

const { positionals: wanted } = argumentsOf(USAGE, { allowPositionals: true });
const unknown = wanted.filter((name) => !Object.hasOwn(GROUPS, name));
if (unknown.length > 0) wrongUsage(`There is no group ${unknown.join(', ')}. Groups are ${ALL}.`);
console.log(
  `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, kernel ${release()}; medians of ${ROUNDS} interleaved rounds [min to max]\n`,
);
const rows: Row[] = [];
for (const name of wanted.length > 0 ? wanted : Object.keys(GROUPS)) {
  process.stderr.write(`measuring ${name} …\n`);
  rows.push(...(await GROUPS[name]!()));
}
print(rows);
