/** The house keeps its walls: which folder may import what, as `docs/architecture.md` says. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { importsOf, read, repositoryFiles, type Import } from './sources.ts';

const WIRE_TYPES = /^spec-schema\/draft\/schema\.ts$/;
const NODE = /^node:/;
const SDK = /^@modelcontextprotocol\//;

interface Rule {
  readonly folder: RegExp;
  /** What may be imported for its values. */
  readonly values: readonly RegExp[];
  /** What may be imported for its types as well. */
  readonly types?: readonly RegExp[];
}

/** First rule that fits a file decides. */
const RULES: readonly Rule[] = [
  { folder: /^spec-schema\/draft\/schema\.ts$/, values: [] },
  { folder: /^src\/core\//, values: [/^src\/core\//] },
  { folder: /^src\/wire\//, values: [/^src\/wire\//, /^spec-schema\/draft\/[a-z]+\.(ts|json)$/, NODE, /^(ajv|ajv\/dist\/2020\.js|ajv-formats|canonicalize|jose)$/], types: [/^src\/core\//] },
  { folder: /^src\/engine\/egress\.ts$/, values: [/^src\/(core|wire|engine)\//, NODE, /^(undici|ipaddr\.js)$/] },
  { folder: /^src\/engine\/egress\//, values: [/^src\/(core|wire|engine)\//, NODE, /^ipaddr\.js$/] },
  { folder: /^src\/engine\//, values: [/^src\/(core|wire|engine)\//, NODE] },
  { folder: /^src\/stores\//, values: [/^src\/stores\//, /^src\/engine\/ports\.ts$/, /^src\/wire\/errors\.ts$/, NODE], types: [/^src\/core\//] },
  { folder: /^src\/bindings\/mcp\//, values: [/^src\/(bindings|wire|engine)\//, SDK, NODE], types: [/^src\/core\//] },
  { folder: /^src\/bindings\//, values: [/^src\/(bindings|wire|engine)\//, /^zod$/, NODE], types: [/^src\/core\//] },
  { folder: /^src\/client\/(stock-peer|transport-state)\.ts$/, values: [/^src\/(client|local|wire|core)\//, NODE], types: [SDK] },
  { folder: /^src\/client\/(connection|dial|targets)\.ts$/, values: [/^src\/(client|local|wire|core)\//, SDK, NODE] },
  { folder: /^src\/(client|receiver|local)\//, values: [/^src\/(client|receiver|local|wire|core)\//, NODE] },
  { folder: /^src\/testing\//, values: [/^src\//, NODE, /^fast-check$/] },
  { folder: /^src\/[a-z]+\.ts$/, values: [/^src\//, NODE] },
  // The kit is a stranger: it knows the wire and the published data, nothing of this implementation.
  { folder: /^test\/conformance\/(main|suites)\.ts$|^test\/conformance\/(kit|server|client|receiver|events)\//, values: [/^test\/conformance\/(suites\.ts$|(kit|server|client|receiver|events)\/)/, NODE, /^(ajv\/dist\/2020\.js|ajv-formats|eventsource-parser|jose|yaml)$/] },
  { folder: /^reference-(server|client)\//, values: [/^reference-(server|client)\//, /^mcp-triggers-experimental(\/|$)/, NODE, SDK, /^(@hono\/node-server|hono|jose|zod|pino|prom-client|rate-limiter-flexible|chokidar|croner|commander|@octokit\/[a-z-]+)(\/|$)/] },
];

const files = repositoryFiles().filter((file) => /\.ts$/.test(file) && RULES.some(({ folder }) => folder.test(file)));

function allowed(rule: Rule, { target, typeOnly }: Import): boolean {
  if (rule.values.some((pattern) => pattern.test(target))) return true;
  return typeOnly && (WIRE_TYPES.test(target) || (rule.types ?? []).some((pattern) => pattern.test(target)));
}

describe('import rules', () => {
  test('the rules see the whole library', () => {
    assert.ok(files.length > 60, `only ${files.length} files are under a rule`);
    const without = repositoryFiles().filter((file) => /^src\/.*\.ts$/.test(file) && !files.includes(file));
    assert.deepEqual(without, [], 'files of src/ without a rule');
  });

  test('no file imports what its folder may not', () => {
    const broken = files.flatMap((file) => {
      const rule = RULES.find(({ folder }) => folder.test(file))!;
      return importsOf(file).filter((one) => !allowed(rule, one)).map((one) => `${file} imports ${one.specifier}`);
    });
    assert.deepEqual(broken, []);
  });

  test('a forbidden import is seen', () => {
    const core = RULES.find(({ folder }) => folder.test('src/protocol/core/log.ts'))!;
    const clock: Import = { file: 'src/protocol/core/log.ts', specifier: 'node:timers', target: 'node:timers', typeOnly: false };
    assert.equal(allowed(core, clock), false);
  });

  test('nothing goes round in circles, types included', () => {
    const graph = new Map(files.map((file) => [file, importsOf(file).map((one) => one.target).filter((target) => files.includes(target))]));
    const state = new Map<string, 'open' | 'done'>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') { circles.push([...path.slice(path.indexOf(file)), file].join(' → ')); return; }
      state.set(file, 'open');
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      state.set(file, 'done');
    };
    for (const file of files) visit(file, []);
    assert.deepEqual(circles, []);
  });

  test('only two modules keep state about objects that are not theirs', () => {
    assert.deepEqual(files.filter((file) => /^src\//.test(file) && /\bnew Weak(?:Map|Set)\b/.test(read(file))), ['src/server/mcp/attached.ts', 'src/client/sdk/transport-state.ts']);
  });

  test('only one module uses a member of the SDK that is not public', () => {
    assert.deepEqual(files.filter((file) => /^src\//.test(file) && /\w\._(?!meta\b)[a-z]/.test(read(file))), ['src/server/mcp/sdk-handlers.ts']);
  });

  test('only the egress module can open a connection', () => {
    const pattern = /\bfrom ['"]undici['"]|\bfetch\(|\b(?:https?|net|tls)\.(?:request|get|connect|createConnection)\(/;
    const able = files.filter((file) => /^src\//.test(file)).filter((file) => importsOf(file).some(({ specifier }) => specifier === 'undici'));
    assert.deepEqual(able, ['src/server/callback/egress/egress.ts']);
    assert.ok(pattern.test("await fetch('x')"));
  });
});
