/**
 * Tests one endpoint with three generations of clients: what each of them sees, and that all nine
 * methods reach the engine.
 */
import { REVISION } from '../../spec-schema/draft/schema.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createHmac } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, test } from 'vitest';
import {
  EXTENSION_ID,
  type Challenge,
  type Delivery,
  type StreamDelivery,
  type SubscribeResult,
} from 'mcp-triggers-experimental';
import { capabilityOf, check } from 'mcp-triggers-experimental';
import { boxOpened, ERAS, startServer, type AnyClient, type Running } from './harness.ts';

const select = [{ name: 'box.opened', arguments: { box: 'front' } }];
const opened = (n: number) =>
  boxOpened.event({ eventId: `e${n}`, data: { box: 'front', by: `visitor ${n}` } });

for (const era of ERAS) {
  describe(`a ${era} client`, () => {
    let server: Running;
    let client: AnyClient;
    beforeAll(async () => {
      server = await startServer();
      client = await server.client(era, 'alice');
    });
    afterAll(async () => {
      await client.close();
      await server.close();
    });

    test('finds the capability in the place of its revision [cap-extensions] [cap-experimental] [cap-levels]', () => {
      const place = era === 'v2 modern' ? 'extensions' : 'experimental';
      const settings = (client.capabilities[place] as Record<string, unknown>)[EXTENSION_ID];
      assert.deepEqual(settings, {
        revision: REVISION,
        levels: ['log', 'stream', 'callback', 'durable'],
        options: [
          'conditionalReads',
          'history',
          'multiSelect',
          'listChanged',
          'pause',
          'skip',
          'reject',
          'limits',
          'trace',
          'dataRef',
          'serverIdentity',
        ],
        minTtlMs: 60_000,
        maxTtlMs: 2_592_000_000,
        maxSuspendedMs: 2_592_000_000,
        jwksUri: new URL('/.well-known/jwks.json', server.url).href,
      });
      assert.deepEqual(
        capabilityOf(client.capabilities, era === 'v2 modern' ? '2026-07-28' : '2025-11-25'),
        settings,
      );
    });

    test('lists the trigger types, and gets not modified for an unchanged list [list-not-modified]', async () => {
      const list = await client.request('triggers/list');
      assert.deepEqual(
        (list['triggers'] as { name: string }[]).map(({ name }) => name),
        ['box.opened'],
      );
      assert.ok(check('ListTriggersResult', list).ok);
      const again = await client.request('triggers/list', { ifNoneMatch: list['etag'] });
      assert.equal(again['notModified'], true);
    });

    test('subscribes, pulls, acknowledges, updates, gets and unsubscribes', async () => {
      const made = (await client.request('triggers/subscribe', {
        key: 'pull',
        select,
      })) as unknown as SubscribeResult;
      assert.equal(made.created, true);
      const { subscriptionId, epoch } = made;
      await server.emit(opened(1));
      await server.emit(opened(2));
      const pulled = (await client.request('triggers/pull', {
        subscriptionId,
        waitMs: 5000,
      })) as unknown as Delivery;
      assert.deepEqual(
        pulled.events.map(({ sequence, eventId }) => [sequence, eventId]),
        [
          [1, 'e1'],
          [2, 'e2'],
        ],
      );
      assert.deepEqual(
        stripped(
          await client.request('triggers/ack', {
            subscriptionId,
            position: { epoch, sequence: 2 },
          }),
        ),
        { epoch, acked: 2, head: 2 },
      );
      const paused = await client.request('triggers/update', {
        subscriptionId,
        ifMatch: made.etag,
        paused: true,
      });
      assert.equal(paused['paused'], true);
      const seen = await client.request('triggers/get', { subscriptionId });
      assert.equal(seen['etag'], paused['etag']);
      const mine = await client.request('triggers/subscriptions');
      assert.deepEqual(
        (mine['subscriptions'] as { subscriptionId: string }[]).map((one) => one.subscriptionId),
        [subscriptionId],
      );
      assert.deepEqual(
        stripped(await client.request('triggers/unsubscribe', { subscriptionId })),
        {},
      );
      await assert.rejects(client.request('triggers/get', { subscriptionId }), { code: -32023 });
    });

    test('streams: a first delivery at once, tagged; an ack frees the window; cancel ends it [stream-first] [stream-tag] [stream-cancel]', async () => {
      const { subscriptionId, epoch } = (await client.request('triggers/subscribe', {
        key: 'stream',
        select,
      })) as unknown as SubscribeResult;
      const deliveries: StreamDelivery[] = [];
      client.onNotification('notifications/triggers/delivery', (params) =>
        deliveries.push(params as unknown as StreamDelivery),
      );
      const cancel = new AbortController();
      const ended = client
        .request(
          'triggers/stream',
          { subscriptionId, window: { events: 1 } },
          { signal: cancel.signal },
        )
        .catch((error: unknown) => error);
      await until(() => deliveries.length >= 1);
      assert.deepEqual(deliveries[0]?.events, []);
      await server.emit(opened(11));
      await server.emit(opened(12));
      await until(() => deliveries.some(({ events }) => events.length > 0));
      await client.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 1 } });
      await until(() => deliveries.flatMap(({ events }) => events).length === 2);
      assert.deepEqual(
        deliveries.flatMap(({ events }) => events.map(({ sequence }) => sequence)),
        [1, 2],
      );
      const requestIds = new Set(deliveries.map(({ requestId }) => requestId));
      assert.equal(requestIds.size, 1);
      assert.notEqual([...requestIds][0], undefined);

      cancel.abort();
      assert.ok((await ended) instanceof Error);
      await until(async () => (await openStreams(server)) === 0);
      const before = deliveries.length;
      await server.emit(opened(13));
      const { head } = (await client.request('triggers/get', {
        subscriptionId,
      })) as unknown as SubscribeResult;
      assert.equal(head, 3);
      assert.equal(deliveries.length, before);
    });

    test('gets callbacks, signed by client secret and by server key [cap-jwks]', async () => {
      const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
      const deliveries: Delivery[] = [];
      const acknowledged = (delivery: Delivery) => {
        deliveries.push(delivery);
        return { ackSequence: delivery.events.at(-1)?.sequence ?? delivery.afterSequence };
      };
      const proved = ({ challenge }: Challenge) => ({
        challenge,
        proof: createHmac('sha256', Buffer.alloc(32, 7))
          .update(`challenge.${challenge}`)
          .digest('base64'),
      });
      const signatures: unknown[] = [];
      const endpoint = createServer((request, answer) => {
        void request.toArray().then((chunks: Buffer[]) => {
          const { params } = JSON.parse(Buffer.concat(chunks).toString()) as {
            params: Delivery | Challenge;
          };
          signatures.push(request.headers['mcp-delivery-signature']);
          answer
            .setHeader('content-type', 'application/json')
            .end(JSON.stringify('challenge' in params ? proved(params) : acknowledged(params)));
        });
      }).listen(0, '127.0.0.1');
      await once(endpoint, 'listening');
      const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/hook`;
      const made = (await client.request('triggers/subscribe', {
        key: 'callback',
        select,
        callback: { url, secret },
      })) as unknown as SubscribeResult;
      assert.equal(made.callback?.origin, new URL(url).origin);
      await server.emit(opened(21));
      await until(() => deliveries.some(({ events }) => events.length === 1));
      await until(
        async () =>
          (await client.request('triggers/get', { subscriptionId: made.subscriptionId }))[
            'acked'
          ] === 1,
      );
      assert.ok(signatures.every((signature) => typeof signature === 'string'));
      await client.request('triggers/unsubscribe', { subscriptionId: made.subscriptionId });
      endpoint.closeAllConnections();
      endpoint.close();
    });
  });
}

/** Removes the members that the base protocol adds. */
function stripped({
  _meta,
  resultType,
  ...rest
}: Record<string, unknown>): Record<string, unknown> {
  return rest;
}

async function openStreams(server: Running): Promise<number> {
  const page = await (await fetch(new URL('/metrics', server.url))).text();
  return Number(/^triggers_streams_open (\d+)$/m.exec(page)?.[1]);
}

/** Waits for a condition, for at most 20 s. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'the condition was not met within 20 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
