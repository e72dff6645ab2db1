/** Tests which profile a request gets, and everything that differs between the three. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import {
  attachEvents,
  eventsDialects,
  WireError,
  type WireErrorName,
} from 'mcp-triggers-experimental/server';
import { endingError, eventsError } from '../../../../src/server/mcp/events/errors.ts';
import { PROFILES, profileOf } from '../../../../src/server/mcp/events/profiles.ts';
import type { WireErrorData } from '../../../../src/protocol/wire/errors.ts';
import { startEngine, until, type Message } from '../harness.ts';
import { box, EVENTS, eventsWorld, mail, number, SEP, type Json } from './world.ts';

const name = box.type.name;

describe('the profile of a request', () => {
  test("is sep for a client that declares the extension, and the server's default for any other", () => {
    const declared = { extensions: { [EVENTS]: {} } };
    for (const undeclared of ['sep', 'sketch', 'suite'] as const) {
      assert.equal(profileOf(declared, undeclared).name, 'sep');
      for (const other of [
        undefined,
        null,
        {},
        'x',
        { extensions: null },
        { extensions: { other: {} } },
        { [EVENTS]: {} },
        { events: {} },
      ])
        assert.equal(profileOf(other, undeclared).name, undeclared);
    }
  });

  test('is determined in each modern request, and in the handshake of a session [SEP-3415 D1]', async (t) => {
    const w = await eventsWorld(t);
    assert.equal((await w.refused('events/poll', { name: 'no.such' }, SEP)).code, -32023);
    assert.equal((await w.refused('events/poll', { name: 'no.such' })).code, -32011);
    const engine = await startEngine();
    t.onTestFinished(() => engine.close());
    for (const [capabilities, code] of [
      [{ extensions: { [EVENTS]: {} } }, -32023],
      [{}, -32011],
    ] as const) {
      const mcp = new McpServer({ name: 'test', version: '1' });
      attachEvents(mcp, engine);
      const [near, far] = InMemoryTransport.createLinkedPair();
      const messages: Message[] = [];
      near.onmessage = (message) => void messages.push(message as Message);
      await mcp.connect(far);
      await near.start();
      const send = (message: object) =>
        near.send({ jsonrpc: '2.0', ...message } as Parameters<typeof near.send>[0]);
      await send({
        id: 0,
        method: 'initialize',
        params: {
          protocolVersion: '2025-11-25',
          capabilities,
          clientInfo: { name: 'test', version: '1' },
        },
      });
      await until(async () => messages.length === 1);
      await send({ method: 'notifications/initialized' });
      await send({ id: 1, method: 'events/poll', params: { name: 'no.such' } });
      await until(async () => messages.some(({ id }) => id === 1));
      assert.equal(messages.find(({ id }) => id === 1)?.error?.code, code);
      await near.close();
    }
  });
});

describe('the differences', () => {
  const rows = [
    ['sep', -32023, true],
    ['suite', -32011, true],
    ['sketch', -32011, false],
  ] as const;
  for (const [undeclared, code, refused] of rows) {
    test(`of ${undeclared}: codes, unsubscribing an unknown subscription, webhook-id, control envelopes [SEP-3415 D37 D52 D60]`, async (t) => {
      const w = await eventsWorld(t, { undeclared, triggers: [box, mail, number] });
      const hook = await w.receiver(({ body }) => ({
        status: body['data']?.text === 'bad' ? 410 : 204,
      }));
      assert.equal((await w.refused('events/poll', { name: 'no.such' })).code, code);
      assert.equal(
        (await w.refused('events/subscribe', { name: number.type.name, delivery: hook.delivery }))
          .code,
        code,
      );
      const { result, error } = await w.call('events/unsubscribe', {
        name,
        delivery: { url: hook.url },
      });
      if (refused) assert.partialDeepStrictEqual(error, { code, data: { kind: 'subscription' } });
      else assert.equal(result?.['resultType'], 'complete');

      await w.hook(hook, {}, {});
      await w.engine.emit(box.event({ eventId: 'upstream-1', data: { box: 'a', text: 'bad' } }));
      await w.engine.emit(box.event({ eventId: 'upstream-2', data: { box: 'a', text: 'good' } }));
      await w.engine.settled();
      await hook.nth(undeclared === 'sketch' ? 2 : 3);
      const events = hook.events.map(
        ({ headers, body }) => headers['webhook-id'] === body['eventId'],
      );
      assert.deepEqual(events, [true, true]);
      await w.engine.remove(name);
      // The notice waits for the answer to the last event.
      if (undeclared !== 'sketch') await hook.nth(4);
      await w.pass(100);
      const control = hook.messages
        .map(({ body }) => body['type'] as string | undefined)
        .filter((type) => type !== undefined);
      assert.deepEqual(control, undeclared === 'sketch' ? [] : ['gap', 'terminated']);
    });
  }

  test('of a webhook follow the profile of its latest refresh', async (t) => {
    const w = await eventsWorld(t, {
      engine: { dialects: eventsDialects({ webhookId: 'message' }) },
    });
    const hook = await w.receiver();
    await w.hook(hook, {}, {});
    await w.open();
    const first = await hook.nth(1);
    assert.equal(first.headers['webhook-id'], first.body['eventId']);
    await w.hook(hook);
    await w.open();
    const second = await hook.nth(2);
    assert.notEqual(second.headers['webhook-id'], second.body['eventId']);
    assert.equal(hook.challenges.length, 1);
    assert.deepEqual(
      w.log.map((line) => JSON.parse(line) as Json).flatMap(({ profile }) => profile ?? []),
      ['sketch', 'sep'],
    );
  });
});

describe('the table of errors', () => {
  const given: { readonly [N in WireErrorName]: WireErrorData[N] } = {
    InvalidParams: { kind: 'invalid', path: '/select/0/arguments/x', expected: 'a string' },
    Conflict: { kind: 'key', subscriptionId: 's'.repeat(30), etag: 'e' },
    NotFound: {
      kind: 'subscription',
      reason: 'expired',
      final: { epoch: 'epoch-12', head: 1, acked: 1 },
    },
    Forbidden: { kind: 'permission' },
    ResourceExhausted: { kind: 'limit', limit: 'subscriptions', max: 1 },
    Unsupported: { kind: 'feature', feature: 'callback' },
    CallbackEndpointError: { kind: 'callback', category: 'no_ack' },
    InternalError: undefined,
  };

  test('maps every error of triggers/*, and uses no term of that protocol [SEP-3415 D60 D61 R48]', () => {
    const said = Object.fromEntries(
      Object.entries(given).map(([one, data]) => [
        one,
        eventsError(new WireError(one as WireErrorName, data as never), PROFILES.sep),
      ]),
    );
    const brief = Object.fromEntries(
      Object.entries(said).map(([one, { code, data }]) => [one, [code, data]]),
    );
    assert.deepEqual(brief, {
      InvalidParams: [-32602, { path: '/arguments/x', expected: 'a string' }],
      Conflict: [-32603, undefined],
      NotFound: [-32023, { kind: 'subscription' }],
      Forbidden: [-32024, { kind: 'event' }],
      ResourceExhausted: [-32025, { limit: 'subscriptions', max: 1 }],
      Unsupported: [-32026, { feature: 'deliveryMode', value: 'webhook' }],
      CallbackEndpointError: [-32027, { reason: 'challenge_failed' }],
      InternalError: [-32603, undefined],
    });
    for (const { message } of Object.values(said))
      assert.ok(!/trigger|\/select|callback url/i.test(message), message);
  });

  test('maps each path back to the member that the client sent', () => {
    for (const [path, mapped] of [
      ['/select/0/arguments', '/arguments'],
      ['/select/0/name', '/name'],
      ['/select', ''],
      ['/callback/url', '/delivery/url'],
      ['/callback/secret', '/delivery/secret'],
      ['/callback', '/delivery'],
      ['/ttlMs', '/ttlMs'],
      ['/callbacks', '/callbacks'],
    ] as const) {
      assert.deepEqual(
        eventsError(new WireError('InvalidParams', { path, expected: 'x' }), PROFILES.sep).data?.[
          'path'
        ],
        mapped,
        path,
      );
    }
  });

  test('has the same codes for sketch and suite, and others for sep', () => {
    const codes = (profile: keyof typeof PROFILES) =>
      (
        [
          'NotFound',
          'Forbidden',
          'ResourceExhausted',
          'Unsupported',
          'CallbackEndpointError',
        ] as const
      ).map((one) => eventsError(new WireError(one, given[one] as never), PROFILES[profile]).code);
    assert.deepEqual(codes('sep'), [-32023, -32024, -32025, -32026, -32027]);
    for (const profile of ['sketch', 'suite'] as const)
      assert.deepEqual(codes(profile), [-32011, -32012, -32013, -32014, -32015]);
    assert.equal(endingError('revoked', PROFILES.sketch)?.code, -32012);
  });
});
