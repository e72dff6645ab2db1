/**
 * Runs the official conformance suite, unmodified, against the reference server and against a
 * client made with this library: everything that either revision requires passes. Unscored
 * scenarios pass too, or are listed here with the reason.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, vi, type TestContext } from 'vitest';
import { stripVTControlCharacters } from 'node:util';
import { startHttpServer, type HttpServer } from '../../journeys/support.ts';
import { peerTest, type PeerRow } from '../peers/matrix.ts';
import { startDriver, type Driver } from './client.ts';
import { startProxy, type Proxy } from './proxy.ts';
import {
  green,
  requirementsOf,
  REVISIONS,
  runRequirements,
  SUITE,
  type Leg,
  type Revision,
  type SuiteRun,
} from './suite.ts';

/** Scenarios that no revision requires and that do not pass. */
const NOT_MET: readonly (readonly [scenarios: RegExp, reason: string])[] = [
  [/^tasks-/, 'the extension "tasks" is not offered'],
  [
    /^server-sse-polling$/,
    'no stream of a session is resumed: a log is read on from a position instead',
  ],
  [
    /^auth\/(client-credentials-(basic|jwt)|dpop(-nonce)?|enterprise-managed-authorization|wif-jwt-bearer)$/,
    'these ways to obtain a token belong to an OAuth provider, which the application brings',
  ],
];

/** Fewer scenarios than this mean that the wrong suite ran. */
const SCENARIOS_MIN: Readonly<Record<Leg, Readonly<Record<Revision, number>>>> = {
  server: { '2025-11-25': 30, '2026-07-28': 37 },
  client: { '2025-11-25': 18, '2026-07-28': 32 },
};

/** Throws for everything that should pass and does not; resolves with the result for the matrix. */
async function assertPassed(
  context: TestContext,
  leg: Leg,
  revision: Revision,
  { checks, output }: SuiteRun,
): Promise<string> {
  const { scored, unscored } = await requirementsOf(revision, leg);
  const wrong = (scenario: string) => {
    const found = checks.get(scenario) ?? [];
    const problems = found
      .filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
      .map(
        ({ id, status, description, errorMessage = '' }) =>
          `  ${status} ${id}: ${description} ${errorMessage}`,
      );
    return [
      `${scenario}: ${found.length === 0 ? 'did not run' : problems.length === 0 ? 'checked nothing' : ''}`,
      ...problems,
    ].join('\n');
  };
  const failed = scored.filter((scenario) => !green(checks.get(scenario)));
  assert.deepEqual(
    failed.map(wrong),
    [],
    `${stripVTControlCharacters(output).slice(-8000)}\nThese did not pass: ${failed.join(', ')}`,
  );
  assert.ok(
    scored.length >= SCENARIOS_MIN[leg][revision],
    `only ${scored.length} scenarios are required`,
  );

  const unmet = unscored.filter((scenario) => !green(checks.get(scenario)));
  const reasonOf = (scenario: string) =>
    NOT_MET.find(([scenarios]) => scenarios.test(scenario))?.[1];
  assert.deepEqual(
    unmet.filter((scenario) => reasonOf(scenario) === undefined).map(wrong),
    [],
    'not scored, but not known to be unmet either',
  );
  assert.deepEqual(
    unscored.filter((scenario) => reasonOf(scenario) !== undefined && !unmet.includes(scenario)),
    [],
    'listed as unmet, but met',
  );
  for (const scenario of unmet)
    void context.annotate(`not scored and not met: ${scenario}: ${reasonOf(scenario)}`);
  const count = scored.reduce(
    (sum, scenario) =>
      sum + checks.get(scenario)!.filter(({ status }) => status === 'SUCCESS').length,
    0,
  );
  const apart = NOT_MET.map(
    ([scenarios, reason]) =>
      [unmet.filter((scenario) => scenarios.test(scenario)).length, reason] as const,
  ).filter(([times]) => times > 0);
  return [
    `${scored.length} scenarios, ${count} checks`,
    ...apart.map(([times, reason]) => `not scored and not met: ${times} (${reason})`),
  ].join('; ');
}

const row = (era: Revision, exercised: string): PeerRow => ({
  peer: SUITE,
  role: 'suite',
  era,
  drain: 'none',
  exercised,
});

describe('the conformance suite against the reference server', () => {
  let server: HttpServer;
  let proxy: Proxy;

  beforeAll(async () => {
    server = await startHttpServer({ TRIGGERS_FIXTURES: 'conformance' });
    proxy = await startProxy(new URL(server.process.url), await server.process.token());
  });
  afterAll(async () => {
    await proxy.close();
    await server[Symbol.asyncDispose]();
  });

  for (const revision of REVISIONS) {
    peerTest(
      row(revision, 'the reference server: every scenario that the revision requires of a server'),
      async (context) => {
        assert.equal(
          (await fetch(server.process.url, { method: 'POST' })).status,
          401,
          'without the proxy the server still requires a token',
        );
        return assertPassed(
          context,
          'server',
          revision,
          await runRequirements('server', ['--url', proxy.url], revision),
        );
      },
    );
  }
});

describe('the conformance suite against the client', () => {
  let driver: Driver;

  beforeAll(async () => {
    // Here the SDK prints which tools of a scenario it omits.
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    driver = await startDriver();
  });
  afterAll(() => driver.close());

  for (const revision of REVISIONS) {
    peerTest(
      row(
        revision,
        'the client: every scenario that the revision requires of a client, authorization included',
      ),
      async (context) => {
        // The suite runs the command in a shell, so every part is quoted.
        const command = [process.execPath, join(import.meta.dirname, 'command.ts'), driver.url]
          .map((part) => JSON.stringify(part))
          .join(' ');
        return assertPassed(
          context,
          'client',
          revision,
          await runRequirements('client', ['--command', command], revision),
        );
      },
    );
  }
});
