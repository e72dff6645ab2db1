// Tests the two peers of `events/*` with each other, without this project's code: the harness gives
// them what they expect, and the facts on which the profiles of sep/mapping-events.md rest are true
// of the installed versions.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'vitest';
import { Webhook } from 'standardwebhooks';
import { startAiSdk } from './ai-sdk.ts';
import { EVENT_NAME, startMcpHandler, TOKEN } from './servers/mcp-handler.ts';

const PUBLIC = 'https://hooks.example';

async function pair() {
  await using stack = new AsyncDisposableStack();
  const ai = stack.use(await startAiSdk());
  const server = stack.use(
    await startMcpHandler({ reach: (url) => url.replace(PUBLIC, new URL(ai.callbackUrl).origin) }),
  );
  const client = await ai.connect(server.url, TOKEN);
  const subscribe = () =>
    client.experimental_events.subscribe({
      name: EVENT_NAME,
      delivery: { mode: 'webhook', url: `${PUBLIC}/mcp-events` },
    });
  const open = stack.move();
  return { ai, server, client, subscribe, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

describe('@ai-sdk/mcp and mcp-handler', () => {
  test('work together: challenge, event, rotation, unsubscribe', async () => {
    await using at = await pair();
    const { id, refreshBefore } = await at.subscribe();
    assert.ok(Date.parse(refreshBefore!) > Date.now());
    assert.deepEqual(await at.server.deliver({ box: 'front' }), [204]);
    assert.deepEqual(
      at.ai.received.map(({ event: { name, data } }) => ({ name, data })),
      [{ name: EVENT_NAME, data: { box: 'front' } }],
    );

    const record = await at.ai.store.getById(id);
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    await at.ai.store.update(record!.key, { delivery: { ...record!.delivery, secret } });
    await at.client.experimental_events.refresh({ id });
    assert.deepEqual(await at.server.deliver({ box: 'back' }), [204]);
    assert.equal(at.ai.posts.at(-1)!.headers.get('webhook-signature')!.split(' ').length, 2);
    assert.deepEqual(
      at.ai.posts.map(({ kind }) => kind),
      ['verification', 'event', 'verification', 'event'],
    );

    await at.client.experimental_events.unsubscribe({ id });
    assert.deepEqual(await at.server.deliver({ box: 'back' }), []);
  });

  test('the receiver accepts and rejects what the profiles say', async () => {
    await using at = await pair();
    const { id } = await at.subscribe();
    const record = (await at.ai.store.getById(id))!;
    const post = async (
      message: object,
      {
        webhookId = 'evt_1',
        ageS = 0,
        secrets = [record.delivery.secret],
        more = {},
        to = id,
      }: {
        readonly webhookId?: string;
        readonly ageS?: number;
        readonly secrets?: readonly string[];
        readonly more?: Readonly<Record<string, string>>;
        readonly to?: string;
      } = {},
    ) => {
      const [body, time] = [JSON.stringify(message), new Date(Date.now() - ageS * 1000)];
      const response = await fetch(
        record.delivery.url.replace(PUBLIC, new URL(at.ai.callbackUrl).origin),
        {
          method: 'POST',
          body,
          headers: {
            'content-type': 'application/json',
            'x-mcp-subscription-id': to,
            'webhook-id': webhookId,
            'webhook-timestamp': String(Math.floor(time.getTime() / 1000)),
            'webhook-signature': secrets
              .map((secret) => new Webhook(secret).sign(webhookId, time, body))
              .join(' '),
            ...more,
          },
        },
      );
      return response.status;
    };
    const event = (eventId: string) => ({
      eventId,
      name: EVENT_NAME,
      timestamp: new Date().toISOString(),
      data: { box: 'front' },
      _meta: { 'example.org/number': 7 },
    });
    const other = `whsec_${randomUUID().replaceAll('-', '')}`;

    assert.equal(await post(event('evt_1')), 204);
    assert.deepEqual(
      at.ai.received.at(-1)!.event['_meta'],
      { 'example.org/number': 7 },
      '_meta reaches the application',
    );
    assert.equal(await post(event('evt_1')), 204, 'a duplicate is accepted');
    assert.equal(at.ai.received.length, 2, 'and passed to the application again');
    assert.equal(
      await post(event('evt_1'), { webhookId: 'msg_1' }),
      400,
      'webhook-id must be the eventId',
    );
    assert.equal(await post(event('evt_1'), { ageS: 400 }), 401);
    assert.equal(await post(event('evt_1'), { secrets: [other, record.delivery.secret] }), 204);
    assert.equal(await post(event('evt_1'), { secrets: [other] }), 401);
    assert.equal(
      await post(event('evt_1'), {
        more: { 'mcp-delivery-signature': 'x', 'content-type': 'application/json; charset=utf-8' },
      }),
      204,
    );
    assert.equal(await post(event('evt_1'), { to: 'another' }), 401);
    assert.equal(await post({ type: 'gap', cursor: 'c1' }, { webhookId: 'msg_2' }), 204);
    assert.equal(await post({ type: 'unheard-of' }, { webhookId: 'msg_3' }), 400);
    at.ai.onEvent = async () => {
      throw new Error('no');
    };
    assert.equal(await post(event('evt_2'), { webhookId: 'evt_2' }), 503);
    assert.equal(
      await post(
        { type: 'terminated', error: { code: -32012, message: 'Forbidden' } },
        { webhookId: 'msg_4' },
      ),
      204,
    );
    assert.equal(
      await post(event('evt_3'), { webhookId: 'evt_3' }),
      401,
      'it has forgotten the subscription',
    );
  });
});
