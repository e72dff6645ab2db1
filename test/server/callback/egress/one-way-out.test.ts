/** Tests the sources: only the egress module of `src` makes outbound calls. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'vitest';

const root = new URL('../../../../', import.meta.url);
const sources = globSync('src/**/*.ts', { cwd: root.pathname }).sort();

/**
 * Ways to make an outbound call, and the files that may use them. The client's connection is the
 * MCP SDK's.
 */
const WAYS: readonly {
  readonly way: string;
  readonly pattern: RegExp;
  readonly allowed: readonly string[];
}[] = [
  {
    way: 'undici',
    pattern: /\bfrom\s+['"]undici|\b(?:import|require)\(\s*['"]undici/,
    allowed: ['src/server/callback/egress/egress.ts'],
  },
  { way: 'fetch()', pattern: /(?<![\w.'"`#])(?:globalThis\.)?fetch\s*\(/, allowed: [] },
  {
    way: 'http.request()',
    pattern:
      /\bhttps?\s*\.\s*(?:request|get)\s*\(|import\s*\{[^}]*\b(?:request|get)\b[^}]*\}\s*from\s*['"](?:node:)?https?['"]/,
    allowed: [],
  },
  { way: 'node:http2', pattern: /from\s+['"](?:node:)?http2['"]/, allowed: [] },
  {
    way: 'net.connect()',
    pattern:
      /\b(?:net|tls)\s*\.\s*(?:connect|createConnection)\s*\(|new\s+(?:net\.)?Socket\s*\(|import\s*\{[^}]*\b(?:connect|createConnection|Socket)\b[^}]*\}\s*from\s*['"](?:node:)?(?:net|tls)['"]/,
    allowed: [],
  },
  { way: 'node:dgram', pattern: /from\s+['"](?:node:)?dgram['"]/, allowed: [] },
  {
    way: 'name resolution',
    pattern: /from\s+['"](?:node:)?dns(?:\/promises)?['"]/,
    allowed: ['src/server/callback/egress/egress.ts'],
  },
  { way: 'WebSocket or EventSource', pattern: /new\s+(?:WebSocket|EventSource)\s*\(/, allowed: [] },
  { way: 'child processes', pattern: /from\s+['"](?:node:)?child_process['"]/, allowed: [] },
];

/**
 * A source without the parts that make no outbound call: comments, type imports, and methods called
 * `fetch`, which are web handlers.
 */
const code = (file: string): string =>
  readFileSync(new URL(file, root), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|\s)\/\/.*$/gm, '$1')
    .replace(/import\s+type\s[\s\S]*?;/g, '')
    .replace(/^\s+(?:async\s+)?fetch\([^()]*\):\s/gm, '');

test('[ssrf-connect] every outbound call goes through one module', () => {
  assert.ok(sources.includes('src/server/callback/egress/egress.ts'));
  for (const { way, pattern, allowed } of WAYS) {
    const found = sources.filter((file) => pattern.test(code(file)));
    assert.deepEqual(
      found.filter((file) => !allowed.includes(file)),
      [],
      way,
    );
  }
});

test('every pattern matches what it is meant to find', () => {
  const samples: Readonly<Record<string, readonly string[]>> = {
    undici: ["import { Agent } from 'undici';", "await import('undici')"],
    'fetch()': ['await fetch(url)', 'globalThis.fetch(url)'],
    'http.request()': [
      'http.request(url)',
      'https.get(url)',
      "import { request } from 'node:https';",
    ],
    'node:http2': ["import http2 from 'node:http2';"],
    'net.connect()': [
      'net.connect(80)',
      'tls.connect({})',
      'new Socket()',
      "import { isIP, connect } from 'node:net';",
    ],
    'node:dgram': ["import dgram from 'node:dgram';"],
    'name resolution': [
      "import { lookup } from 'node:dns';",
      "import dns from 'node:dns/promises';",
    ],
    'WebSocket or EventSource': ['new WebSocket(url)'],
    'child processes': ["import { spawn } from 'node:child_process';"],
  };
  for (const { way, pattern } of WAYS) {
    for (const sample of samples[way] ?? []) assert.match(sample, pattern);
    assert.ok((samples[way] ?? []).length > 0, way);
  }
  for (const harmless of ['this.#fetch()', 'store.fetch(row)', "'fetch('"])
    assert.doesNotMatch(harmless, WAYS[1]!.pattern);
});

test('deliveries use the egress module', () => {
  assert.match(code('src/server/callback/dispatcher.ts'), /egress\.post\(/);
});
