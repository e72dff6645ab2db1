/**
 * Tests of the minimal server, which was written by following `docs/porting.md`: its pure functions
 * against the vectors, and the server suite at each level of the guide. The results have to match
 * those that the guide prints.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, test } from 'vitest';
import { fileURLToPath } from 'node:url';
import { humanReport } from '../runner/report/human.ts';
import { readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { runServer } from '../runner/server/run.ts';
import type { Level } from '../runner/levels.ts';
import type { CheckResult, Outcome, Verdict } from '../runner/verdict.ts';
import type { Json } from '../runner/wire/session.ts';
import { triggersServer } from '../suites/server/index.ts';

const ROOT = new URL('../../', import.meta.url);
const SERVER = fileURLToPath(new URL('../peers/minimal-server.mjs', import.meta.url));
const GUIDE = readFileSync(new URL('docs/porting.md', ROOT), 'utf8');
const requirements = readRequirements(REQUIREMENT_FILES.triggers);

/** Imports a peer, which is JavaScript without types. */
const load = (file: string): Promise<Json> =>
  import(new URL(`../peers/${file}`, import.meta.url).href);
/** The cases of a vector file, each with the `nowMs` of the file unless it has its own. */
const cases = (family: string): Json[] => {
  const { cases: all, nowMs } = JSON.parse(
    readFileSync(new URL(`spec-schema/draft/vectors/${family}.json`, ROOT), 'utf8'),
  );
  return all.map((one: object) => ({ nowMs, ...one }));
};

/**
 * Starts the server with these arguments, runs the suite, or the checks of one level, and stops the
 * server.
 */
async function outcomeOf(
  drains: string,
  more: readonly string[] = [],
  level?: Level,
): Promise<Outcome> {
  const child = spawn(
    process.execPath,
    [SERVER, '--drains', drains, '--unsafe-allow-loopback', ...more],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    const { url, token, control } = JSON.parse(line) as {
      readonly url: string;
      readonly token: string;
      readonly control: string;
    };
    return await runServer({
      requirements,
      scenarios: triggersServer,
      access: { url, token },
      control,
      atOnce: 8,
      levels: level && new Set([level]),
    });
  } finally {
    const exited = once(child, 'exit');
    child.kill();
    await exited;
  }
}

/** The results with this verdict, without checks that have no scenario. */
const those = (results: readonly CheckResult[], verdict: Verdict): readonly CheckResult[] =>
  results.filter((result) => result.verdict === verdict && result.scenarios.length > 0);
const wrong = (results: readonly CheckResult[]): string[] =>
  (['violated', 'warned'] as const).flatMap((verdict) =>
    those(results, verdict).map(({ id, reasons }) => `${id} ${verdict}: ${reasons.join('; ')}`),
  );
const notShown = (results: readonly CheckResult[]): string[] =>
  those(results, 'not shown')
    .map(({ id }) => id)
    .sort();

/** Rows of the guide's table: the declared drains and the minimum number of passed checks. */
const LEVELS = [...GUIDE.matchAll(/^\| `--drains ([a-z,]+)` \| (\d+) \|/gm)].map(
  ([, drains, floor]) => ({ drains: drains!, floor: Number(floor) }),
);

/** The checks that the guide reports as not shown. */
const NOT_SHOWN = [...GUIDE.matchAll(/^NOT SHOWN: [^\n]*\n((?: {2}.*\n)+)/gm)]
  .flatMap(([, rows]) => [...rows!.matchAll(/sep-0000-[a-z-]+/g)].map(([id]) => id))
  .sort();

/** The last line of a report, without the duration. */
const summaryOf = (report: string): string | undefined =>
  /^(\d+ checks) in [\d.]+ s(: .*)$/m.exec(report)?.slice(1).join('');

