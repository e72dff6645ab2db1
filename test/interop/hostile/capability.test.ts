/** Peers that declare what they do not have, have what they do not declare, or take it back. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import { ANSWERED, HostilePeer, Refused, type Call, type Json } from './peer.ts';
import { BOTH_ERAS, playAll, within, type Era, type Row } from './play.ts';

const unknown = (): never => {
  throw new Refused(-32601);
};
const unsupported = (feature: string) => (): never => {
  throw new Refused(-32026, { feature });
};
const settings = (value: Json): Pick<Row, 'settings'> => ({ settings: () => value });
const right = { drains: ['stream', 'pull'], durability: 'durable' };
/** What greets in either era. */
const greeting = (hook: (call: Call) => Json): Pick<Row, 'calls'> => ({
  calls: { 'server/discover': hook, initialize: hook },
});
/** What is no object at all the SDK refuses with the whole greeting. */
const shapeless: readonly [string, Json][] = [
  ['null', null],
  ['a number', 42],
  ['a list', ['stream']],
];
const malformed: readonly [string, Json][] = [
  ['nothing in them', {}],
  ['no drains', { ...right, drains: [] }],
  ['drains as text', { ...right, drains: 'stream' }],
  ['the same drain twice', { ...right, drains: ['pull', 'pull'] }],
  ['a drain that nobody knows', { ...right, drains: ['pigeon'] }],
  ['no durability', { drains: ['pull'] }],
  ['a durability that nobody knows', { ...right, durability: 'eternal' }],
  ['a jwksUri that is a script', { ...right, jwksUri: 'javascript:alert(1)' }],
  ['a negative maxTtlMs', { ...right, maxTtlMs: -1 }],
];

describe('capabilities', { concurrent: true }, () => {
  playAll([
    ...malformed.map(([name, value]): Row => ({
      name: `settings: ${name}`,
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...settings(value),
      always: 'peer_misbehaved capability',
      healed: false,
    })),
    ...shapeless.map(([name, value]): Row => ({
      name: `settings: ${name}`,
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...settings(value),
      always: { '2026-07-28': 'not_supported revision', '2025-11-25': 'peer_misbehaved' },
      healed: false,
    })),
    {
      name: 'no settings, and no methods',
      proves: 'cap-no-call',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...settings(undefined),
      always: 'not_supported capability',
      healed: false,
      also: ({ peer }) =>
        assert.deepEqual(
          peer.requests.filter((method) => method.startsWith('triggers/')),
          [],
        ),
    },
    {
      name: 'declared, and subscribe is not there',
      proves: 'cap-method-not-found',
      eras: BOTH_ERAS,
      calls: { 'triggers/subscribe': unknown },
      always: 'not_supported method_not_found',
      healed: false,
    },
    {
      name: 'declared, and reading is not there',
      proves: 'cap-method-not-found',
      eras: BOTH_ERAS,
      calls: { 'triggers/stream': unknown, 'triggers/pull': unknown },
      always: 'not_supported method_not_found',
      healed: false,
    },
    {
      name: 'declared, and unknown as an HTTP 404',
      eras: BOTH_ERAS,
      drains: ['pull'],
      calls: {
        'triggers/pull': ({ id, send }) =>
          send(
            404,
            'application/json',
            JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } }),
          ),
      },
      always: 'not_supported method_not_found',
      healed: false,
    },
    {
      name: 'a stream that is declared and refused',
      proves: 'deg-say',
      eras: BOTH_ERAS,
      drains: ['stream'],
      calls: { 'triggers/stream': unsupported('stream') },
      always: 'all',
    },
    {
      name: 'a pull that is declared and refused',
      eras: BOTH_ERAS,
      calls: { 'triggers/stream': unsupported('stream'), 'triggers/pull': unsupported('pull') },
      always: 'Unsupported',
      healed: false,
    },
    {
      name: 'only drains that are not wanted',
      drains: ['pull'],
      ...settings({ ...right, drains: ['stream'] }),
      always: 'not_supported drain',
      healed: false,
    },
    {
      name: 'a session that is lost, and a new one without the extension',
      eras: ['2025-11-25'],
      settings: (n) => (n === 1 ? right : undefined),
      calls: {
        'triggers/stream': ({ send }) => send(404, 'text/plain', 'gone'),
        'triggers/pull': ({ send }) => send(404, 'text/plain', 'gone'),
      },
      always: 'not_supported capability',
      healed: false,
    },
    {
      name: 'a session that is lost every time',
      eras: ['2025-11-25'],
      calls: {
        'triggers/stream': ({ send }) => send(404, 'text/plain', 'gone'),
        'triggers/pull': ({ send }) => send(404, 'text/plain', 'gone'),
      },
      always: 'waits unreachable',
    },
    {
      name: 'a session that ends while the new one is malformed',
      eras: ['2025-11-25'],
      settings: (n) => (n === 1 ? right : {}),
      calls: {
        'triggers/stream': ({ send }) => send(404, 'text/plain', 'gone'),
        'triggers/pull': ({ send }) => send(404, 'text/plain', 'gone'),
      },
      always: 'peer_misbehaved capability',
      healed: false,
    },
    {
      name: 'greets with nothing',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...greeting(() => ({})),
      always: { '2026-07-28': 'not_supported revision', '2025-11-25': 'peer_misbehaved' },
      healed: false,
    },
    {
      name: 'greets with revisions that nobody knows',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...greeting(async (call) => ({
        ...(await call.honest()),
        protocolVersion: '1999-01-01',
        supportedVersions: ['1999-01-01'],
      })),
      always: 'not_supported revision',
      healed: false,
    },
    {
      name: 'greets with capabilities in prototypes',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...greeting(({ id, send }) =>
        send(
          200,
          'application/json',
          `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"protocolVersion":"2025-11-25","serverInfo":{"name":"x","version":"1"},"ttlMs":0,"cacheScope":"private","capabilities":{"__proto__":{"extensions":{"io.modelcontextprotocol/triggers":{"drains":["pull"],"durability":"durable"}}}}}}`,
        ),
      ),
      always: 'not_supported capability',
      healed: false,
    },
    {
      name: 'greets with an error',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...greeting(() => {
        throw new Refused(-32603);
      }),
      always: { '2026-07-28': 'not_supported revision', '2025-11-25': 'InternalError' },
      healed: false,
    },
    {
      name: 'never greets',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...greeting(() => new Promise(() => undefined)),
      timeoutMs: 300,
      always: 'timeout',
      healed: false,
    },
    {
      name: 'greets and hangs up',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...greeting(({ response }) => (response.destroy(), ANSWERED)),
      always: 'unreachable',
      healed: false,
    },
  ]);

  for (const protocol of BOTH_ERAS satisfies readonly Era[]) {
    test(`${protocol}: what is promised stays readable after the server has taken it back`, async () => {
      await using peer = await HostilePeer.start({
        settings: (n) => (n === 1 ? right : undefined),
      });
      const client = triggersClient(await connect({ url: peer.url }, { protocol }));
      const subscription = client.subscribe({ select: [{ name: 'timer' }], key: 'k' });
      await client.connection.look();
      assert.equal(client.capability, null);
      assert.equal(subscription.guarantee.durability, 'durable');
      await assert.rejects(client.list(), { code: 'not_supported', reason: 'capability' });
      await subscription.close();
      await within(client.close());
    });
  }
});
