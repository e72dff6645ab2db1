/**
 * The scenarios in the shape of the official suite: their checks are the rows of `sep-NNNN.yaml`, its
 * `traceability` command accepts both, and a broken server fails.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, test, vi } from 'vitest';
import { parse } from 'yaml';
import { officialScenarios } from '../official/scenarios.ts';
import { brokenServers } from '../peers/broken/server/index.ts';
import { FaultProxy } from '../peers/broken/proxy.ts';
import { LEVELS } from '../runner/levels.ts';
import type { ConformanceCheck } from '../runner/report/checks.ts';
import { checksFor, readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';

const SERVER = fileURLToPath(new URL('../peers/minimal-server.mjs', import.meta.url));
const WRITER = fileURLToPath(new URL('../official/sep-yaml.ts', import.meta.url));
const CLI = join(
  dirname(fileURLToPath(import.meta.resolve('@modelcontextprotocol/conformance/package.json'))),
  'dist/index.js',
);
const run = promisify(execFile);

/** A number that is not a placeholder, which the official command requires. */
const NUMBER = '9999';
const folder = mkdtempSync(join(tmpdir(), 'official-'));
let server: ChildProcess;
let url: string;

beforeAll(async () => {
  server = spawn(process.execPath, [SERVER, '--drains', 'stream,pull'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(server.stdout!), 'line')) as [string];
  const started = JSON.parse(line) as Record<'url' | 'token' | 'control', string>;
  ({ url } = started);
  vi.stubEnv('TRIGGERS_CONTROL_URL', started.control);
  vi.stubEnv('TRIGGERS_TOKEN', started.token);
});
afterAll(() => {
  server.kill();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const [log, stream, callback] = officialScenarios;
/** Writes the checks where the official runner writes them. */
function write(name: string, checks: readonly ConformanceCheck[]): void {
  const results = join(folder, 'results', `server-${name}`);
  mkdirSync(results, { recursive: true });
  const text = JSON.stringify(checks).replaceAll('sep-0000-', `sep-${NUMBER}-`);
  writeFileSync(join(results, 'checks.json'), text);
}

describe('the scenarios of the official suite', { timeout: 120_000 }, () => {
  test('are few, and have every check of a server once', () => {
    const requirements = checksFor(readRequirements(REQUIREMENT_FILES.triggers), 'server');
    assert.ok(officialScenarios.length <= 4 && requirements.length > 150);
    assert.deepEqual(
      officialScenarios.map(({ name }) => name),
      ['triggers-log', 'triggers-stream', 'triggers-callback', 'triggers-durable'],
    );
    const unknown = requirements.filter(
      ({ level }) => level === undefined || !LEVELS.includes(level),
    );
    assert.deepEqual(unknown, []);
  });

  test('pass the minimal server, and the traceability command accepts checks and rows', async () => {
    for (const scenario of [log!, stream!]) {
      const checks = await scenario.run({ serverUrl: url });
      assert.ok(checks.length > 10);
      assert.deepEqual(
        checks
          .filter(({ status, details }) => status !== 'SUCCESS' && details['untestable'] !== true)
          .filter(({ status }) => status !== 'SKIPPED'),
        [],
      );
      write(scenario.name, checks);
    }
    const undeclared = await callback!.run(url);
    assert.ok(undeclared.length > 50 && undeclared.every(({ status }) => status === 'SKIPPED'));
    write(callback!.name, undeclared);

    await run(process.execPath, [WRITER, folder, NUMBER]);
    const yaml = parse(readFileSync(join(folder, `src/seps/sep-${NUMBER}.yaml`), 'utf8')) as {
      readonly requirements: readonly { readonly url: string }[];
    };
    assert.ok(yaml.requirements.every((row) => row.url.startsWith('https://')));
    await run(
      process.execPath,
      [CLI, 'traceability', '--results', 'results', '--source', 'kit@0'],
      {
        cwd: folder,
      },
    );
    const { seps } = JSON.parse(
      readFileSync(join(folder, 'src', 'seps', 'traceability.json'), 'utf8'),
    ) as { readonly seps: Record<string, Record<string, readonly unknown[]>> };
    const entry = seps[NUMBER]!;
    assert.deepEqual(entry['untracked'] ?? [], [], 'checks without a row');
    assert.match(JSON.stringify(entry), /sep-9999-log-contiguous/);
  });

  test('fail a server that breaks a rule', async () => {
    const peer = brokenServers.find(({ check }) => check === 'log-contiguous')!;
    const proxy = await FaultProxy.start(url, peer.fault);
    try {
      const checks = await log!.run(proxy.url);
      const found = checks.find(({ id }) => id === 'sep-0000-log-contiguous')!;
      assert.equal(found.status, 'FAILURE', JSON.stringify(found));
      assert.ok(found.errorMessage!.length > 10);
    } finally {
      await proxy.close();
    }
  });
});
