/**
 * Tests of the server suite: the reference server passes, and every broken server is caught.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { checksFor, readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { runServer } from '../runner/server/run.ts';
import { brokenServers } from '../peers/broken/server/index.ts';
import { runBroken } from '../peers/broken/broken-servers.ts';
import { ReferenceServer } from '../peers/reference/server.ts';
import { familyOf, onePerGroup } from '../../test/tier.ts';
import { triggersServer } from '../suites/server/index.ts';

const requirements = readRequirements(REQUIREMENT_FILES.triggers);
const asked = checksFor(requirements, 'server');

describe('requirements, scenarios and broken servers', () => {
  test('checks every requirement of a server by a scenario', () => {
    const looked = new Set(triggersServer.flatMap(({ checks }) => checks));
    assert.deepEqual(
      asked.filter(({ name }) => !looked.has(name)).map(({ name }) => name),
      [],
    );
  });

  test('checks requirements of a server only', () => {
    const known = new Set(asked.map(({ name }) => name));
    assert.deepEqual(
      triggersServer.flatMap(({ name, checks }) =>
        checks.filter((check) => !known.has(check)).map((check) => `${name}: ${check}`),
      ),
      [],
    );
  });

  test('has a broken server for every requirement', () => {
    const broken = new Set(brokenServers.map(({ check }) => check));
    assert.deepEqual(
      asked.filter(({ name }) => !broken.has(name)).map(({ name }) => name),
      [],
    );
  });

  test('gives every scenario a unique name', () => {
    const names = triggersServer.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });
});

describe('against real servers', { timeout: 900_000 }, () => {
  let server: ReferenceServer;
  beforeAll(async () => {
    server = await ReferenceServer.start();
  });
  afterAll(() => server.close());

  test('the reference server passes every check', async (context) => {
    const { results, durationMs } = await runServer({
      requirements,
      scenarios: triggersServer,
      access: { url: server.url, token: server.token },
      control: server.control,
      atOnce: 8,
    });
    void context.annotate(
      `${results.filter(({ verdict }) => verdict === 'passed').length} of ${results.length} checks passed in ${(durationMs / 1000).toFixed(0)} s`,
    );
    // These checks apply to servers that always set an expiry, or lack a level or an option. This
    // server does neither.
    const elsewhere = new Set<string>();
    assert.deepEqual(
      results
        .filter(({ id, verdict }) => verdict !== (elsewhere.has(id) ? 'not applicable' : 'passed'))
        .map(({ id, verdict, reasons }) => `${id} ${verdict}: ${reasons.join('; ')}`),
      [],
    );
  });

  test('a server that always sets an expiry passes the check for such servers', async () => {
    const finite = await ReferenceServer.start({ TRIGGERS_ALLOW_NO_EXPIRY: 'false' });
    try {
      const { results } = await runServer({
        requirements,
        scenarios: triggersServer,
        access: { url: finite.url, token: finite.token },
        control: finite.control,
        only: 'ttl-null',
      });
      assert.equal(results.find(({ id }) => id === 'sep-0000-ttl-null')?.verdict, 'passed');
    } finally {
      await finite.close();
    }
  });

  test('catches every broken server', async (context) => {
    const caught = await runBroken({
      peers: onePerGroup(brokenServers, familyOf),
      scenarios: triggersServer,
      requirements,
      server,
      atOnce: 6,
    });
    void context.annotate(
      `${caught.filter((one) => one.caught).length} of ${caught.length} broken servers caught, ${new Set(caught.map(({ peer }) => peer.check)).size} checks`,
    );
    assert.deepEqual(
      caught
        .filter((one) => !one.caught)
        .map(({ peer, details }) => `${peer.check}: "${peer.wrong}" was not caught; ${details}`),
      [],
    );
  });
});
