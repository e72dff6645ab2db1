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

export default defineConfig({
  resolve: { conditions: [SOURCE] },
  ssr: {
    resolve: {
      conditions: [SOURCE, 'module', 'node', 'development|production'],
      externalConditions: [SOURCE, 'node'],
    },
  },
  test: {
    // A test ends its own waits; these only end a hang.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // A process for each file: tests set environment variables, watch file descriptors and spy on sockets.
    pool: 'forks',
    execArgv: [`--conditions=${SOURCE}`],
    maxWorkers: 2,
    // Of one file. More at once on two cores only make each other miss their deadlines.
    maxConcurrency: 4,
    projects: [
      ...Object.entries(PROJECTS).map(([name, include]) => ({
        extends: true as const,
        test: { name, include },
      })),
      {
        extends: true as const,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...Object.values(PROJECTS).flat()],
        },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
    },
  },
});
