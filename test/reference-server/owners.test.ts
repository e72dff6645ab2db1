/**
 * Tests who owns a subscription: two applications of one user, and operators that let them share.
 */
import { afterAll, beforeAll, describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { boxOpened, startServer, type Answer, type Claims, type Running } from './harness.ts';

const select = [{ name: 'box.opened' }];
const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** Calls as alice, through the application with these claims. */
const through =
  (server: Running, claims: Claims) =>
  async (method: string, params: object = {}): Promise<Answer> =>
    server.call(method, params, { as: await server.token('alice', claims) });

/** The keys that `triggers/subscriptions` lists. */
const keysOf = ({ result }: Answer): string[] =>
  (result?.['subscriptions'] as { readonly key: string }[]).map(({ key }) => key);

describe('two applications of one user', () => {
  let server: Running;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server.close());

  test('[iso-iss-sub iso-own iso-not-found] neither sees, changes nor drains what the other has', async () => {
    const [one, two] = [{ client_id: 'mail' }, { client_id: 'chat' }].map((claims) =>
      through(server, claims),
    ) as [ReturnType<typeof through>, ReturnType<typeof through>];
    const { result } = await one('triggers/subscribe', { key: 'mine', select });
    const { subscriptionId, epoch, etag } = result as Record<string, string>;
    await server.emit(boxOpened.event({ eventId: 'e1', data: { box: 'front', by: 'x' } }));
    await one('triggers/pull', { subscriptionId, waitMs: 5000 });
    assert.deepEqual(keysOf(await two('triggers/subscriptions')), []);
    for (const [method, params] of [
      ['triggers/get', {}],
      ['triggers/update', { callback: { url: 'https://hooks.example.com/theirs', secret } }],
      ['triggers/pull', {}],
      ['triggers/ack', { position: { epoch, sequence: 1 } }],
      ['triggers/unsubscribe', {}],
    ] as const)
      assert.deepEqual(
        (await two(method, { subscriptionId, ...params })).error?.data,
        { kind: 'subscription' },
        method,
      );
    const theirs = await two('triggers/subscribe', { key: 'mine', select });
    assert.equal(theirs.result?.['created'], true, 'a key is unique for its owner only');
    const now = (await one('triggers/get', { subscriptionId })).result;
    assert.deepEqual([now?.['etag'], now?.['acked']], [etag, 0]);
  });

  test('[iso-iss-sub] the client is client_id, else azp; tokens without either have one owner', async () => {
    const key = 'azp';
    const made = async (claims: Claims): Promise<unknown> =>
      (await through(server, claims)('triggers/subscribe', { key, select })).result?.['created'];
    assert.deepEqual(
      [
        await made({ client_id: 'a' }),
        await made({ azp: 'b' }),
        await made({}),
        await made({ client_id: 'b', azp: 'z' }),
        await made({ azp: 'a' }),
        await made({}),
      ],
      [true, true, true, false, false, false],
    );
  });
});

test('[iso-iss-sub] the operator can let chosen clients of one user share; others stay apart', async () => {
  const server = await startServer({ TRIGGERS_SHARED_CLIENTS: 'desktop, phone' });
  try {
    await through(server, { client_id: 'desktop' })('triggers/subscribe', { key: 'ours', select });
    await through(server, { client_id: 'chat' })('triggers/subscribe', { key: 'chat', select });
    const listed = async (client_id: string): Promise<string[]> =>
      keysOf(await through(server, { client_id })('triggers/subscriptions'));
    assert.deepEqual(
      [await listed('phone'), await listed('chat'), await listed('mail')],
      [['ours'], ['chat'], []],
    );
  } finally {
    await server.close();
  }
});
