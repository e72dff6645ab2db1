/**
 * Tests of the receiver suite against the receiver library, the minimal receiver, every broken
 * receiver, and servers that are not receivers.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'vitest';
import { main } from '../runner/main.ts';
import { ReceiverControl } from '../runner/receiver/control.ts';
import { runReceiver } from '../runner/receiver/run.ts';
import { checksFor, readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { newSecret } from '../runner/server/callback-endpoint.ts';
import type { CheckResult } from '../runner/verdict.ts';
import { brokenReceivers, runBrokenReceivers } from '../peers/broken/broken-programs.ts';
import { serve } from '../peers/minimal-receiver.mjs';
import { ReferenceReceiver } from '../peers/reference/receiver.ts';
import { familyOf, onePerGroup } from '../../test/tier.ts';
import { triggersReceiver } from '../suites/receiver/index.ts';

const requirements = readRequirements(REQUIREMENT_FILES.triggers);
const asked = checksFor(requirements, 'receiver');
/** Not applicable to a receiver: its client pulls the missing sequence numbers. */
const OF_ITS_CLIENT = 'recv-missing-fetch';

describe('scenarios, requirements and broken receivers', () => {
  test('checks every requirement of a receiver and no other', () => {
    const looked = new Set(triggersReceiver.flatMap(({ checks }) => checks));
    assert.deepEqual([...looked].sort(), asked.map(({ name }) => name).sort());
  });

  test('has a broken receiver for every requirement', () => {
    const broken = new Set(brokenReceivers.map(({ check }) => check));
    assert.deepEqual(
      asked.filter(({ name }) => !broken.has(name)).map(({ name }) => name),
      [OF_ITS_CLIENT],
    );
  });

  test('gives every scenario a unique name', () => {
    const names = triggersReceiver.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });
});

const notPassed = (results: readonly CheckResult[]): string[] =>
  results
    .filter(({ verdict }) => verdict !== 'passed')
    .map(({ id, verdict }) => `${id} ${verdict}`);

describe('against real receivers', { timeout: 600_000 }, () => {
  const reference = async (t: TestContext): Promise<ReferenceReceiver> => {
    const receiver = await ReferenceReceiver.start();
    t.onTestFinished(() => receiver.close());
    return receiver;
  };

  test('the receiver library passes every check', async (t) => {
    const { url, secret, control } = await reference(t);
    const { results } = await runReceiver({
      requirements,
      scenarios: triggersReceiver,
      url,
      secret,
      control,
    });
    void t.annotate(
      `${results.filter(({ verdict }) => verdict === 'passed').length} of ${results.length} checks passed`,
    );
    assert.deepEqual(notPassed(results), ['sep-0000-recv-missing-fetch not applicable']);
  });

  test('violates nothing without a control interface, and passes most checks', async (t) => {
    const { url, secret } = await reference(t);
    const { results } = await runReceiver({
      requirements,
      scenarios: triggersReceiver,
      url,
      secret,
      control: undefined,
    });
    assert.deepEqual(
      results
        .filter(({ verdict }) => verdict === 'violated' || verdict === 'warned')
        .map(({ id, reasons }) => `${id}: ${reasons.join('; ')}`),
      [],
    );
    assert.ok(
      results.filter(({ verdict }) => verdict === 'passed').length >= 19,
      `only ${results.filter(({ verdict }) => verdict === 'passed').length} passed`,
    );
  });

  test('the minimal receiver passes every check', async (t) => {
    const receiver = await serve();
    t.onTestFinished(() => receiver.close());
    const { url, secret, control } = receiver;
    assert.deepEqual(
      notPassed(
        (await runReceiver({ requirements, scenarios: triggersReceiver, url, secret, control }))
          .results,
      ),
      ['sep-0000-recv-missing-fetch not applicable'],
    );
  });

  test('catches every broken receiver', async (t) => {
    const caught = await runBrokenReceivers({
      peers: onePerGroup(brokenReceivers, familyOf),
      scenarios: triggersReceiver,
      requirements,
      atOnce: 6,
    });
    void t.annotate(
      `${caught.filter((one) => one.caught).length} of ${caught.length} broken receivers caught, ${new Set(caught.map(({ peer }) => peer.check)).size} checks`,
    );
    assert.deepEqual(
      caught
        .filter((one) => !one.caught)
        .map(({ peer, details }) => `${peer.check}: "${peer.wrong}" was not caught; ${details}`),
      [],
    );
  });
});

describe('servers that are not receivers', () => {
  const strangers: readonly (readonly [
    what: string,
    listener: RequestListener | null,
    message: RegExp,
  ])[] = [
    ['no server', null, /nothing answers at/],
    [
      'a web page',
      (_, response) =>
        void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>'),
      /is not a receiver: it answered a challenge with HTTP 200 and no proof/,
    ],
    ['an empty 404', (_, response) => void response.writeHead(404).end(), /HTTP 404 and no proof/],
    [
      'a redirect',
      (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
      /HTTP 302 and no proof/,
    ],
    [
      'a receiver that knows another secret',
      (_, response) => void response.writeHead(401).end(),
      /rejects a challenge signed with the given secret/,
    ],
    [
      'a proof under another secret',
      (_, response) => void response.writeHead(200).end('{"challenge":"x","proof":"AAAA"}'),
      /a proof that does not match the given secret/,
    ],
  ];
  for (const [what, listener, message] of strangers) {
    test(`exits with code 3 and one line, without the secret or the token, for ${what}`, async (t) => {
      const server = createServer(listener ?? undefined).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      if (listener === null) server.close();
      else t.onTestFinished(() => void server.close());
      const screen = { out: '', err: '' };
      const secret = newSecret();
      const code = await main(
        ['receiver', '--url', `http://127.0.0.1:${port}/in?cb=token`, '--secret', secret],
        {
          out: (text) => {
            screen.out += text;
          },
          err: (text) => {
            screen.err += text;
          },
        },
      );
      assert.deepEqual([code, screen.out], [3, '']);
      assert.match(screen.err, /^Nothing was tested: .+\n$/);
      assert.match(screen.err, message);
      assert.ok(!screen.err.includes(secret) && !screen.err.includes('token'));
    });
  }

  test('rejects a URL that is not a control interface', async (t) => {
    const server = createServer((_, response) => void response.writeHead(200).end('{}')).listen(
      0,
      '127.0.0.1',
    );
    await once(server, 'listening');
    t.onTestFinished(() => void server.close());
    await assert.rejects(
      ReceiverControl.at(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
      /does not have the form of control\.schema\.json: must have required property 'verbs'/,
    );
  });
});
