/**
 * Tests of the command against a real server: levels, the list of scenarios, exit codes, traces,
 * the version, and values that have no place in a process list.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, test, type TestContext } from 'vitest';
import { REVISION as SCHEMA_REVISION } from '../../spec-schema/draft/schema.ts';
import { declaredLevels, type LEVELS, readLevels, REVISION } from '../runner/levels.ts';
import { main, missingIn } from '../runner/main.ts';
import { TimedOut, Observations } from '../runner/observations.ts';
import { readOptions } from '../runner/options.ts';
import { humanReport } from '../runner/report/human.ts';
import { readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { conclude } from '../runner/run.ts';
import type { CheckResult, Outcome, Verdict } from '../runner/verdict.ts';

const SERVER = fileURLToPath(new URL('../peers/minimal-server.mjs', import.meta.url));

let child: ChildProcess;
let peer: { readonly url: string; readonly token: string; readonly control: string };
beforeAll(async () => {
  child = spawn(process.execPath, [SERVER, '--drains', 'stream,pull'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string];
  peer = JSON.parse(line) as typeof peer;
});
afterAll(async () => {
  const exited = once(child, 'exit');
  child.kill();
  await exited;
});

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'command-'));
  t.onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

async function command(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const screen = { out: '', err: '' };
  const code = await main(
    args,
    { out: (text) => void (screen.out += text), err: (text) => void (screen.err += text) },
    env,
  );
  return { code, ...screen };
}

/** Runs the server suite against the minimal server. */
const against = (...args: readonly string[]): ReturnType<typeof command> =>
  command(['server', '--url', peer.url, '--control', peer.control, '--quiet', ...args], {
    MCP_CONFORMANCE_TOKEN: peer.token,
  });

describe('levels', () => {
  test('are read from levels and options', () => {
    const levels = declaredLevels({ levels: ['log', 'callback'], options: ['pause'] });
    assert.deepEqual(
      ['log', 'stream', 'callback', 'durable', 'pause', 'skip', 'handshake'].map((level) =>
        levels.has(level as (typeof LEVELS)[number]),
      ),
      [true, false, true, false, true, false, true],
    );
  });

  test('belong to the revision of the schema', () => {
    assert.equal(REVISION, SCHEMA_REVISION);
  });

  test('rejects an unknown level, and levels of SEP-3415', () => {
    assert.deepEqual([...readLevels('log, stream')], ['log', 'stream']);
    assert.throws(() => readLevels('log,streams'), /^Error: "streams" is not a level/);
    assert.throws(
      () => readOptions(['client', '--command', 'x', '--level', 'logs']),
      /^UsageError: --level: "logs" is not a level/,
    );
    assert.throws(
      () => readOptions(['client', '--command', 'x', '--level', 'log', '--requirements', 'events']),
      /SEP-3415 has no levels/,
    );
  });

  test('every check of the requirements has a level', () => {
    const { checks } = readRequirements(REQUIREMENT_FILES.triggers);
    assert.deepEqual(
      [...checks.values()].filter(({ level }) => level === undefined).map(({ id }) => id),
      [],
    );
  });

  test('--level selects the checks of these levels only', async (t) => {
    const file = join(folder(t), 'report.json');
    const { code, out } = await against('--level', 'stream', '--only', 'stream:', '--json', file);
    assert.equal(code, 0, out);
    const { results, levels } = JSON.parse(readFileSync(file, 'utf8')) as Outcome;
    assert.deepEqual(levels, ['stream']);
    assert.ok(results.length > 5);
    assert.deepEqual([...new Set(results.map(({ level }) => level))], ['stream']);
  });

  test('checks of an undeclared level do not apply, in one line', async () => {
    const { code, out } = await against('--only', 'ending: by the server');
    assert.equal(code, 0, out);
    assert.match(out, /^Levels: log, stream, /m);
    assert.match(out, /^NOT APPLICABLE: \d+\. The server does not declare .*"callback" \(\d+\)/m);
  });

  test('--level with a level that the server does not declare tests nothing', async () => {
    const { code, out, err } = await against('--level', 'log,callback');
    assert.deepEqual([code, out], [3, '']);
    assert.match(
      err,
      /^Nothing was tested: the server does not declare "callback": its settings name log, stream/,
    );
  });
});

