/**
 * Tests how the client library and the receiver handle the messages of a real server (SEP: Server
 * identity, Applying a delivery, triggers/list).
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'vitest';
import { exportJWK } from 'jose';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { connect, triggersClient } from 'mcp-triggers-experimental/client';
import {
  createServerKeys,
  type Ledger,
  type LedgerRecord,
} from 'mcp-triggers-experimental/receiver';
import {
  generateDeliveryKey,
  publicJwks,
  type DeliveryKey,
} from 'mcp-triggers-experimental/server';
import { deliverySignatureHead, signDelivery } from '../../src/protocol/wire/delivery-jws.ts';
import { mount } from '../receiver/support.ts';
import { box, EXTENSION, eventually, RESOURCE, world, type Json } from './world.ts';

/** A JWK Set on loopback, and how often it was fetched. */
async function keySet(
  t: TestContext,
  ...keys: DeliveryKey[]
): Promise<{ url: string; fetched(): number }> {
  let count = 0;
  const server = createServer((_, response) => {
    count += 1;
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify(publicJwks(keys)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.onTestFinished(() => void server.close());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    fetched: () => count,
  };
}

test('[jws-jwks-origin, cap-jwks] keys come from the jwksUri of the settings, whatever a request says about keys', async (t) => {
  const key = generateDeliveryKey();
  const forger = generateDeliveryKey();
  const own = await keySet(t, key);
  const others = await keySet(t, forger);
  const w = await world(t, { engine: { deliveryKey: key }, attach: { jwksUri: own.url } });
  // The settings that an MCP client gets over its own connection.
  const { jwksUri } = (await w.ok('server/discover'))['capabilities'].extensions[EXTENSION];
  const applied: string[] = [];
  const refused: string[] = [];
  await using mounted = await mount({
    clock: w.clock,
    serverKeys: (audience) =>
      audience === RESOURCE ? createServerKeys({ server: own.url, jwksUri }) : undefined,
    apply: (item) => {
      if (item.type === 'event') applied.push(item.event.eventId);
    },
    onRejectedRequest: (code) => void refused.push(code),
  });
  const registration = await mounted.receiver.register({ audience: RESOURCE, key: 'boxes' });
  await w.subscribe({
    key: 'boxes',
    callback: { url: registration.url, secret: registration.secret },
  });
  await w.engine.emit(box.event({ eventId: 'genuine', data: { box: 'front' } }));
  await eventually('the delivery is applied', () => applied.includes('genuine'));
  assert.ok(own.fetched() > 0);

  // A forger that knows URL and secret, with its own key: named by kid, referenced, or embedded.
  const { createHmac } = await import('node:crypto');
  const subscriptionId = (await w.ok('triggers/subscriptions'))['subscriptions'][0]
    .subscriptionId as string;
  const head = deliverySignatureHead(forger, {
    issuer: RESOURCE,
    url: registration.url,
    subscriptionId,
  });
  const genuine = await w.pull(subscriptionId, {
    after: { epoch: (await w.get(subscriptionId))['epoch'], sequence: 0 },
  });
  const body = Buffer.from(
    JSON.stringify({
      jsonrpc: '2.0',
      method: 'notifications/triggers/delivery',
      params: {
        ...genuine,
        afterSequence: 1,
        resultType: undefined,
        _meta: undefined,
        hasMore: undefined,
        nextPollMs: undefined,
        events: [{ ...genuine['events'][0], sequence: 2, eventId: 'forged' }],
        head: 2,
      },
    }),
  );
  const seconds = Math.floor(w.clock.now() / 1000);
  const token = await signDelivery(forger, head, body, seconds);
  const [protectedHeader, , signature] = token.split('.');
  const header = JSON.parse(Buffer.from(protectedHeader!, 'base64url').toString()) as Json;
  const extra = async (more: object): Promise<string> => {
    const { sign } = await import('node:crypto');
    const first = Buffer.from(JSON.stringify({ ...header, ...more })).toString('base64url');
    return `${first}..${sign(null, Buffer.concat([Buffer.from(`${first}.`), body]), forger.privateKey).toString('base64url')}`;
  };
  for (const one of [
    token,
    `${protectedHeader}..${signature}`,
    await extra({ kid: key.kid }),
    await extra({ jku: others.url }),
    await extra({ x5u: others.url }),
    await extra({ jwk: await exportJWK(forger.publicKey) }),
  ]) {
    const webhook = createHmac('sha256', Buffer.from(registration.secret.slice(6), 'base64'))
      .update(Buffer.concat([Buffer.from(`msg_forged.${seconds}.`), body]))
      .digest('base64');
    const response = await fetch(registration.url, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'webhook-id': 'msg_forged',
        'webhook-timestamp': String(seconds),
        'webhook-signature': `v1,${webhook}`,
        'mcp-subscription-id': subscriptionId,
        'mcp-delivery-signature': one,
      },
    });
    assert.equal(response.status, 401);
  }
  assert.deepEqual([...new Set(refused)], ['server_signature']);
  assert.deepEqual([applied, others.fetched()], [['genuine'], 0]);
});

