/** The client suite against the client library, a minimal client, every broken one, and what is no client at all. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'vitest';
import { fileURLToPath } from 'node:url';
import { triggersClient } from '../suites/client/index.ts';
import { growthOf, jitterOf } from '../runner/client/pauses.ts';
import { runClient } from '../runner/client/run.ts';
import { clientScenario, ClientTest } from '../runner/client/scenario.ts';
import { main } from '../runner/main.ts';
import { NothingToTest } from '../runner/nothing.ts';
import { checksFor, readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import type { CheckResult } from '../runner/verdict.ts';
import { brokenClients, runBrokenClients } from '../peers/broken/programs.ts';
import { familyOf, onePerGroup } from '../../test/tier.ts';
import { CLIENT_COMMAND } from '../peers/reference/command.ts';

const requirements = readRequirements(REQUIREMENT_FILES.triggers);
const asked = checksFor(requirements, 'client');
const node = JSON.stringify(process.execPath);
const MINIMAL = `${node} ${JSON.stringify(fileURLToPath(new URL('../peers/minimal-client.mjs', import.meta.url)))}`;
const ERA = '2026-07-28';

describe('scenarios, requirements and broken clients', () => {
  test('every requirement of a client is looked at, and nothing else is', () => {
    const looked = new Set(triggersClient.flatMap(({ checks }) => checks));
    assert.deepEqual([...looked].sort(), asked.map(({ name }) => name).sort());
  });

  test('every requirement of a client has a client that breaks it', () => {
    const broken = new Set(brokenClients.map(({ check }) => check));
    assert.deepEqual(
      asked.filter(({ name }) => !broken.has(name)).map(({ name }) => name),
      [],
    );
  });

  test('scenarios have names of their own', () => {
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

  test('every broken client is caught', async (context) => {
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
        .map(({ peer, says }) => `${peer.check}: "${peer.wrong}" was not caught; ${says}`),
      [],
    );
  });
});

describe('what pauses say', () => {
  const rows: readonly (readonly [
    what: string,
    pauses: readonly number[],
    grows: boolean,
    isRandom: boolean,
  ])[] = [
    ['doubling with jitter', [7, 3, 31, 60, 20, 290, 400, 1100, 350], true, true],
    ['doubling without jitter', [12, 22, 43, 82, 161, 324, 641, 1290, 2563], true, false],
    ['half as much again, on a slow client', [1000, 1503, 2260, 3370, 5071], true, false],
    ['always the same', [150, 156, 149, 153, 151, 150, 160, 152, 150], false, true],
    ['none at all', [1, 2, 1, 14, 20, 25, 3, 2, 30], false, true],
    ['too few to say', [5000, 5000, 5000], true, true],
  ];
  for (const [what, pauses, grows, isRandom] of rows) {
    test(`${what}: ${grows ? 'grows' : 'does not grow'}, ${isRandom ? 'nothing is said against its jitter' : 'has no jitter'}`, () => {
      assert.deepEqual([growthOf(pauses) === null, jitterOf(pauses) === null], [grows, isRandom]);
    });
  }
});

/** A program of one line. */
function program(t: TestContext, source: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'client-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'client.mjs');
  writeFileSync(file, source);
  return `${node} ${JSON.stringify(file)}`;
}

describe('what is no client', { concurrent: true }, () => {
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

  test('a command that does not exist: exit code 3 at once, in one line', async () => {
    const { code, out, err } = await command('client', '--command', 'there-is-no-such-program');
    assert.deepEqual([code, out], [3, '']);
    assert.match(
      err,
      /^Nothing was tested: "there-is-no-such-program" is no client .*ended with code 127: .+\n$/,
    );
  });

  test('one that ends at once: exit code 3, with its code and last words', async (t) => {
    const { code, err } = await command(
      'client',
      '--command',
      program(t, 'console.error("no configuration found"); process.exit(9);'),
    );
    assert.equal(code, 3);
    assert.match(err, /ended with code 9: no configuration found\n$/);
  });

  const none = { requirements, scenarios: [], patienceMs: 700 };
  test('one that hangs is ended, whatever it does about it', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'client-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const beats = join(folder, 'beats');
    const stubborn = program(
      t,
      `import { appendFileSync } from 'node:fs'; process.on('SIGTERM', () => {}); setInterval(() => appendFileSync(${JSON.stringify(beats)}, '.'), 10);`,
    );
    await assert.rejects(
      runClient({ ...none, command: stubborn }),
      (error) => error instanceof NothingToTest && /sent no request for 0\.7 s/.test(error.message),
    );
    const heard = readFileSync(beats, 'utf8').length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(readFileSync(beats, 'utf8').length, heard, 'it is still running');
  });

  test('one that asks for something else: it has called no method of the extension', async (t) => {
    const other = program(
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
  test('a client that dies in the middle is not waited for, and its last words are shown', async (t) => {
    const dying = program(
      t,
      `await fetch(process.argv.at(-1), { method: 'POST', body: '{"jsonrpc":"2.0","id":1,"method":"server/discover"}' }); console.error('out of memory'); process.exit(3);`,
    );
    const story = clientScenario({
      name: 's',
      about: 's',
      checks: ['cap-no-call', 'dlv-repeat'],
      run: async (it) => {
        await it.drain('stream');
      },
    });
    const startedAt = Date.now();
    const { evidence } = await ClientTest.run(story, dying, ERA);
    assert.deepEqual(
      evidence.map(({ outcome, reason }) => [
        outcome,
        /but the client ended with code 3: out of memory$/.test(reason ?? ''),
      ]),
      [
        ['broken', true],
        ['broken', true],
      ],
    );
    assert.ok(Date.now() - startedAt < 20_000, 'it was waited for');
  });

  test('a client that drains in another way than it was asked to: not applicable', async () => {
    const story = clientScenario({
      name: 's',
      about: 's',
      checks: ['dlv-repeat'],
      run: async (it) => {
        await it.drain('stream', { drain: 'pull' });
      },
    });
    const { evidence } = await ClientTest.run(story, MINIMAL, ERA);
    assert.deepEqual(
      evidence.map(({ outcome, reason }) => [outcome, reason]),
      [['not applicable', 'the client does not drain by stream; it drains by pull']],
    );
  });

  test('a client that prints nothing: what only its output shows is not shown', async (t) => {
    const silent = program(
      t,
      `process.stdout.write = () => true; await import(${JSON.stringify(new URL('../peers/minimal-client.mjs', import.meta.url).href)});`,
    );
    const { evidence } = await ClientTest.run(
      triggersClient.find(({ name }) => name === 'stream: following a newer server')!,
      silent,
      ERA,
    );
    assert.deepEqual(
      evidence.map(({ check, outcome }) => `${check} ${outcome}`),
      ['gen-ignore-unknown held', 'gen-ignore-unknown held', 'gap-client-tells not shown'],
    );
  });
});