describe('--list', () => {
  test('prints scenarios, checks and levels without a peer', async () => {
    const { code, out } = await command(['server', '--list']);
    assert.equal(code, 0);
    assert.match(
      out,
      /^catalog: the list\n {2}.*\n(?: {2}- .*\n)* {2}- list-not-modified \(conditionalReads\)$/m,
    );
    const { checks } = readRequirements(REQUIREMENT_FILES.triggers);
    for (const [, name] of out.matchAll(/^ {2}- (\S+)/gm)) assert.ok(checks.has(name!), name);
  });

  test('prints what --only and --level select', async () => {
    const { out } = await command(['receiver', '--list', '--level', 'serverIdentity']);
    assert.match(out, /jws-verify \(serverIdentity\)/);
    const all = await command(['receiver', '--list']);
    assert.ok(out.length < all.out.length / 2);
    const none = await command(['receiver', '--list', '--only', 'no-such-name']);
    assert.equal(none.code, 3);
  });
});

const outcomeOf = (...verdicts: Verdict[]): Pick<Outcome, 'results'> => ({
  results: verdicts.map((verdict, at): CheckResult => ({
    id: `sep-0000-c${at}`,
    text: 't',
    url: 'u',
    verdict,
    reasons: ['r'],
    findings: [],
    scenarios: [],
  })),
});

describe('what was not shown', () => {
  const lax = { strict: false, allowNotShown: false };
  for (const [verdicts, options, missing] of [
    [['passed', 'not shown'], lax, false],
    [['passed', 'not shown', 'not shown'], lax, true],
    [['passed', 'not shown', 'not shown'], { ...lax, allowNotShown: true }, false],
    [['passed', 'passed', 'not shown'], { ...lax, strict: true }, true],
    [['passed', 'not applicable'], { ...lax, strict: true }, false],
    [['not applicable', 'not applicable'], lax, true],
  ] as const)
    test(`${verdicts.join(', ')} with ${JSON.stringify(options)} is ${missing ? 'not ' : ''}enough`, () =>
      assert.equal(missingIn(outcomeOf(...verdicts), options) !== null, missing));

  test('exits with 4 and a sentence when most checks were not shown', async () => {
    const args = ['server', '--url', peer.url, '--quiet', '--only', 'log:'];
    const env = { MCP_CONFORMANCE_TOKEN: peer.token };
    const { code, err } = await command(args, env);
    assert.equal(code, 4);
    assert.match(err, /^\d+ of \d+ checks were not shown\. .*--allow-not-shown\.\n$/);
    assert.equal((await command([...args, '--allow-not-shown'], env)).code, 0);
  });

  test('--strict exits with 4 when one check was not shown', async () => {
    const { code, err } = await against('--only', 'log-epoch-rotate', '--strict');
    assert.equal(code, 4);
    assert.match(err, /--strict does not accept/);
  });

  test('--strict and --allow-not-shown exclude each other', async () => {
    const { code, err } = await against('--strict', '--allow-not-shown');
    assert.equal(code, 2);
    assert.match(err, /contradict each other/);
  });
});

test('exits with 1 when a known failure passes', async (t) => {
  const file = join(folder(t), 'expected.yaml');
  writeFileSync(file, '- check: sep-0000-list-only-usable\n  because: it once failed\n');
  const { code, out } = await against('--only', 'catalog: the list', '--expected', file);
  assert.equal(code, 1);
  assert.match(out, /^EXPECTED TO FAIL, BUT PASSED: .*\n {2}sep-0000-list-only-usable$/m);
});

test('--version prints the version of the package', async () => {
  const kit = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    readonly version: string;
  };
  assert.deepEqual(await command(['--version']), {
    code: 0,
    out: `mcp-triggers-conformance ${kit.version}\n`,
    err: '',
  });
});