describe('the minimal server and the vectors', () => {
  test('grants the lifetimes', async () => {
    const { violation, grant } = await load('minimal-server-wire.mjs');
    for (const { id, comment, ttlMs, noExpiry, policy, verdict, expected } of cases('ttl-grant')) {
      const asked = {
        ...(ttlMs === undefined ? {} : { ttlMs }),
        ...(noExpiry === undefined ? {} : { noExpiry }),
      };
      const wrong = violation(
        { $ref: '#/$defs/UpdateRequestParams' },
        { subscriptionId: 'sub_0123456789012345678901', ...asked },
      );
      assert.equal(wrong !== null, verdict === 'invalid', `${id}: ${comment}`);
      if (wrong === null) assert.equal(grant(asked, policy), expected.ttlMs, `${id}: ${comment}`);
    }
  });

  test('derives the webhook ids', async () => {
    const { webhookId } = await load('minimal-server-wire.mjs');
    for (const {
      id,
      comment,
      subscriptionId,
      epoch,
      afterSequence,
      last,
      gaps,
      webhookId: given,
      verdict,
    } of cases('webhook-id')) {
      assert.equal(
        webhookId(subscriptionId, epoch, afterSequence, last, gaps) === given,
        verdict === 'valid',
        `${id}: ${comment}`,
      );
    }
  });

  test('accepts the valid proofs only', async () => {
    const { isProof } = await load('minimal-server-callbacks.mjs');
    for (const { id, comment, secret, challenge, answer, verdict } of cases('challenge-proof'))
      assert.equal(isProof(secret, challenge, answer), verdict === 'valid', `${id}: ${comment}`);
  });

  test('accepts the public addresses only', async () => {
    const { arePublic } = await load('minimal-server-callbacks.mjs');
    for (const { id, comment, addresses, verdict } of cases('callback-address'))
      assert.equal(arePublic(addresses), verdict === 'valid', `${id}: ${comment}`);
  });

  test('interprets the answers', async () => {
    const { meaning } = await load('minimal-server-callbacks.mjs');
    for (const { id, comment, sent, answer, nowMs, expected } of cases('callback-answer'))
      assert.deepEqual({ ...meaning(sent, answer, nowMs) }, expected, `${id}: ${comment}`);
  });
});

describe('the minimal server and the suite', { timeout: 300_000, concurrent: true }, () => {
  test('the guide contains the levels and a report', () => {
    assert.deepEqual(
      LEVELS.map(({ drains }) => drains),
      ['pull', 'stream,pull', 'callback,stream,pull'],
    );
    assert.ok(NOT_SHOWN.length > 0, 'the guide contains no report');
  });

  for (const { drains, floor } of LEVELS) {
    test(`violates nothing with the drains ${drains}; the checks not shown are those of the guide`, async (context) => {
      const outcome = await outcomeOf(drains);
      const { results } = outcome;
      const passed = those(results, 'passed').length;
      void context.annotate(
        `${passed} passed, ${those(results, 'not applicable').length} not applicable, ${notShown(results).length} not shown`,
      );
      assert.deepEqual(wrong(results), []);
      const applies = new Set(
        results.filter(({ verdict }) => verdict !== 'not applicable').map(({ id }) => id),
      );
      assert.deepEqual(
        notShown(results),
        NOT_SHOWN.filter((id) => applies.has(id)),
      );
      if (drains.includes('callback'))
        assert.equal(
          summaryOf(GUIDE),
          summaryOf(humanReport(outcome, new Map())),
          'the last line of the report in docs/porting.md:',
        );
      assert.ok(passed >= floor, `only ${passed} checks passed, the guide says ${floor}`);
    });
  }
});

describe('the minimal server and its options', { timeout: 300_000 }, () => {
  /** The options of the minimal server, each with the fewest drains that it needs. */
  const OPTIONS = {
    conditionalReads: 'pull',
    history: 'pull',
    multiSelect: 'pull',
    trace: 'pull',
    pause: 'callback,pull',
    skip: 'callback,pull',
    reject: 'callback,pull',
    limits: 'callback,pull',
  } as const;
  const names = Object.keys(OPTIONS) as (keyof typeof OPTIONS)[];

  /** No option, and each of them alone. */
  const subsets: readonly (readonly [drains: string, options: readonly string[]])[] = [
    ['pull', []],
    ['callback,stream,pull', []],
    ...names.map((name) => [OPTIONS[name], [name]] as const),
  ];
  test.for(subsets)(
    'with the drains %s and the options [%s], a check of a missing option does not apply, and nothing else is affected',
    async ([drains, options]) => {
      const { results } = await outcomeOf(drains, ['--options', options.join(',') || 'none']);
      assert.deepEqual(wrong(results), []);
      const missing = results.filter(
        ({ level }) => names.some((name) => name === level) && !options.includes(level!),
      );
      assert.ok(missing.length > 0, 'no check belongs to a missing option');
      assert.deepEqual(
        missing.filter(({ verdict }) => verdict !== 'not applicable').map(({ id }) => id),
        [],
      );
      assert.deepEqual(
        results
          .filter(({ id, verdict }) => verdict === 'not shown' && !NOT_SHOWN.includes(id))
          .map(({ id, reasons }) => `${id}: ${reasons.join('; ')}`),
        [],
      );
    },
  );

  test.for(names)(
    'a server that declares the option %s and does not serve it is caught',
    async (name) => {
      const { results } = await outcomeOf(
        OPTIONS[name],
        ['--options', name, '--unserved', name],
        name,
      );
      assert.ok(
        results.some(({ verdict }) => verdict === 'violated'),
        'no check of the option caught it',
      );
    },
  );
});
