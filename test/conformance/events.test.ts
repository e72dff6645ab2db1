/** The suites of SEP-3415 against the reference implementation, and against everybody who is wrong in one way: the first pass, the others are caught. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { eventsServer } from './events/server/index.ts';
import { checksFor, readRequirements, REQUIREMENT_FILES } from './kit/requirements.ts';
import { runServer } from './kit/server/run.ts';
import { EVENTS_EXTENSION } from './kit/wire/session.ts';
import { brokenEventsServers } from './peers/broken/events/index.ts';
import { runBroken } from './peers/broken/run.ts';
import { ReferenceServer } from './peers/reference/server.ts';

const requirements = readRequirements(REQUIREMENT_FILES.events);
const asked = checksFor(requirements, 'server').map(({ name }) => name);

describe('rows, scenarios and broken peers', () => {
  test('every row of the register is there, as a check or with the reason why it is none', () => {
    const { requirements: rows } = parse(readFileSync(REQUIREMENT_FILES.events, 'utf8')) as { readonly requirements: readonly { readonly register: string; readonly check?: string; readonly excluded?: string }[] };
    const have = new Set(rows.flatMap(({ register }) => register.split(' ')));
    const all = ([['R', 88], ['A', 11], ['D', 70]] as const).flatMap(([letter, count]) => Array.from({ length: count }, (_, at) => `${letter}${at + 1}`));
    assert.deepEqual(all.filter((id) => !have.has(id)), []);
    assert.deepEqual(rows.filter(({ check, excluded }) => (check === undefined) === (excluded === undefined)), []);
  });

  test('every requirement of a server is looked at by a scenario, and nothing else is', () => {
    assert.deepEqual([...new Set(eventsServer.flatMap(({ checks }) => checks))].sort(), asked.toSorted());
  });

  test('every requirement of a server has a server that breaks it, and every broken server a requirement', () => {
    assert.deepEqual([...new Set(brokenEventsServers.map(({ check }) => check))].sort(), asked.toSorted());
  });
});

describe('servers', { timeout: 900_000 }, () => {
  let server: ReferenceServer;
  // Each poll of a new topic makes a log, which counts; every broken server is another run.
  before(async () => { server = await ReferenceServer.start({ TRIGGERS_MAX_SUBSCRIPTIONS_PER_PRINCIPAL: '10000' }); });
  after(() => server.close());

  test('the reference server passes every check', async (context) => {
    const { results, durationMs } = await runServer({ requirements, scenarios: eventsServer, extension: EVENTS_EXTENSION, access: { url: server.url, token: server.token }, control: server.control });
    context.diagnostic(`${results.filter(({ verdict }) => verdict === 'passed').length} of ${results.length} checks passed in ${(durationMs / 1000).toFixed(0)} s`);
    assert.deepEqual(results.filter(({ verdict }) => verdict !== 'passed').map(({ id, verdict, reasons }) => `${id} ${verdict}: ${reasons.join('; ')}`), []);
  });

  test('every broken server is caught', async (context) => {
    const caught = await runBroken({ peers: brokenEventsServers, scenarios: eventsServer, extension: EVENTS_EXTENSION, requirements, server, atOnce: 12 });
    context.diagnostic(`${caught.filter((one) => one.caught).length} of ${caught.length} broken servers caught`);
    assert.deepEqual(caught.filter((one) => !one.caught).map(({ peer, says }) => `${peer.check}: "${peer.wrong}" was not caught; ${says}`), []);
  });
});