describe('--trace', () => {
  test('records the messages of every scenario without secrets', async (t) => {
    const file = join(folder(t), 'trace.jsonl');
    await against('--only', 'pull:', '--trace', file);
    const text = readFileSync(file, 'utf8');
    for (const secret of [peer.token, 'whsec_[A-Za-z0-9]', 'Bearer '])
      assert.doesNotMatch(text, new RegExp(secret));
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, any>);
    const pulls = lines.filter(({ body }) => body?.method === 'triggers/pull');
    assert.ok(pulls.length > 5 && pulls.every(({ scenario }) => scenario.startsWith('pull:')));
    assert.ok(lines.some(({ what, status }) => what === 'response' && status === 200));
    assert.ok(lines.some(({ what, body }) => what === 'control request' && body?.do === 'emit'));
    assert.equal(statSync(file).mode & 0o077, 0, 'others can read the trace');
  });

  test('a folder that does not exist ends before the run, with exit code 2', async () => {
    const { code, err } = await against('--trace', 'nowhere/trace.jsonl');
    assert.equal(code, 2);
    assert.match(err, /The folder of --trace nowhere\/trace\.jsonl does not exist/);
  });
});

describe('the token and the secret', () => {
  const base = ['receiver', '--url', 'http://127.0.0.1:9/in'];
  const secret = `whsec_${'A'.repeat(32)}`;

  test('come from a file, or from the environment', (t) => {
    const file = join(folder(t), 'secret');
    writeFileSync(file, `${secret}\n`);
    for (const [args, env] of [
      [[...base, '--secret-file', file], {}],
      [base, { MCP_CONFORMANCE_SECRET: secret }],
      [[...base, '--secret', secret], { MCP_CONFORMANCE_SECRET: 'whsec_other' }],
    ] as const) {
      const options = readOptions(args, env);
      assert.ok(typeof options === 'object' && options.secret === secret);
    }
    const server = readOptions(['server', '--url', 'http://x', '--token-file', file]);
    assert.ok(typeof server === 'object' && server.token === secret);
  });

  test('are rejected from two places, from an empty file and from no file', (t) => {
    const empty = join(folder(t), 'empty');
    writeFileSync(empty, '\n');
    for (const [args, message] of [
      [['--secret', secret, '--secret-file', empty], /Omit one of them/],
      [['--secret-file', empty], /is empty/],
      [['--secret-file', `${empty}-no`], /cannot be read/],
    ] as const)
      assert.throws(() => readOptions([...base, ...args]), message);
  });
});

describe('the report', () => {
  const { checks } = readRequirements(REQUIREMENT_FILES.triggers);
  const reportOf = async (fail: () => void): Promise<string> => {
    const observations = new Observations('s', ['log-contiguous']);
    await observations.check('log-contiguous', 'the numbers are 1 to 3', fail);
    const results = conclude([checks.get('log-contiguous')!], observations.list);
    return humanReport({ role: 'server', subject: 'x', results, durationMs: 1 }, new Map());
  };
  /** Every way in which a check can fail, and what the report has to say. */
  const failures: readonly (readonly [what: string, fail: () => void, lines: readonly string[]])[] =
    [
      [
        'an equality',
        () => assert.equal(1, 2, '`head`:'),
        ['`head`.', 'expected: 2', 'seen:     1'],
      ],
      [
        'an equality without a message',
        () => assert.deepEqual([1], [2]),
        ['expected: [2]', 'seen:     [1]'],
      ],
      [
        'an inequality',
        () => assert.notEqual(1, 1),
        ['expected: a value other than 1', 'seen:     1'],
      ],
      [
        'a pattern',
        () => assert.match('a', /b/),
        ['expected: text that matches /b/', 'seen:     "a"'],
      ],
      [
        'a forbidden pattern',
        () => assert.doesNotMatch('b', /b/),
        ['expected: text that does not match /b/', 'seen:     "b"'],
      ],
      ['a condition', () => assert.ok(false, 'the list is missing'), ['The list is missing.']],
      ['a condition without a message', () => assert.ok(Number('0') > 1), ['This is not true: ']],
      [
        'a wait',
        () => {
          throw new TimedOut('sequence number 5', 15_000, 'head is 4');
        },
        ['Waited 15 s in vain.', 'expected: sequence number 5', 'seen:     head is 4'],
      ],
    ];
  for (const [what, fail, lines] of failures)
    test(`names what ${what} expected and what was seen, and no line ends in a colon`, async () => {
      const text = await reportOf(fail);
      assert.match(text, /^ {4}- the numbers are 1 to 3 \(scenario "s"\)$/m);
      for (const line of lines) assert.ok(text.includes(line), `${line} is not in\n${text}`);
      assert.doesNotMatch(text, /:$/m);
    });
});