test('[list-changed-reread] the application is notified that the list changed, and reads it again with its etag', async (t) => {
  const w = await world(t);
  const sdk = new Client(
    { name: 'test', version: '1' },
    { versionNegotiation: { mode: { pin: '2026-07-28' } } },
  );
  await sdk.connect(
    new StreamableHTTPClientTransport(new URL(w.url), {
      requestInit: { headers: { authorization: `Bearer ${w.token('alice')}` } },
    }),
  );
  t.onTestFinished(() => sdk.close());
  const connection = await connect(sdk);
  const client = triggersClient(connection);
  let known = await client.list();
  const read: (readonly string[])[] = [];
  connection.onListChanged(
    () =>
      void (async () => {
        const now = await client.list({ ifNoneMatch: known.etag });
        if (!('triggers' in now)) return;
        known = now;
        read.push(now.triggers.map(({ name }) => name));
      })(),
  );
  const subscription = client.subscribe({
    select: [{ name: 'box.opened' }],
    key: 'told',
    drain: 'stream',
  });
  t.onTestFinished(() => subscription.close());
  const items = subscription[Symbol.asyncIterator]();
  const first = items.next();
  await eventually('the stream is open', async () => (await w.engine.health()).streams === 1);
  await w.open(1);
  assert.equal((await first).value?.type, 'event');
  w.engine.declare({ ...box, type: { ...box.type, name: 'box.closed' } });
  await eventually('the list was read again', () => read.length > 0);
  assert.deepEqual(read, [['box.closed', 'box.opened', 'mail.arrived', 'meter.read']]);
  assert.equal('notModified' in (await client.list({ ifNoneMatch: known.etag })), true);
});

test('[recv-atomic] an application that keeps effect and position in one transaction has each event once, wherever it dies', async (t) => {
  const w = await world(t);
  const database = new DatabaseSync(':memory:');
  t.onTestFinished(() => database.close());
  database.exec(
    'CREATE TABLE effects (eventId TEXT); CREATE TABLE records (name TEXT PRIMARY KEY, record TEXT NOT NULL)',
  );
  const nameOf = (...parts: string[]): string => JSON.stringify(parts);
  const put = database.prepare(
    'INSERT INTO records VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record',
  );
  const dying = new Set<string>();
  let dead = false;
  const die = (): never => {
    dead = true;
    throw new Error('it died');
  };
  /** `apply` writes the positions; only registrations are saved here. */
  const ledger: Ledger = {
    async load(kind, server, key) {
      const row = database
        .prepare('SELECT record FROM records WHERE name = ?')
        .get(nameOf(kind, server, key)) as { record: string } | undefined;
      return row === undefined ? undefined : (JSON.parse(row.record) as never);
    },
    async save(record: LedgerRecord) {
      if (record.kind === 'registration')
        put.run(nameOf(record.kind, record.server, record.key), JSON.stringify(record));
    },
    async remove(kind, server, key) {
      database.prepare('DELETE FROM records WHERE name = ?').run(nameOf(kind, server, key));
    },
  };
  const signing = generateDeliveryKey().privateKey;
  const process_ = (port = 0) =>
    mount(
      {
        clock: w.clock,
        ledger,
        signingKey: signing,
        apply: (item, context) => {
          if (item.type !== 'event') return;
          if (dead) die();
          const { eventId } = item.event;
          database.exec('BEGIN');
          database.prepare('INSERT INTO effects VALUES (?)').run(eventId);
          if (dying.delete(`${eventId} before`)) {
            database.exec('ROLLBACK');
            die();
          }
          const record = {
            kind: 'position',
            server: context.audience,
            key: context.key,
            subscriptionId: context.subscriptionId,
            ...item.position,
          };
          put.run(nameOf('position', context.audience, context.key), JSON.stringify(record));
          database.exec('COMMIT');
          if (dying.delete(`${eventId} after`)) die();
        },
      },
      port,
    );
  let mounted = await process_();
  const port = Number(new URL(mounted.endpoint).port);
  const registration = await mounted.receiver.register({ audience: RESOURCE, key: 'boxes' });
  const { subscriptionId } = await w.subscribe({
    key: 'boxes',
    callback: { url: registration.url, secret: registration.secret },
  });
  dying.add('2 before').add('4 after');
  for (let n = 1; n <= 5; n += 1) {
    await w.engine.emit(box.event({ eventId: String(n), data: { box: 'front' } }));
    await eventually(`${n} is acknowledged`, async () => {
      if ((await w.get(subscriptionId))['acked'] === n) return true;
      if (dead) {
        // A death loses everything in memory: the next process starts from the database.
        await mounted[Symbol.asyncDispose]();
        mounted = await process_(port);
        dead = false;
      }
      await w.pass(2000);
      return false;
    });
  }
  await mounted[Symbol.asyncDispose]();
  assert.deepEqual(
    database
      .prepare('SELECT eventId FROM effects')
      .all()
      .map((row) => row['eventId']),
    ['1', '2', '3', '4', '5'],
  );
  assert.equal(dying.size, 0);
});
