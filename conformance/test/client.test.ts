/**
 * Tests of the client suite against the client library, the minimal client, every broken client, and
 * programs that are not clients.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'vitest';
import { fileURLToPath } from 'node:url';
import { triggersClient } from '../suites/client/index.ts';
import { growthOf, jitterOf } from '../runner/client/backoff.ts';
import { runClient } from '../runner/client/run.ts';
import { clientScenario, ClientTest } from '../runner/client/scenario.ts';
import { main } from '../runner/main.ts';
import { NothingToTest } from '../runner/observations.ts';
import { checksFor, readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import type { CheckResult } from '../runner/verdict.ts';
import { brokenClients, runBrokenClients } from '../peers/broken/broken-programs.ts';
import { familyOf, onePerGroup } from '../../test/tier.ts';
import { CLIENT_COMMAND } from '../peers/reference/command.ts';

const requirements = readRequirements(REQUIREMENT_FILES.triggers);
const asked = checksFor(requirements, 'client');
const node = JSON.stringify(process.execPath);
const MINIMAL = `${node} ${JSON.stringify(fileURLToPath(new URL('../peers/minimal-client.mjs', import.meta.url)))}`;
const ERA = '2026-07-28';

describe('scenarios, requirements and broken clients', () => {
  test('checks every requirement of a client and no other', () => {
    const looked = new Set(triggersClient.flatMap(({ checks }) => checks));
    assert.deepEqual([...looked].sort(), asked.map(({ name }) => name).sort());
  });

  test('has a broken client for every requirement', () => {
    const broken = new Set(brokenClients.map(({ check }) => check));
    assert.deepEqual(
      asked.filter(({ name }) => !broken.has(name)).map(({ name }) => name),
      [],
    );
  });

  test('gives every scenario a unique name', () => {
    const names = triggersClient.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });
});

describe('against real clients', { timeout: 600_000, concurrent: true }, () => {
  const notPassed = (results: readonly CheckResult[]): string[] =>
    results
      .filter(({ verdict }) => verdict !== 'passed')
      .map(({ id, verdict, reasons }) => `${id} ${verdict}: ${reasons.join('; ')}`);

  test('the client library passes every check', async (context) => {
    const { results, durationMs } = await runClient({
      requirements,
      scenarios: triggersClient,
      command: CLIENT_COMMAND,
    });
    void context.annotate(`${results.length} checks in ${(durationMs / 1000).toFixed(0)} s`);
    assert.deepEqual(notPassed(results), []);
  });

  test('the minimal client passes every check', async () => {
    assert.deepEqual(
      notPassed(
        (await runClient({ requirements, scenarios: triggersClient, command: MINIMAL, atOnce: 8 }))
          .results,
      ),
      [],
    );
  });

  test('catches every broken client', async (context) => {
    const caught = await runBrokenClients({
      peers: onePerGroup(brokenClients, familyOf),
      scenarios: triggersClient,
      requirements,
      atOnce: 10,
    });
    void context.annotate(
      `${caught.filter((one) => one.caught).length} of ${caught.length} broken clients caught, ${new Set(caught.map(({ peer }) => peer.check)).size} checks`,
    );
    assert.deepEqual(
      caught
        .filter((one) => !one.caught)
        .map(({ peer, details }) => `${peer.check}: "${peer.wrong}" was not caught; ${details}`),
      [],
    );
  });
});

describe('backoff and jitter', () => {
  const rows: readonly (readonly [
    what: string,
    pauses: readonly number[],
    grows: boolean,
    isRandom: boolean,
  ])[] = [
    ['that double with jitter', [7, 3, 31, 60, 20, 290, 400, 1100, 350], true, true],
    ['that double without jitter', [12, 22, 43, 82, 161, 324, 641, 1290, 2563], true, false],
    ['that grow by 1.5 on a slow client', [1000, 1503, 2260, 3370, 5071], true, false],
    ['of constant length', [150, 156, 149, 153, 151, 150, 160, 152, 150], false, true],
    ['of almost no length', [1, 2, 1, 14, 20, 25, 3, 2, 30], false, true],
    ['that are too few to tell', [5000, 5000, 5000], true, true],
  ];
  for (const [what, pauses, grows, isRandom] of rows) {
    test(`finds that pauses ${what} ${grows ? 'grow' : 'do not grow'} and ${isRandom ? 'may have jitter' : 'have no jitter'}`, () => {
      assert.deepEqual([growthOf(pauses) === null, jitterOf(pauses) === null], [grows, isRandom]);
    });
  }
});

/** Writes a program of one line and returns its command. */
function programFile(t: TestContext, source: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'client-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'client.mjs');
  writeFileSync(file, source);
  return `${node} ${JSON.stringify(file)}`;
}

