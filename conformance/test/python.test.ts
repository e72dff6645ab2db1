/**
 * Tests of the Python server, which was written from `docs/porting.md` and the specification: its
 * own functions against the vectors, the server suite at each level, and planted faults, of which
 * the suite has to catch every one.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, test } from 'vitest';
import { byTier } from '../../test/tier.ts';
import { faults } from '../peers/python/faults.ts';
import { planted, plantAll } from '../peers/python/plant.ts';
import { FOLDER, startDurable, startServer, type PythonServer } from '../peers/python/server.ts';
import { readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { runServer } from '../runner/server/run.ts';
import { triggersServer } from '../suites/server/index.ts';

const requirements = readRequirements(REQUIREMENT_FILES.triggers);

/** Checks that a level cannot show, with the verb that is missing. */
const NOT_SHOWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  // The verbs `remember` and `lose` come from the control proxy, which the durable server has.
  log: { 'log-epoch-renumber': 'remember' },
  'log,stream': { 'log-epoch-renumber': 'remember', 'log-epoch-streams': 'remember' },
  'log,stream,callback': { 'log-epoch-renumber': 'remember', 'log-epoch-streams': 'remember' },
  durable: {},
};

async function check(level: string, start: () => Promise<PythonServer>): Promise<void> {
  const server = await start();
  try {
    const { results } = await runServer({
      requirements,
      scenarios: triggersServer,
      access: { url: server.url, token: server.token },
      control: server.control,
      atOnce: 8,
    });
    const seen = results.filter(({ scenarios }) => scenarios.length > 0);
    const named = (verdicts: readonly string[]): string[] =>
      seen
        .filter(({ verdict }) => verdicts.includes(verdict))
        .map(({ id, reasons }) => `${id}: ${reasons.join('; ')}`);
    assert.deepEqual(named(['violated', 'warned']), []);
    assert.deepEqual(
      seen
        .filter(({ verdict }) => verdict === 'not shown')
        .map(({ id }) => id.replace('sep-0000-', ''))
        .sort(),
      Object.keys(NOT_SHOWN[level]!).sort(),
    );
  } finally {
    await server.close();
  }
}

describe('the Python server', { timeout: 600_000 }, () => {
  test('agrees with the vectors', async () => {
    const { stdout } = await promisify(execFile)('python3', [join(FOLDER, 'vectors_test.py')]);
    assert.match(stdout, /^[1-9]\d* cases, 0 differ$/m);
  });

  for (const level of byTier(['log'], ['log', 'log,stream', 'log,stream,callback']))
    test(`violates nothing with the levels ${level}`, () => check(level, () => startServer(level)));

  test.runIf(byTier(false, true))('violates nothing when it is durable', () =>
    check('durable', () => startDurable()),
  );
});

describe('planted faults', { timeout: 1_200_000 }, () => {
  test('each one is in one place of the server and breaks one requirement', () => {
    for (const fault of faults) {
      planted(fault, readFileSync(join(FOLDER, fault.file), 'utf8'));
      assert.ok(requirements.checks.has(fault.check), `there is no requirement ${fault.check}`);
    }
    assert.equal(new Set(faults.map(({ about }) => about)).size, faults.length, 'sentences:');
  });

  test.runIf(byTier(false, true))('the suite catches those that it can see', async (context) => {
    const results = await plantAll(faults);
    const survived = results.filter(({ caught }) => !caught);
    void context.annotate(`${results.length - survived.length} of ${results.length} caught`);
    assert.deepEqual(
      survived.map(({ fault }) => fault.about),
      faults.filter(({ survives }) => survives !== undefined).map(({ about }) => about),
    );
  });
});
