/**
 * Tests of the suites of SEP-3415: the reference implementation and the minimal peers pass, and every
 * broken peer is caught.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { eventsClient } from '../suites/events/client/index.ts';
import { eventsReceiver } from '../suites/events/receiver/index.ts';
import { eventsServer } from '../suites/events/server/index.ts';
import { EventsClientTest, runEventsClient } from '../runner/events/client.ts';
import { EventsReceiverTest, runEventsReceiver } from '../runner/events/receiver.ts';
import { checksFor, readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { ReceiverControl } from '../runner/receiver/control.ts';
import { runServer } from '../runner/server/run.ts';
import { verdictOf, type CheckResult, type Role } from '../runner/verdict.ts';
import { EVENTS_EXTENSION } from '../runner/wire/session.ts';
import { brokenEventsServers } from '../peers/broken/events/index.ts';
import { brokenEventsReceivers, MinimalEventsReceiver } from '../peers/broken/events/receivers.ts';
import { faults } from '../peers/broken/events/faults.mjs';
import { familyOf, onePerGroup } from '../../test/tier.ts';
import { runBroken } from '../peers/broken/broken-servers.ts';
import { ReferenceEventsReceiver } from '../peers/reference/events-receiver.ts';
import { ReferenceServer } from '../peers/reference/server.ts';

/** Maximum wait for an expected event. Broken programs answer at once, so it can be short. */
const PATIENCE_MS = 3500;
const requirements = readRequirements(REQUIREMENT_FILES.events);

describe('requirements, scenarios and broken peers', () => {
  test('lists every row of the register, as a check or with the reason for its exclusion', () => {
    const { requirements: rows } = parse(readFileSync(REQUIREMENT_FILES.events, 'utf8')) as {
      readonly requirements: readonly {
        readonly register: string;
        readonly check?: string;
        readonly excluded?: string;
      }[];
    };
    const have = new Set(rows.flatMap(({ register }) => register.split(' ')));
    const all = (
      [
        ['R', 88],
        ['A', 11],
        ['D', 70],
      ] as const
    ).flatMap(([letter, count]) => Array.from({ length: count }, (_, at) => `${letter}${at + 1}`));
    assert.deepEqual(
      all.filter((id) => !have.has(id)),
      [],
    );
    assert.deepEqual(
      rows.filter(({ check, excluded }) => (check === undefined) === (excluded === undefined)),
      [],
    );
  });

  const ROLES: readonly (readonly [
    role: Role,
    scenarios: readonly { readonly checks: readonly string[] }[],
    broken: readonly { readonly check: string }[],
  ])[] = [
    ['server', eventsServer, brokenEventsServers],
    ['client', eventsClient, Object.values(faults)],
    ['receiver', eventsReceiver, brokenEventsReceivers],
  ];
  for (const [role, scenarios, broken] of ROLES) {
    test(`has a scenario and a broken peer for every requirement of a ${role}, and for no other`, () => {
      const asked = checksFor(requirements, role)
        .map(({ name }) => name)
        .sort();
      assert.deepEqual([...new Set(scenarios.flatMap(({ checks }) => checks))].sort(), asked);
      assert.deepEqual([...new Set(broken.map(({ check }) => check))].sort(), asked);
    });
  }
});

const notPassed = (results: readonly CheckResult[]): string[] =>
  results
    .filter(({ verdict }) => verdict !== 'passed')
    .map(({ id, verdict, reasons }) => `${id} ${verdict}: ${reasons.join('; ')}`);

describe('servers', { timeout: 900_000 }, () => {
  let server: ReferenceServer;
  // The quota has to be large: each poll of a new topic creates a log, in the run of every broken
  // server.
  beforeAll(async () => {
    server = await ReferenceServer.start({ TRIGGERS_MAX_SUBSCRIPTIONS_PER_PRINCIPAL: '10000' });
  });
  afterAll(() => server.close());

  // This test comes first: without a control interface the kit cannot know that the clock was
  // advanced.
  test('violates nothing without a control interface, and passes some checks', async () => {
    const { results } = await runServer({
      requirements,
      scenarios: eventsServer,
      extension: EVENTS_EXTENSION,
      access: { url: server.url, token: server.token },
      control: undefined,
    });
    assert.deepEqual(
      results
        .filter(({ verdict }) => verdict === 'violated' || verdict === 'warned')
        .map(({ id, reasons }) => `${id}: ${reasons.join('; ')}`),
      [],
    );
    assert.ok(results.filter(({ verdict }) => verdict === 'passed').length >= 15);
  });

  test('the reference server passes every check', async (context) => {
    const { results, durationMs } = await runServer({
      requirements,
      scenarios: eventsServer,
      extension: EVENTS_EXTENSION,
      access: { url: server.url, token: server.token },
      control: server.control,
    });
    void context.annotate(
      `${results.filter(({ verdict }) => verdict === 'passed').length} of ${results.length} checks passed in ${(durationMs / 1000).toFixed(0)} s`,
    );
    assert.deepEqual(notPassed(results), []);
  });

  test('catches every broken server', async (context) => {
    const caught = await runBroken({
      peers: onePerGroup(brokenEventsServers, familyOf),
      scenarios: eventsServer,
      extension: EVENTS_EXTENSION,
      requirements,
      server,
      atOnce: 12,
    });
    void context.annotate(
      `${caught.filter((one) => one.caught).length} of ${caught.length} broken servers caught`,
    );
    assert.deepEqual(
      caught
        .filter((one) => !one.caught)
        .map(({ peer, details }) => `${peer.check}: "${peer.wrong}" was not caught; ${details}`),
      [],
    );
  });
});

