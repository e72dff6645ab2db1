/**
 * Tests of the kit's own parts: verdicts, known failures, reports, the command line, and its errors
 * when there is nothing to test.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { Control } from '../runner/control.ts';
import { readExpected, standing } from '../runner/expected.ts';
import { Observations, NotApplicable, NotShown } from '../runner/observations.ts';
import { main } from '../runner/main.ts';
import { readOptions, UsageError } from '../runner/options.ts';
import { checksReport } from '../runner/report/checks.ts';
import { humanReport } from '../runner/report/human.ts';
import { junitReport } from '../runner/report/junit.ts';
import { readRequirements, REQUIREMENT_FILES, type Requirement } from '../runner/requirements.ts';
import { conclude, runAll, runSuite } from '../runner/run.ts';
import {
  verdictOf,
  type CheckResult,
  type Observation,
  type Outcome,
  type Verdict,
} from '../runner/verdict.ts';

const requirement = (name: string, recommended = false): Requirement => ({
  id: `sep-0000-${name}`,
  name,
  text: `Text of ${name}.`,
  url: 'x.md#a',
  who: 'server',
  recommended,
});
const look = (check: string, outcome: Observation['outcome'], reason?: string): Observation => ({
  check,
  scenario: 's',
  what: 'w',
  outcome,
  ...(reason === undefined ? {} : { reason }),
});

describe('verdicts', () => {
  const rows: readonly (readonly [
    looks: readonly Observation['outcome'][],
    must: Verdict,
    should: Verdict,
  ])[] = [
    [['held'], 'passed', 'passed'],
    [['held', 'broken'], 'violated', 'warned'],
    [['not shown', 'held'], 'passed', 'passed'],
    [['not applicable', 'not shown'], 'not shown', 'not shown'],
    [['not applicable'], 'not applicable', 'not applicable'],
    [[], 'violated', 'warned'],
  ];
  for (const [looks, must, should] of rows) {
    test(`gives ${must}, or ${should} for a recommendation, for ${looks.join(' and ') || 'no observation'}`, () => {
      const observations = looks.map((outcome) => look('a', outcome));
      assert.deepEqual(
        [verdictOf(observations, false), verdictOf(observations, true)],
        [must, should],
      );
    });
  }

  test('reports a requirement without a scenario as violated, with the reason', () => {
    const [result] = conclude([requirement('a')], []);
    assert.deepEqual([result?.verdict, result?.reasons], ['violated', ['No scenario checks it.']]);
  });

  test('reports the reasons of the decisive observations', () => {
    const [result] = conclude(
      [requirement('a')],
      [look('a', 'held'), look('a', 'broken', 'one is wrong'), look('a', 'not shown', 'no verb')],
    );
    assert.deepEqual(result?.reasons, ['w: one is wrong']);
  });
});

describe('observations', () => {
  test('continues after a violation, which reports the expected value', async () => {
    const looks = new Observations('s', ['a', 'b']);
    await looks.check('a', 'first', () => assert.equal(1, 2));
    assert.equal(await looks.check('b', 'second', () => 'value'), 'value');
    looks.close();
    assert.deepEqual(
      looks.list.map(({ check, outcome, expected, seen }) => [check, outcome, expected, seen]),
      [
        ['a', 'broken', '2', '1'],
        ['b', 'held', undefined, undefined],
      ],
    );
  });

  for (const [error, outcome] of [
    [new Error('no answer'), 'broken'],
    [new NotShown('no verb'), 'not shown'],
    [new NotApplicable('no drain'), 'not applicable'],
    [undefined, 'broken'],
  ] as const) {
    test(`reports an undecided check as ${outcome}${error ? ` after ${error.name}` : ' when the scenario ends normally'}`, () => {
      const looks = new Observations('s', ['a']);
      looks.close(error);
      assert.deepEqual(
        looks.list.map((one) => one.outcome),
        [outcome],
      );
    });
  }

  test('rejects a check that the scenario does not declare', async () => {
    await assert.rejects(
      new Observations('s', ['a']).check('b', 'w', () => undefined),
      /does not declare/,
    );
  });

  test('runs exclusive tasks last, one by one', async () => {
    const running = new Set<string>();
    const order: string[] = [];
    const task = (name: string, alone: boolean) => ({
      name,
      alone,
      async run() {
        if (alone) assert.deepEqual([...running], []);
        running.add(name);
        await new Promise((resolve) => setImmediate(resolve));
        running.delete(name);
        order.push(name);
        return new Observations(name, []);
      },
    });
    await runAll([task('x', true), task('a', false), task('y', true), task('b', false)], 4);
    assert.deepEqual(
      [order.slice(0, 2).sort(), order.slice(2)],
      [
        ['a', 'b'],
        ['x', 'y'],
      ],
    );
  });
});

const outcomeOf = (...verdicts: Verdict[]): Outcome => ({
  role: 'server',
  subject: 'http://peer/mcp',
  durationMs: 1234,
  results: verdicts.map((verdict, at): CheckResult => ({
    id: `sep-0000-c${at}`,
    text: `<text> "${at}"`,
    url: 'u',
    verdict,
    reasons: [`reason\u0000 & ${at}`],
    findings: [],
    scenarios: ['s'],
  })),
});

describe('known failures', () => {
  const expected = new Map([['sep-0000-c0', 'issue 1']]);
  for (const [verdict, stands] of [
    ['violated', 'expected failure'],
    ['warned', 'expected failure'],
    ['passed', 'unexpectedly passing'],
    ['not shown', 'fine'],
    ['not applicable', 'fine'],
  ] as const) {
    test(`counts a listed check that is ${verdict} as ${stands}`, () =>
      assert.equal(standing(outcomeOf(verdict).results[0]!, expected), stands));
  }
  test('counts a violated check that is not listed as unexpected failure', () =>
    assert.equal(standing(outcomeOf('violated').results[0]!, new Map()), 'unexpected failure'));
  test('counts a warned check that is not listed as fine', () =>
    assert.equal(standing(outcomeOf('warned').results[0]!, new Map()), 'fine'));

  test('rejects a file with an unknown check or without a reason', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kit-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'expected.yaml');
    const read = (text: string) => {
      writeFileSync(file, text);
      return readExpected(file, new Set(['sep-0000-a']));
    };
    assert.deepEqual(
      [...read('- check: sep-0000-a\n  because: later\n')],
      [['sep-0000-a', 'later']],
    );
    assert.throws(
      () => read('- check: sep-0000-b\n  because: later\n'),
      /unknown check sep-0000-b/,
    );
    assert.throws(() => read('- check: sep-0000-a\n'), /"because"/);
    assert.equal(read('').size, 0);
  });
});

describe('reports', () => {
  const outcome = outcomeOf('violated', 'warned', 'not shown', 'not applicable', 'passed');

  test('the text report lists violations first and counts every check', () => {
    const text = humanReport(outcome, new Map());
    assert.ok(text.indexOf('VIOLATED: 1') < text.indexOf('NOT SHOWN: 1'));
    assert.match(
      text,
      /5 checks in 1\.2 s: 1 passed, 1 not applicable, 1 not shown, 1 warned, 1 violated\n$/,
    );
    assert.doesNotMatch(text, /PASSED/);
    assert.match(humanReport(outcome, new Map(), true), /PASSED: 1/);
    assert.match(
      humanReport(outcomeOf('passed'), new Map([['sep-0000-c0', 'x']])),
      /EXPECTED TO FAIL, BUT PASSED/,
    );
  });

  test('the JUnit report is well-formed whatever the peer sent', () => {
    const xml = junitReport(outcome, new Map());
    assert.match(xml, /tests="5" failures="1" skipped="2"/);
    assert.doesNotMatch(xml, /\u0000|<text>/);
    assert.equal([...xml.matchAll(/<testcase\b/g)].length, 5);
  });

  test('checks.json uses the status names of the official suite', () => {
    const statuses = (checksReport(outcome, new Date(0)) as { status: string }[]).map(
      ({ status }) => status,
    );
    // Skipped counts as fine there, so a check that could not be shown is not skipped.
    assert.deepEqual(statuses, ['FAILURE', 'WARNING', 'FAILURE', 'SKIPPED', 'SUCCESS']);
  });
});

describe('the command line', () => {
  const bad: readonly (readonly [args: string, message: RegExp])[] = [
    ['', /Use server, client or receiver\.$/],
    ['sever --url http://x', /"sever" is not a role/],
    ['server', /needs --url/],
    ['server --url x', /--url is not an http/],
    ['server --url ftp://x', /--url is not an http/],
    ['client', /needs --command/],
    ['receiver --url http://x', /needs --secret/],
    ['server --url http://x --requirements all', /--requirements triggers or/],
    ['server --url http://x --at-once 0', /Use 1 or more/],
    ['server more --url http://x', /Unexpected argument "more"/],
    ['server --ur http://x', /^Unknown option '--ur'\.$/],
    ['server --url', /argument missing\.$/],
    ['receiver --url http://x --secret abc', /^--secret is not "whsec_" followed by base64\./],
  ];
  for (const [args, message] of bad)
    test(`rejects "${args}" as wrong usage`, () =>
      assert.throws(
        () => readOptions(args.split(' ').filter(Boolean)),
        (error) => error instanceof UsageError && message.test(error.message),
      ));

  test('--help prints the usage with exit code 0', async () => {
    const { code, out } = await command('--help');
    assert.equal(code, 0);
    for (const option of ['--url', '--control', '--expected', '--junit'])
      assert.ok(out.includes(option));
  });
  test('wrong usage prints the usage with exit code 2', async () => {
    const { code, err } = await command('server');
    assert.equal(code, 2);
    assert.match(err, /needs --url\. Add it\.\n\nUsage/);
  });
  for (const [option, path] of [
    ['--expected', 'nowhere.yaml'],
    ['--json', 'nowhere/report.json'],
    ['--junit', 'nowhere/report.xml'],
  ] as const)
    test(`${option} with a path that does not exist ends before the run, with exit code 2`, async () => {
      const { code, out, err } = await command('server', '--url', 'http://x.invalid', option, path);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, new RegExp(`^Nothing was tested: .*${option} .*${path}.*\\.\n$`));
    });
});

describe('nothing to test', () => {
  const strangers: readonly (readonly [what: string, listener: RequestListener | null])[] = [
    ['no server', null],
    [
      'a web page',
      (_, response) =>
        void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>'),
    ],
    ['an empty 404', (_, response) => void response.writeHead(404).end()],
    [
      'a redirect',
      (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
    ],
    [
      'JSON that is not JSON-RPC',
      (_, response) =>
        void response
          .writeHead(200, { 'content-type': 'application/json' })
          .end('{"hello":"world"}'),
    ],
    [
      'an MCP server that requires a token',
      (_, response) => void response.writeHead(401, { 'www-authenticate': 'Bearer' }).end(),
    ],
  ];
  test('rejects a selection that matches no scenario and no check', async () => {
    const requirements = readRequirements(REQUIREMENT_FILES.triggers);
    const suite = {
      role: 'receiver' as const,
      subject: 'a receiver',
      scenarios: [{ name: 'signature: rejected requests', checks: ['sig-window'] }],
      tasksOf: () => [],
      startedAt: 0,
    };
    await assert.rejects(runSuite(suite, { requirements, only: 'sig-windows' }), {
      name: 'NothingToTest',
      message:
        'No scenario and no check has "sig-windows" in its name. Correct it, or omit --only.',
    });
    await runSuite(suite, { requirements, only: 'sig-win' });
  });

  for (const [what, listener] of strangers) {
    test(`exits with code 3 and one line for ${what}`, async (t) => {
      const server = createServer(listener ?? undefined).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      if (listener === null) server.close();
      else t.onTestFinished(() => void server.close());
      const { code, out, err } = await command(
        'server',
        '--url',
        `http://127.0.0.1:${port}/mcp?key=secret`,
      );
      assert.deepEqual([code, out], [3, '']);
      assert.match(err, /^Nothing was tested: .+\n$/);
      assert.doesNotMatch(err, /secret|undefined/);
    });
  }
});

test('throws NotShown for a missing verb, type or token of the control interface', async (t) => {
  const server = createServer(
    (request, response) =>
      void response
        .writeHead(200)
        .end(
          request.method === 'GET'
            ? '{"verbs":["emit"],"types":{"plain":"p"},"tokens":{"main":"m"}}'
            : '{}',
        ),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.onTestFinished(() => void server.close());
  const control = await Control.at(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await control.do('emit', { events: [] });
  await assert.rejects(control.do('crash', {}), NotShown);
  assert.throws(() => control.type('history'), NotShown);
  assert.throws(() => control.token('other'), NotShown);
  assert.equal(control.type('plain'), 'p');
  assert.throws(() => Control.none.require('emit'), NotShown);
});

describe('requirements', () => {
  test('reads every row and names each check without its prefix', () => {
    const { checks, excluded } = readRequirements(REQUIREMENT_FILES.triggers);
    assert.ok(checks.size > 200 && excluded.length > 30);
    assert.equal(checks.get('log-contiguous')?.id, 'sep-0000-log-contiguous');
    assert.ok([...checks.values()].some(({ recommended }) => recommended));
  });
});

async function command(...args: string[]): Promise<{ code: number; out: string; err: string }> {
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
}
