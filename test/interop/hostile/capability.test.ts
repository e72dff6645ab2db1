/**
 * Tests peers that declare what they do not have, have what they do not declare, or withdraw it.
 */
import { REVISION } from '../../../spec-schema/draft/schema.ts';
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import { ANSWERED, HostilePeer, Refused, type Call, type Json } from './peer.ts';
import { BOTH_ERAS, testRows, within, type Era, type Row } from './run-row.ts';

const unknown = (): never => {
  throw new Refused(-32601);
};
const unsupported = (feature: string) => (): never => {
  throw new Refused(-32026, { kind: 'feature', feature });
};
const settings = (value: Json): Pick<Row, 'settings'> => ({ settings: () => value });
const right = { revision: REVISION, levels: ['log', 'stream', 'durable'] };
/** The handshake of either era: discovery or initialize. */
const handshake = (hook: (call: Call) => Json): Pick<Row, 'calls'> => ({
  calls: { 'server/discover': hook, initialize: hook },
});
/** The SDK rejects the whole handshake when the capabilities are not an object. */
const shapeless: readonly [string, Json][] = [
  ['null', null],
  ['a number', 42],
  ['a list', ['stream']],
];
const unknownRevisions: readonly [string, Json][] = [
  ['empty settings', {}],
  ['no revision', { levels: ['log', 'stream'] }],
  ['a later revision', { ...right, revision: '2999-01-01' }],
  ['a revision that is not text', { ...right, revision: 1 }],
];
const malformed: readonly [string, Json][] = [
  ['a revision and nothing else', { revision: REVISION }],
  ['no levels', { ...right, levels: [] }],
  ['levels as text', { ...right, levels: 'stream' }],
  ['the same level twice', { ...right, levels: ['log', 'log'] }],
  ['levels without log', { ...right, levels: ['stream'] }],
  ['an option without a name', { ...right, options: [''] }],
  ['a jwksUri with a javascript: URL', { ...right, jwksUri: 'javascript:alert(1)' }],
  ['a negative maxTtlMs', { ...right, maxTtlMs: -1 }],
];

describe('capabilities', { concurrent: true }, () => {
  testRows([
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
    ...unknownRevisions.map(([name, value]): Row => ({
      name: `settings: ${name}`,
      proves: 'cap-revision',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...settings(value),
      always: 'not_supported capability',
      healed: false,
      also: ({ peer }) =>
        assert.deepEqual(
          peer.requests.filter((method) => method.startsWith('triggers/')),
          [],
        ),
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
      name: 'declares the extension without subscribe',
      proves: 'cap-no-call',
      eras: BOTH_ERAS,
      calls: { 'triggers/subscribe': unknown },
      always: 'not_supported method_not_found',
      healed: false,
    },
    {
      name: 'declares the extension without stream and pull',
      proves: 'cap-no-call',
      eras: BOTH_ERAS,
      calls: { 'triggers/stream': unknown, 'triggers/pull': unknown },
      always: 'not_supported method_not_found',
      healed: false,
    },
    {
      name: 'declares the extension and answers HTTP 404',
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
      name: 'declares a stream and refuses it',
      proves: 'deg-say',
      eras: BOTH_ERAS,
      drains: ['stream'],
      calls: { 'triggers/stream': unsupported('stream') },
      always: 'all',
    },
    {
      name: 'declares a stream and a pull and refuses both',
      eras: BOTH_ERAS,
      calls: { 'triggers/stream': unsupported('stream'), 'triggers/pull': unsupported('pull') },
      always: 'Unsupported feature',
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
      settings: (n) => (n === 1 ? right : { revision: REVISION }),
      calls: {
        'triggers/stream': ({ send }) => send(404, 'text/plain', 'gone'),
        'triggers/pull': ({ send }) => send(404, 'text/plain', 'gone'),
      },
      always: 'peer_misbehaved capability',
      healed: false,
    },
    {
      name: 'handshake: an empty answer',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...handshake(() => ({})),
      always: { '2026-07-28': 'not_supported revision', '2025-11-25': 'peer_misbehaved' },
      healed: false,
    },
    {
      name: 'handshake: unknown revisions',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...handshake(async (call) => ({
        ...(await call.honest()),
        protocolVersion: '1999-01-01',
        supportedVersions: ['1999-01-01'],
      })),
      always: 'not_supported revision',
      healed: false,
    },
    {
      name: 'handshake: capabilities in prototypes',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...handshake(({ id, send }) =>
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
      name: 'handshake: an error',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...handshake(() => {
        throw new Refused(-32603);
      }),
      always: { '2026-07-28': 'not_supported revision', '2025-11-25': 'InternalError' },
      healed: false,
    },
    {
      name: 'handshake: no answer',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...handshake(() => new Promise(() => undefined)),
      timeoutMs: 300,
      always: 'timeout',
      healed: false,
    },
    {
      name: 'handshake: a closed connection',
      eras: BOTH_ERAS,
      drains: ['pull'],
      ...handshake(({ response }) => (response.destroy(), ANSWERED)),
      always: 'unreachable',
      healed: false,
    },
  ]);

  for (const protocol of BOTH_ERAS satisfies readonly Era[]) {
    test(`${protocol}: the guarantee of a subscription stays readable after the server has withdrawn the capability`, async () => {
      await using peer = await HostilePeer.start({
        settings: (n) => (n === 1 ? right : undefined),
      });
      const client = triggersClient(await connect({ url: peer.url }, { protocol }));
      const subscription = client.subscribe({ select: [{ name: 'timer' }], key: 'k' });
      await client.connection.refresh();
      assert.equal(client.capability, null);
      assert.equal(subscription.guarantee.durability, 'durable');
      await assert.rejects(client.list(), { code: 'not_supported', reason: 'capability' });
      await subscription.close();
      await within(client.close());
    });
  }
});
