/**
 * Tests that every rule of `.dependency-cruiser.mjs` rejects the import it is about. `npm run deps`
 * applies the rules to the repository.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import config from '../../.dependency-cruiser.mjs';
import { ROOT } from './sources.ts';

type Imports = readonly [file: string, ...imports: string[]];

/** By rule, a file and the imports it must not have. */
const BROKEN: Readonly<Record<string, Imports>> = {
  'no-circles': ['src/client/circle.ts', `import type { A } from './circle-2.ts';`],
  'schema-imports-nothing': [
    'spec-schema/draft/schema.ts',
    `import type { A } from '../../src/index.ts';`,
  ],
  'core-is-pure': ['src/protocol/core/a.ts', `import { randomUUID } from 'node:crypto';`],
  'protocol-imports-no-side': [
    'src/protocol/events/a.ts',
    `import type { A } from '../../client/index.ts';`,
  ],
  'lib-imports-no-neighbor': ['src/protocol/lib/a.ts', `import { A } from '../wire/index.ts';`],
  'wire-knows-types-of-core-only': [
    'src/protocol/wire/a.ts',
    `import { A } from '../core/index.ts';`,
  ],
  'wire-imports-no-neighbor': [
    'src/protocol/wire/b.ts',
    `import type { A } from '../ledger/index.ts';`,
  ],
  'events-and-ledger-are-apart': [
    'src/protocol/events/b.ts',
    `import type { A } from '../ledger/index.ts';`,
  ],
  'server-imports-no-other-side': [
    'src/server/engine/a.ts',
    `import type { A } from '../../client/index.ts';`,
  ],
  'client-imports-no-other-side': [
    'src/client/a.ts',
    `import type { A } from '../server/index.ts';`,
  ],
  'receiver-imports-no-other-side': [
    'src/receiver/a.ts',
    `import type { A } from '../client/index.ts';`,
  ],
  'schema-entry-imports-protocol-only': [
    'src/schema.ts',
    `import type { A } from './server/index.ts';`,
  ],
  'engine-knows-no-adapter': ['src/server/stream/a.ts', `import type { A } from '../mcp/sdk.ts';`],
  'store-port-imports-protocol-only': [
    'src/server/store/port.ts',
    `import type { A } from '../engine/index.ts';`,
  ],
  'store-knows-its-port-only': [
    'src/server/store/sqlite/a.ts',
    `import type { A } from '../../engine/index.ts';`,
  ],
  'store-is-chosen-by-the-application': [
    'src/server/mcp/a.ts',
    `import type { A } from '../store/sqlite/index.ts';`,
  ],
  'bindings-are-apart': [
    'src/server/mcp/tools/a.ts',
    `import type { A } from '../events/index.ts';`,
  ],
  'egress-is-the-only-http-client': [
    'src/server/callback/a.ts',
    `import { request } from 'undici';`,
  ],
  'egress-is-the-only-network-user': [
    'src/server/callback/b.ts',
    `import { connect } from 'node:net';`,
  ],
  'server-sdk-in-install-files': [
    'src/server/mcp/tools/reinstall.ts',
    `import type { McpServer } from '@modelcontextprotocol/server';`,
  ],
  'client-sdk-in-sdk-folder': [
    'src/client/follow/a.ts',
    `import type { Client } from '@modelcontextprotocol/client';`,
  ],
  'client-sdk-is-lowest': ['src/client/sdk/a.ts', `import type { A } from '../follow/index.ts';`],
  'subscription-knows-no-following': [
    'src/client/subscription/a.ts',
    `import type { A } from '../follow/index.ts';`,
  ],
  'sdk-in-server-and-client-only': [
    'src/receiver/b.ts',
    `import type { Client } from '@modelcontextprotocol/client';`,
  ],
  'dependencies-by-folder': ['src/receiver/c.ts', `import { z } from 'zod';`],
  'validation-packages-in-wire': ['src/receiver/d.ts', `import { importJWK } from 'jose';`],
  'no-development-dependency': ['src/testing/a.ts', `import fc from 'fast-check';`],
  'no-undeclared-dependency': ['src/testing/b.ts', `import { x } from 'undeclared';`],
  'library-imports-no-program': ['src/testing/c.ts', `import { A } from '../../test/helper.ts';`],
  'reference-programs-are-users': [
    'reference-server/a.ts',
    `import type { A } from '../src/index.ts';`,
  ],
  'reference-programs-are-apart': [
    'reference-client/a.ts',
    `import type { A } from '../reference-server/main.ts';`,
  ],
  'examples-are-users': ['docs/examples/a.ts', `import type { A } from '../../src/index.ts';`],
  'kit-is-a-stranger': [
    'conformance/runner/a.ts',
    `import type { A } from 'mcp-triggers-experimental';`,
  ],
  'kit-dependencies': ['conformance/suites/a.ts', `import { z } from 'zod';`],
  'minimal-peers-have-no-dependency': [
    'conformance/peers/minimal-a.mjs',
    `import { z } from 'zod';`,
  ],
  'tests-are-not-imported': ['test/a.ts', `import './one.test.ts';`],
  'everything-resolves': ['reference-client/b.ts', `import './absent.ts';`],
};