/** A command that starts a program of `peers`. */
const commandOf = (path: string, wrong?: string): string =>
  [
    ...(wrong === undefined ? [] : [`CONFORMANCE_WRONG=${JSON.stringify(wrong)}`]),
    JSON.stringify(process.execPath),
    '--conditions=mcp-triggers-source',
    JSON.stringify(fileURLToPath(new URL(path, import.meta.url))),
  ].join(' ');

describe('clients', { timeout: 600_000 }, () => {
  for (const [who, path] of [
    ['client library', '../peers/reference/events-client.ts'],
    ['minimal client', '../peers/minimal-events-client.mjs'],
  ] as const) {
    test(`the ${who} passes every check`, async () => {
      const { results } = await runEventsClient({
        requirements,
        scenarios: eventsClient,
        command: commandOf(path),
      });
      assert.deepEqual(notPassed(results), []);
    });
  }

  test('catches every broken client', async (t) => {
    const broken = onePerGroup(Object.entries(faults), ([, way]) => familyOf(way));
    const left = [...broken];
    const escaped: string[] = [];
    await Promise.all(
      Array.from({ length: 6 }, async () => {
        for (let next = left.shift(); next !== undefined; next = left.shift()) {
          const [name, { check }] = next;
          const looks = [];
          for (const scenario of eventsClient.filter(({ checks }) => checks.includes(check))) {
            looks.push(
              ...(
                await EventsClientTest.run(
                  scenario,
                  commandOf('../peers/minimal-events-client.mjs', name),
                  { patienceMs: PATIENCE_MS, stopOnBroken: check },
                )
              ).list.filter((look) => look.check === check),
            );
            if (looks.some(({ outcome }) => outcome === 'broken')) break;
          }
          const verdict = verdictOf(looks, requirements.checks.get(check)!.recommended);
          if (verdict !== 'violated' && verdict !== 'warned') escaped.push(`${name}: ${verdict}`);
        }
      }),
    );
    void t.annotate(`${broken.length - escaped.length} of ${broken.length} broken clients caught`);
    assert.deepEqual(escaped, []);
  });
});

describe('receivers', () => {
  test('the receiver library and the minimal receiver pass every check', async (t) => {
    for (const receiver of [
      await ReferenceEventsReceiver.start(),
      await MinimalEventsReceiver.start(),
    ]) {
      t.onTestFinished(() => receiver.close());
      const { url, secret, control } = receiver;
      const { results } = await runEventsReceiver({
        requirements,
        scenarios: eventsReceiver,
        url,
        secret,
        control,
      });
      assert.deepEqual(notPassed(results), []);
      const alone = await runEventsReceiver({
        requirements,
        scenarios: eventsReceiver,
        url,
        secret,
        control: undefined,
      });
      assert.deepEqual(
        alone.results
          .filter(({ verdict }) => verdict === 'violated' || verdict === 'warned')
          .map(({ id, reasons }) => `${id}: ${reasons.join('; ')}`),
        [],
      );
    }
  });

  test('catches every broken receiver', async (t) => {
    const broken = onePerGroup(brokenEventsReceivers, familyOf);
    for (const { check, wrong, overrides } of broken) {
      const receiver = await MinimalEventsReceiver.start(overrides);
      t.onTestFinished(() => receiver.close());
      const { url, secret } = receiver;
      const control = await ReceiverControl.at(receiver.control);
      const looks = [];
      for (const scenario of eventsReceiver.filter(({ checks }) => checks.includes(check)))
        looks.push(
          ...(await EventsReceiverTest.run(scenario, { url, secret, control })).list.filter(
            (look) => look.check === check,
          ),
        );
      const verdict = verdictOf(looks, requirements.checks.get(check)!.recommended);
      assert.match(
        verdict,
        /^(violated|warned)$/,
        `${check}: "${wrong}" was not caught; ${looks.map(({ what, reason }) => reason ?? what).join('; ')}`,
      );
    }
    void t.annotate(`${broken.length} broken receivers caught`);
  });
});
