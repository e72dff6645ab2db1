import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { configDefaults, defineConfig } from 'vitest/config';

/** Resolves this package's own name to its sources instead of `dist`; see `exports` in package.json. */
const SOURCE = 'mcp-triggers-source';

const PROJECTS = {
  contract: [
    'schema',
    'traceability',
    'requirements',
    'server/store',
    'docs',
    'tidy',
    'package',
  ].map((folder) => `test/${folder}/**/*.test.ts`),
  journeys: ['test/journeys/**/*.test.ts', 'test/reference-*/**/*.test.ts'],
  interop: ['test/interop/**/*.test.ts'],
  conformance: ['conformance/test/**/*.test.ts'],
  simulation: ['test/simulation/**/*.test.ts', 'test/protocol/core/{explore,properties}.test.ts'],
};

/** A folder for machine-readable results; `scripts/test-totals.ts` adds them up. */
const REPORTS = process.env['TEST_REPORTS'];

/**
 * Test files that run in mode `all` only: slow ones whose subject has faster tests in the default mode. `npm test` has to
 * stay near five minutes on two cores.
 */
const LONG = [
  'conformance/test/{client,control,events,minimal,official,session}.test.ts',
  'test/docs/api.test.ts',
  'test/interop/{conformance,peers}/**/*.test.ts',
  'test/interop/hostile/{memory,silence}.test.ts',
  'test/interop/independent.test.ts',
  'test/journeys/{kill,stdio}.test.ts',
  'test/package/package.test.ts',
  'test/reference-client/commands.test.ts',
  'test/reference-server/{process,stdio}.test.ts',
  'test/tidy/language.test.ts',
];

/** `npm run interop` asks for every file that declares a row of its matrix. */
const writesMatrix = ['INTEROP_ROWS', 'INTEROP_RESULTS'].some(
  (name) => process.env[name] !== undefined,
);

/** Test files with a matrix of which the default mode runs a sample; see test/tier.ts. */
const matrices = (): string[] =>
  globSync('{test,conformance/test}/**/*.test.ts').filter((file) =>
    readFileSync(file, 'utf8').includes("/tier.ts'"),
  );

export default defineConfig(({ mode }) => {
  const isAll = mode === 'all';
  // In mode `all`, which runs after the default mode, only the files that then run more than before.
  const only = isAll ? [...globSync(LONG), ...matrices()] : null;
  const select = (include: readonly string[]): string[] =>
    only === null ? [...include] : globSync([...include]).filter((file) => only.includes(file));
  const exclude = [...configDefaults.exclude, ...(isAll || writesMatrix ? [] : LONG)];
  return {
    resolve: { conditions: [SOURCE] },
    ssr: {
      resolve: {
        conditions: [SOURCE, 'module', 'node', 'development|production'],
        externalConditions: [SOURCE, 'node'],
      },
    },
    test: {
      env: {
        TEST_TIER: isAll ? 'all' : 'daily',
        // Tests start some two hundred programs, which compile the same files.
        NODE_COMPILE_CACHE: resolve('node_modules/.cache/node-compile'),
      },
      // A test ends its own waits; these only end a hang.
      testTimeout: 120_000,
      hookTimeout: 120_000,
      // A process for each file: tests set environment variables, watch file descriptors and spy on sockets.
      pool: 'forks',
      execArgv: [`--conditions=${SOURCE}`],
      maxWorkers: 2,
      // Of one file. More at once on two cores only make each other miss their deadlines.
      maxConcurrency: 4,
      passWithNoTests: isAll,
      reporters:
        REPORTS === undefined
          ? ['default']
          : ['default', ['json', { outputFile: `${REPORTS}/${mode}.json` }]],
      projects: [
        ...Object.entries(PROJECTS).map(([name, include]) => ({
          extends: true as const,
          test: { name, include: select(include), exclude },
        })),
        {
          extends: true as const,
          test: {
            name: 'unit',
            include: select(['test/**/*.test.ts']),
            exclude: [...exclude, ...Object.values(PROJECTS).flat()],
          },
        },
      ],
      coverage: {
        provider: 'v8',
        include: ['src/**/*.ts'],
        reportOnFailure: true,
        // About one per cent below what was measured on 2026-11-30.
        thresholds: { statements: 96, branches: 92, functions: 96, lines: 97 },
        reporter: ['text-summary', 'html', 'json-summary'],
      },
    },
  };
});