/** Imports that resemble forbidden ones and are allowed. */
const ALLOWED: readonly Imports[] = [
  ['src/protocol/core/ok.ts', `import type { A } from './index.ts';`],
  [
    'src/protocol/wire/ok.ts',
    `import type { A } from '../core/index.ts';`,
    `import { importJWK } from 'jose';`,
    `import type { B } from '../../../spec-schema/draft/schema.ts';`,
  ],
  [
    'src/server/mcp/tools/install.ts',
    `import type { McpServer } from '@modelcontextprotocol/server';`,
  ],
  ['src/server/mcp/sdk.ts', `import { McpServer } from '@modelcontextprotocol/server';`],
  ['src/server/callback/ok.ts', `import type { Server } from 'node:http';`],
  [
    'src/server/callback/egress/egress.ts',
    `import { request } from 'undici';`,
    `import { connect } from 'node:net';`,
  ],
  [
    'src/server/store/sqlite/ok.ts',
    `import type { A } from '../port.ts';`,
    `import { DatabaseSync } from 'node:sqlite';`,
  ],
  ['src/client/sdk/ok.ts', `import { Client } from '@modelcontextprotocol/client';`],
  [
    'reference-server/ok.ts',
    `import { A } from 'mcp-triggers-experimental';`,
    `import { z } from 'zod';`,
  ],
  ['conformance/peers/reference/ok.ts', `import { A } from 'mcp-triggers-experimental';`],
  [
    'conformance/runner/ok.ts',
    `import { importJWK } from 'jose';`,
    `import type { A } from '../suites/index.ts';`,
  ],
];

/** Files that the imports above name. */
const TARGETS = [
  'src/index.ts',
  'src/client/index.ts',
  'src/client/follow/index.ts',
  'src/server/index.ts',
  'src/server/engine/index.ts',
  'src/server/mcp/events/index.ts',
  'src/server/store/sqlite/index.ts',
  'src/protocol/core/index.ts',
  'src/protocol/wire/index.ts',
  'src/protocol/ledger/index.ts',
  'conformance/suites/index.ts',
  'reference-server/main.ts',
  'test/helper.ts',
  'test/one.test.ts',
];

const MANIFEST = {
  name: 'mcp-triggers-experimental',
  type: 'module',
  exports: { '.': { 'mcp-triggers-source': './src/index.ts' } },
  dependencies: { jose: '*', undici: '*' },
  devDependencies: {
    zod: '*',
    'fast-check': '*',
    '@modelcontextprotocol/client': '*',
    '@modelcontextprotocol/server': '*',
  },
  peerDependencies: { '@modelcontextprotocol/client': '*', '@modelcontextprotocol/server': '*' },
};
const PACKAGES = [
  ...Object.keys(MANIFEST.dependencies),
  ...Object.keys(MANIFEST.devDependencies),
  'undeclared',
];

interface Violation {
  readonly from: string;
  readonly to: string;
  readonly rule: { readonly name: string };
}

const depcruise = join(ROOT, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');
let folder: string;
let violations: readonly Violation[];

async function put(path: string, text: string): Promise<void> {
  await mkdir(join(folder, dirname(path)), { recursive: true });
  await writeFile(join(folder, path), text);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'import-rules-'));
  await put('package.json', JSON.stringify(MANIFEST));
  await put(
    'tsconfig.json',
    JSON.stringify({
      compilerOptions: { module: 'NodeNext', target: 'ES2023', verbatimModuleSyntax: true },
    }),
  );
  for (const name of PACKAGES) {
    await put(
      `node_modules/${name}/package.json`,
      JSON.stringify({ name, version: '1.0.0', main: 'index.js' }),
    );
    await put(`node_modules/${name}/index.js`, '');
  }
  for (const path of TARGETS) await put(path, 'export const A = 1;\n');
  for (const [path, ...imports] of [...Object.values(BROKEN), ...ALLOWED])
    await put(path, `${imports.join('\n')}\nexport const A = 1;\n`);
  await put(
    'src/client/circle-2.ts',
    `import { A } from './circle.ts';\nexport type B = typeof A;\n`,
  );
  await cp(join(ROOT, '.dependency-cruiser.mjs'), join(folder, '.dependency-cruiser.mjs'));
  const folders = [
    'src',
    'spec-schema',
    'reference-server',
    'reference-client',
    'conformance',
    'docs',
    'test',
  ];
  const printed = await new Promise<string>((resolve) => {
    // The exit code is the number of violations; the report is on standard output either way.
    execFile(
      process.execPath,
      [depcruise, '-T', 'json', ...folders],
      { cwd: folder, maxBuffer: 2 ** 26 },
      (_, stdout) => resolve(stdout),
    );
  });
  violations = (JSON.parse(printed) as { summary: { violations: Violation[] } }).summary.violations;
}, 60_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('import rules', () => {
  test('every rule has a case', () => {
    expect(Object.keys(BROKEN).sort()).toEqual(config.forbidden.map(({ name }) => name).sort());
  });

  test.for(Object.entries(BROKEN))('%s rejects the import it is about', ([name, [file]]) => {
    // A circle is reported once, from either of its files.
    expect(
      violations.filter(({ rule, from, to }) => rule.name === name && [from, to].includes(file)),
    ).not.toEqual([]);
  });

  test.for(ALLOWED)('%s is allowed', ([file]) => {
    expect(violations.filter(({ from }) => from === file)).toEqual([]);
  });
});
