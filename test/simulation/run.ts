/**
 * Runs the simulation: `--seed N` for one seed, printed step by step; `--from N --count M` for
 * many. Exit code 1 if any run breaks an invariant.
 */
import { simulate } from './simulate.ts';
import { argumentsOf, integerOf } from '../../scripts/arguments.ts';
import type { Log } from '../../src/server/engine/ports.ts';
import { sqliteStore } from '../../src/server/store/sqlite/index.ts';

const USAGE = `Usage: npm run simulate [-- OPTIONS]

Runs the simulation with many seeds. Exit code 1 if any run breaks an invariant.

Options:
  --seed N     run one seed, and print its counts
  --from N     the first seed (default: 1)
  --count N    the number of seeds (default: 100)
  --steps N    the number of steps of each run
  --verbose    print the log of the engine`;

const { values } = argumentsOf(USAGE, {
  options: {
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '100' },
    steps: { type: 'string' },
    verbose: { type: 'boolean' },
  },
});

const print =
  (level: string) =>
  (fields: object, message: string): void =>
    console.error(level, message, fields);
const log: Log = {
  debug: print('debug'),
  info: print('info'),
  warn: print('warn'),
  error: print('error'),
};

const count = integerOf('count', values.count, 1);
const from = integerOf('from', values.from);
const steps = values.steps === undefined ? undefined : integerOf('steps', values.steps, 1);
const seeds =
  values.seed === undefined
    ? Array.from({ length: count }, (_, at) => from + at)
    : [integerOf('seed', values.seed)];
const total: Record<string, number> = {};
let broken = 0;
for (const seed of seeds) {
  const started = performance.now();
  const { violations, counts } = await simulate({
    seed,
    openStore: () => sqliteStore({ path: ':memory:', key: undefined }),
    ...(steps === undefined ? {} : { steps }),
    ...(values.verbose === true ? { log } : {}),
  });
  for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
  if (violations.length > 0) {
    broken += 1;
    console.log(
      `seed ${seed} (${Math.round(performance.now() - started)} ms): ${violations.length} violations\n  ${violations.slice(0, 5).join('\n  ')}`,
    );
  } else if (values.seed !== undefined) {
    console.log(`seed ${seed}: every invariant was kept`, counts);
  }
}
console.log(`${seeds.length} seeds, ${broken} broken`, total);
process.exitCode = broken === 0 ? 0 : 1;