describe('programs that are not clients', { concurrent: true }, () => {
  const command = async (...args: string[]) => {
    const screen = { out: '', err: '' };
    const code = await main(args, {
      out: (text) => {
        screen.out += text;
      },
      err: (text) => {
        screen.err += text;
      },
    });
    return { code, ...screen };
  };

  test('exits with code 3 and one line for a command that does not exist', async () => {
    const { code, out, err } = await command('client', '--command', 'there-is-no-such-program');
    assert.deepEqual([code, out], [3, '']);
    assert.match(
      err,
      /^Nothing was tested: "there-is-no-such-program" cannot be tested as a client: .*ended with code 127: .+\n$/,
    );
  });

  test('exits with code 3 and shows the exit code and last error line of a command that ends at once', async (t) => {
    const { code, err } = await command(
      'client',
      '--command',
      programFile(t, 'console.error("no configuration found"); process.exit(9);'),
    );
    assert.equal(code, 3);
    assert.match(err, /ended with code 9: no configuration found\. .+\n$/);
  });

  const none = { requirements, scenarios: [], patienceMs: 700 };
  test('stops a program that ignores SIGTERM', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'client-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const beats = join(folder, 'beats');
    const unresponsive = programFile(
      t,
      `import { appendFileSync } from 'node:fs'; process.on('SIGTERM', () => {}); setInterval(() => appendFileSync(${JSON.stringify(beats)}, '.'), 10);`,
    );
    await assert.rejects(
      runClient({ ...none, command: unresponsive }),
      (error) => error instanceof NothingToTest && /sent no request for 0\.7 s/.test(error.message),
    );
    const heard = readFileSync(beats, 'utf8').length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(readFileSync(beats, 'utf8').length, heard, 'the program still runs');
  });

  test('reports a program that calls no method of the extension', async (t) => {
    const other = programFile(
      t,
      `await fetch(process.argv.at(-1), { method: 'POST', body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' }); setInterval(() => {}, 1000);`,
    );
    await assert.rejects(
      runClient({ ...none, patienceMs: 2500, command: other }),
      /called no method of the extension/,
    );
  });
});

describe('the scripted server and its program', () => {
  test('ends the wait when the client dies in a scenario, and reports its last error line', async (t) => {
    const crashing = programFile(
      t,
      `await fetch(process.argv.at(-1), { method: 'POST', body: '{"jsonrpc":"2.0","id":1,"method":"server/discover"}' }); console.error('out of memory'); process.exit(3);`,
    );
    const scenario = clientScenario({
      name: 's',
      about: 's',
      checks: ['cap-no-call', 'recv-duplicate'],
      run: async (it) => {
        await it.drain('stream');
      },
    });
    const startedAt = Date.now();
    const { list: observations } = await ClientTest.run(scenario, crashing, ERA);
    assert.deepEqual(
      observations.map(({ outcome, seen }) => [
        outcome,
        seen === 'the client ended with code 3: out of memory',
      ]),
      [
        ['broken', true],
        ['broken', true],
      ],
    );
    assert.ok(Date.now() - startedAt < 20_000, 'the scenario waited for the dead client');
  });

  test('reports checks as not applicable when the client uses another drain than requested', async () => {
    const scenario = clientScenario({
      name: 's',
      about: 's',
      checks: ['recv-duplicate'],
      run: async (it) => {
        await it.drain('stream', { drain: 'pull' });
      },
    });
    const { list: observations } = await ClientTest.run(scenario, MINIMAL, ERA);
    assert.deepEqual(
      observations.map(({ outcome, reason }) => [outcome, reason]),
      [['not applicable', 'The client drains by pull, not by stream.']],
    );
  });

  test('reports checks of the output as not shown when the client prints nothing', async (t) => {
    const silent = programFile(
      t,
      `process.stdout.write = () => true; await import(${JSON.stringify(new URL('../peers/minimal-client.mjs', import.meta.url).href)});`,
    );
    const { list: observations } = await ClientTest.run(
      triggersClient.find(({ name }) => name === 'stream: following a newer server')!,
      silent,
      ERA,
    );
    assert.deepEqual(
      observations.map(({ check, outcome }) => `${check} ${outcome}`),
      ['gen-ignore-unknown held', 'gen-ignore-unknown held', 'rec-tell not shown'],
    );
  });
});
