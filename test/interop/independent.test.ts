// Tests an independent implementation against this one. Its client and receiver, in ./independent,
// were written from the SEP alone, with nothing but Node's built-ins; here they meet the published
// vectors and the reference server, which is started, killed and restarted as a real process.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import assert from 'node:assert/strict';
import type { Challenge, Delivery, Selection } from '../../spec-schema/draft/schema.ts';
import { outcomeOf } from './independent/answers.mjs';
import {
  Client,
  Reader,
  TriggersError,
  type Told,
  lastOf,
  newSecret,
} from './independent/client.mjs';
import {
  Receiver,
  type Seen,
  isProof,
  verifyServer,
  verifyWebhook,
  webhookId,
} from './independent/receiver.mjs';

const ROOT = join(import.meta.dirname, '../..');
const GITHUB_SECRET = 'a secret of the webhook source';
const PATIENCE_MS = 90_000;
const SELECT: Selection[] = [
  { name: 'github.issues', arguments: { repository: 'octocat/hello-world' } },
];

// Vectors of five families, each with members of its own.
type Case = any;
const family = (name: string): { cases: Case[]; jwks: { keys: object[] }; nowMs: number } =>
  JSON.parse(readFileSync(join(ROOT, `spec-schema/draft/vectors/${name}.json`), 'utf8'));
const bytes = (base64: string) => Buffer.from(base64, 'base64');
const holds = (check: () => unknown): boolean => {
  try {
    return check() !== false;
  } catch (error) {
    assert.notEqual((error as Error).name, 'AssertionError');
    return false;
  }
};

describe('the published vectors, with the independent functions', () => {
  const jws = family('delivery-jws');
  const checks: Record<string, (c: Case) => boolean> = {
    'standard-webhooks-signature': (c) =>
      holds(() => verifyWebhook({ ...c, body: bytes(c.bodyBase64) })),
    'delivery-jws': (c) =>
      holds(() => verifyServer({ ...c, body: bytes(c.bodyBase64), keys: jws.jwks.keys })),
    'challenge-proof': (c) => isProof(c.secret, c.challenge, c.answer),
    'webhook-id': (c) => webhookId(c) === c.webhookId,
    'delivery-coverage': (c) => lastOf(c.delivery) !== undefined,
  };
  for (const [name, check] of Object.entries(checks)) {
    test(name, () => {
      const { cases } = family(name);
      assert.ok(cases.length > 10);
      for (const c of cases)
        assert.equal(check(c) ? 'valid' : 'invalid', c.verdict, `${name} ${c.id}: ${c.comment}`);
    });
  }

  test('callback-answer', () => {
    const { cases, nowMs } = family('callback-answer');
    for (const c of cases)
      assert.deepEqual(
        outcomeOf(c.sent, c.answer, nowMs),
        c.expected,
        `callback-answer ${c.id}: ${c.comment}`,
      );
  });
});

/** Polls until `condition` is true. */
async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !(await condition()); await sleep(20))
    assert.ok(Date.now() < end, `never happened: ${what}`);
}

const freePort = async (): Promise<number> => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  return port;
};

/** The items that the application behind a reader received. */
function listener() {
  const told: Told[] = [];
  const reader = new Reader((item) => told.push(item));
  const events = () => told.flatMap((item) => (item.event ? [item.event] : []));
  return { told, reader, events };
}

const refusedWith = (code: number, data: object) => (error: unknown) => {
  assert.ok(error instanceof TriggersError, String(error));
  assert.deepEqual(
    { code: error.code, data: { ...error.data, ...data } },
    { code, data: error.data },
  );
  return true;
};

describe('the reference server, with the independent client and receiver', () => {
  let dataDir = '';
  let port = 0;
  let server: ChildProcess;
  let client: Client;
  let jwksUri = '';
  let issuer = '';
  const receivers: Receiver[] = [];

  const base = () => `http://127.0.0.1:${port}`;

  async function start(): Promise<void> {
    server = spawn(
      process.execPath,
      ['--conditions=mcp-triggers-source', 'reference-server/main.ts'],
      {
        cwd: ROOT,
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          ...process.env,
          TRIGGERS_DATA_DIR: dataDir,
          TRIGGERS_PORT: String(port),
          TRIGGERS_SCHEDULES: 'second=* * * * * *',
          TRIGGERS_GITHUB_SECRET: GITHUB_SECRET,
          TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: 'true',
          TRIGGERS_LOG_LEVEL: 'error',
        },
      },
    );
    await until('the server listens', () => {
      assert.equal(server.exitCode, null, 'the server did not start');
      return (
        existsSync(join(dataDir, 'token')) &&
        fetch(base()).then(
          () => true,
          () => false,
        )
      );
    });
    client = new Client({
      url: `${base()}/mcp`,
      token: (await readFile(join(dataDir, 'token'), 'utf8')).trim(),
    });
  }

  async function kill(): Promise<void> {
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  }

  /** Posts one signed GitHub webhook repeatedly until the server has answered 202. */
  async function webhook(number: number): Promise<void> {
    const body = JSON.stringify({
      action: 'opened',
      issue: { number },
      repository: { full_name: 'octocat/hello-world' },
    });
    const headers = {
      'content-type': 'application/json',
      'x-github-event': 'issues',
      'x-github-delivery': randomUUID(),
      'x-hub-signature-256': `sha256=${createHmac('sha256', GITHUB_SECRET).update(body).digest('hex')}`,
    };
    await until('the webhook is accepted', () =>
      fetch(`${base()}/sources/github`, { method: 'POST', headers, body }).then(
        (r) => r.status === 202,
        () => false,
      ),
    );
  }

  async function receiver(options: { now?: () => number } = {}) {
    const heard = listener();
    const endpoint = new Receiver({ reader: heard.reader, ...options });
    await endpoint.listen();
    receivers.push(endpoint);
    return { ...heard, endpoint };
  }

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'triggers-independent-'));
    port = await freePort();
    await start();
    const settings = await client.settings();
    assert.ok(settings);
    ({ jwksUri } = settings);
    issuer = `${base()}/mcp`;
  });
  afterAll(async () => {
    await Promise.all(receivers.map((endpoint) => endpoint.close()));
    if (server?.exitCode === null && server.signalCode === null) await kill();
    await rm(dataDir, { recursive: true, force: true });
  });

  test('[cap-extensions] [cap-levels] settings and every trigger type list pull', async () => {
    assert.ok((await client.settings())?.levels.includes('log'));
    const types = await client.list();
    assert.ok(
      types.some(({ name }) => name === 'github.issues') &&
        types.some(({ name }) => name === 'schedule.tick'),
    );
    for (const type of types) assert.ok(type.drains?.includes('pull'), type.name);
  });

  test('[subs-same] a repeated call finds its subscription, with members in any order', async () => {
    const [{ name, arguments: args }] = SELECT as [Selection];
    const made = await client.subscribe({ key: 'same', select: SELECT });
    const found = await client.subscribe({ select: [{ arguments: args!, name }], key: 'same' });
    assert.deepEqual([found.subscriptionId, found.created], [made.subscriptionId, false]);
    await client.unsubscribe(made.subscriptionId);
  });

  test('[upd-if-match] [get-not-modified] [etag-config] [end-tombstone] [uns-ends] a subscription is created, read, updated and ended', async () => {
    const made = await client.subscribe({
      key: 'life',
      select: [{ name: 'schedule.tick', arguments: {} }],
    });
    const { subscriptionId, etag } = made;
    assert.equal((await client.get(subscriptionId, etag)).notModified, true);
    const changed = await client.update(subscriptionId, etag, { ttlMs: 7_200_000 });
    assert.notEqual(changed.etag, etag);
    assert.equal((await client.get(subscriptionId, etag)).ttlMs, 7_200_000);
    await assert.rejects(
      client.update(subscriptionId, etag, { ttlMs: 60_000 }),
      refusedWith(-32602, { kind: 'etag', etag: changed.etag }),
    );
    await assert.rejects(
      client.subscribe({ key: 'life', select: SELECT }),
      refusedWith(-32602, { kind: 'key', subscriptionId, etag: changed.etag }),
    );
    await client.unsubscribe(subscriptionId);
    await client.unsubscribe(subscriptionId);
    await assert.rejects(
      client.get(subscriptionId),
      refusedWith(-32023, { kind: 'subscription', reason: 'unsubscribed' }),
    );
    await assert.rejects(client.get('a'.repeat(36)), refusedWith(-32023, { kind: 'subscription' }));
  });

  test('[pull-wait] [ack-cumulative] the next tick answers a long poll, and the next poll acknowledges it', async () => {
    const { reader, events } = listener();
    const { subscriptionId } = await client.subscribe({
      key: 'ticks',
      select: [{ name: 'schedule.tick' }],
    });
    const stop = new AbortController();
    const drained = client.drainByPull(subscriptionId, reader, { signal: stop.signal });
    await until('three ticks', () => events().length >= 3);
    stop.abort();
    await drained;
    assert.deepEqual(
      events()
        .slice(0, 3)
        .map((e) => e.sequence),
      [1, 2, 3],
    );
    assert.ok((await client.get(subscriptionId)).acked >= 2);
    await client.unsubscribe(subscriptionId);
  });

  test('[log-contiguous] [dlv-same-object] [ttl-survives] [cb-start] [cb-id-range] pull, stream and callback deliver the same events, in order, across a SIGKILL', async () => {
    const [byPull, byStream, byCallback] = [listener(), listener(), await receiver()];
    const secret = newSecret();
    const url = byCallback.endpoint.register('/hooks/burst', {
      secrets: [secret],
      jwksUri,
      issuer,
    });
    const subscribed = [
      await client.subscribe({ key: 'burst:pull', select: SELECT }),
      await client.subscribe({ key: 'burst:stream', select: SELECT }),
      await client.subscribe({ key: 'burst:callback', select: SELECT, callback: { url, secret } }),
    ] as const;
    const stop = new AbortController();
    const drains = [
      client.drainByPull(subscribed[0].subscriptionId, byPull.reader, { signal: stop.signal }),
      client.drainByStream(subscribed[1].subscriptionId, byStream.reader, { signal: stop.signal }),
    ];
    const all = [byPull, byStream, byCallback];
    for (let n = 1; n <= 10; n++) await webhook(n);
    await until('the first ten everywhere', () => all.every((one) => one.events().length === 10));
    const burst = (async () => {
      for (let n = 11; n <= 40; n++) await webhook(n);
    })();
    await until('the burst is under way', () => byPull.events().length > 14);
    await kill();
    await sleep(200);
    await start();
    await burst;
    await until('all forty everywhere', () => all.every((one) => one.events().length >= 40));
    stop.abort();
    await Promise.all(drains);

    const numbers = Array.from({ length: 40 }, (_, i) => i + 1);
    for (const { told, events } of all) {
      assert.deepEqual(
        events().map((e) => e.sequence),
        numbers,
      );
      assert.deepEqual(
        events().map((e) => (e.data as { issue: { number: number } }).issue.number),
        numbers,
      );
      assert.deepEqual(
        told.filter((item) => item.type !== 'event'),
        [],
      );
      assert.deepEqual(events(), byPull.events());
    }
    for (const { subscriptionId, epoch } of subscribed)
      assert.equal((await client.get(subscriptionId)).epoch, epoch);
    await until(
      'the callback is acknowledged',
      async () => (await client.get(subscribed[2].subscriptionId)).acked === 40,
    );
    for (const { headers, body } of byCallback.endpoint.requests) {
      const { params } = JSON.parse(body.toString()) as { params: Delivery | Challenge };
      if ('challenge' in params) continue;
      const last = lastOf(params);
      assert.ok(last !== undefined);
      assert.equal(params.afterSequence, params.acked);
      if (last > params.afterSequence)
        assert.equal(headers['webhook-id'], webhookId({ ...params, last }));
    }
    for (const [i, answer] of byCallback.endpoint.answers.entries()) {
      const { params } = JSON.parse(String(byCallback.endpoint.requests[i]?.body)) as {
        params: Delivery | Challenge;
      };
      if (!('challenge' in params))
        assert.equal(outcomeOf({ ...params, last: lastOf(params) ?? -1 }, answer, 0).kind, 'acked');
    }
    for (const { subscriptionId } of subscribed) await client.unsubscribe(subscriptionId);
  });

  test('[pos-epoch] [pos-beyond-head] [err-codes] [ack-sent] [gen-integers] invented positions get typed errors, on every method that takes a position', async () => {
    const { subscriptionId, epoch } = await client.subscribe({ key: 'positions', select: SELECT });
    for (let n = 1; n <= 3; n++) await webhook(n);
    await until('three events', async () => (await client.get(subscriptionId)).head === 3);
    const open = async (position: object) => {
      for await (const delivery of client.stream(subscriptionId, { after: position as never }))
        return delivery;
      return undefined;
    };
    const methods: Record<string, (position: object) => Promise<unknown>> = {
      ack: (position) => client.ack(subscriptionId, position as never),
      'pull after': (position) => client.call('triggers/pull', { subscriptionId, after: position }),
      'pull ack': (position) => client.call('triggers/pull', { subscriptionId, ack: position }),
      stream: open,
    };
    for (const use of Object.values(methods)) {
      await assert.rejects(
        use({ epoch: 'another-epoch', sequence: 1 }),
        refusedWith(-32602, { kind: 'epoch', epoch, head: 3, acked: 0 }),
      );
      await assert.rejects(
        use({ epoch, sequence: 4 }),
        refusedWith(-32602, { kind: 'position', epoch, head: 3, acked: 0 }),
      );
      await assert.rejects(use({ epoch, sequence: 1.5 }), refusedWith(-32602, { kind: 'invalid' }));
    }
    await assert.rejects(
      client.ack(subscriptionId, { epoch, sequence: 1 }),
      refusedWith(-32602, { kind: 'position', sent: 0 }),
    );
    await client.call('triggers/pull', { subscriptionId, maxEvents: 2 });
    await assert.rejects(
      client.ack(subscriptionId, { epoch, sequence: 3 }),
      refusedWith(-32602, { kind: 'position', sent: 2 }),
    );
    assert.equal((await client.ack(subscriptionId, { epoch, sequence: 2 })).acked, 2);
    assert.equal(((await open({ epoch, sequence: 3 })) as Delivery).afterSequence, 3);
    await client.unsubscribe(subscriptionId);
  });

  test('[recv-elsewhere] [recv-missing-fetch] a receiver that lags behind another drain reports what that drain has acknowledged and continues; a receiver that pulls it first has every event', async () => {
    const { endpoint, reader, events, told } = await receiver();
    const secret = newSecret();
    const url = endpoint.register('/hooks/lag', { secrets: [secret], jwksUri, issuer });
    const { subscriptionId, epoch, etag } = await client.subscribe({
      key: 'lag',
      select: SELECT,
      callback: { url, secret },
    });
    await webhook(1);
    await until(
      'the first is acknowledged',
      async () => (await client.get(subscriptionId)).acked === 1,
    );
    await client.update(subscriptionId, etag, { paused: true });
    for (let n = 2; n <= 3; n++) await webhook(n);
    await until('all are numbered', async () => (await client.get(subscriptionId)).head === 3);
    await client.call('triggers/pull', { subscriptionId });
    await client.ack(subscriptionId, { epoch, sequence: 3 });
    await client.update(subscriptionId, (await client.get(subscriptionId)).etag, { paused: false });
    await webhook(4);
    await until(
      'the receiver acknowledges what follows',
      async () => (await client.get(subscriptionId)).acked === 4,
    );
    assert.deepEqual(
      told.flatMap((item) => (item.type === 'elsewhere' ? [[item.from, item.to]] : [])),
      [[2, 3]],
    );
    assert.deepEqual(
      events().map((e) => e.sequence),
      [1, 4],
    );
    await client.update(subscriptionId, (await client.get(subscriptionId)).etag, { paused: true });
    for (let n = 5; n <= 6; n++) await webhook(n);
    await until('all are numbered', async () => (await client.get(subscriptionId)).head === 6);
    await client.call('triggers/pull', { subscriptionId });
    await client.ack(subscriptionId, { epoch, sequence: 5 });
    const pulled = await client.call('triggers/pull', {
      subscriptionId,
      after: reader.position(subscriptionId),
    });
    assert.equal(reader.apply(pulled as unknown as Delivery).refused, undefined);
    await client.update(subscriptionId, (await client.get(subscriptionId)).etag, { paused: false });
    await until(
      'the callback is acknowledged again',
      async () => (await client.get(subscriptionId)).acked === 6,
    );
    assert.deepEqual(
      events().map((e) => e.sequence),
      [1, 4, 5, 6],
    );
    await client.unsubscribe(subscriptionId);
  });

  test('[recv-epoch] [recv-left-epoch] a new epoch is reported before its first event, and the old one is rejected from then on', () => {
    const { reader, told } = listener();
    const delivery = (epoch: string, after: number, ...sequences: number[]) =>
      ({
        subscriptionId: 's',
        key: 'k',
        epoch,
        afterSequence: after,
        head: 9,
        acked: 0,
        etag: 'e',
        events: sequences.map((sequence) => ({
          sequence,
          eventId: `${epoch} ${sequence}`,
          name: 'a.b',
          timestamp: '2026-11-21T09:30:00.000Z',
          acceptedAt: '2026-11-21T09:30:00.000Z',
          data: {},
        })),
      }) as Delivery;
    assert.deepEqual(reader.apply(delivery('first-life', 0, 1, 2)), { ack: 2 });
    assert.deepEqual(reader.apply(delivery('second-life', 0, 1)), { ack: 1 });
    assert.deepEqual(reader.apply(delivery('first-life', 2, 3)), { refused: 'left' });
    assert.deepEqual(
      told.map(({ type }) => type),
      ['event', 'event', 'lost', 'event'],
    );
    assert.deepEqual(
      reader.apply({ ...delivery('second-life', 1), terminated: { reason: 'expired' } }),
      { ack: 1 },
    );
    assert.deepEqual(reader.apply(delivery('second-life', 0, 1, 2)), { refused: 'ended' });
    assert.deepEqual(
      told.map(({ type }) => type),
      ['event', 'event', 'lost', 'event', 'terminated'],
    );
  });

  test('[cbv-proof] [cbv-receiver] [subs-verified] a receiver that does not know the secret fails verification, and nothing is stored', async () => {
    const { endpoint } = await receiver();
    const url = endpoint.register('/hooks/other', { secrets: [newSecret()], jwksUri, issuer });
    await assert.rejects(
      client.subscribe({ key: 'unproven', select: SELECT, callback: { url, secret: newSecret() } }),
      refusedWith(-32027, { kind: 'callback', category: 'http_4xx' }),
    );
    assert.deepEqual(
      endpoint.answers.map((answer) => answer.status),
      [401],
    );
    const { subscriptions } = (await client.call('triggers/subscriptions')) as {
      subscriptions: { key: string }[];
    };
    assert.deepEqual(
      subscriptions.filter(({ key }) => key === 'unproven'),
      [],
    );
  });

  test('[sig-refusal] [sig-window] [jws-verify] [recv-duplicate] forged, stale and misdirected copies of a genuine request are rejected', async () => {
    let shift = 0;
    const { endpoint, told, events, reader } = await receiver({ now: () => Date.now() + shift });
    const secret = newSecret();
    const url = endpoint.register('/hooks/replay', { secrets: [secret], jwksUri, issuer });
    endpoint.register('/hooks/elsewhere', { secrets: [secret], jwksUri, issuer });
    const { subscriptionId } = await client.subscribe({
      key: 'replay',
      select: SELECT,
      callback: { url, secret },
    });
    await webhook(1);
    await until(
      'it is delivered and acknowledged',
      async () => (await client.get(subscriptionId)).acked === 1,
    );
    const genuine = endpoint.requests.at(-1) as Seen;
    const replay = async (change: Partial<Seen> & { without?: string }) => {
      const {
        'content-length': _,
        connection: __,
        host: ___,
        [change.without ?? '-']: ____,
        ...headers
      } = { ...genuine.headers, ...change.headers };
      const response = await fetch(`${endpoint.origin}${change.path ?? genuine.path}`, {
        method: 'POST',
        headers,
        body: new Uint8Array(change.body ?? genuine.body),
      });
      return response.status;
    };
    // Before each result that could occur by accident, the state is reset as if the event had never
    // come, so that only the check itself can reject it.
    const before = reader.position(subscriptionId);
    assert.ok(before);
    reader.start(subscriptionId, { ...before, sequence: 0 });
    const tampered = Buffer.from(genuine.body.toString().replace('"number":1', '"number":2'));
    const flip = (text: string) =>
      `${text.slice(0, -9)}${text.at(-9) === 'A' ? 'B' : 'A'}${text.slice(-8)}`;
    assert.equal(await replay({ body: tampered }), 401);
    assert.equal(
      await replay({
        headers: { 'webhook-signature': flip(genuine.headers['webhook-signature'] ?? '') },
      }),
      401,
    );
    assert.equal(
      await replay({
        headers: {
          'mcp-delivery-signature': flip(genuine.headers['mcp-delivery-signature'] ?? ''),
        },
      }),
      401,
    );
    assert.equal(await replay({ without: 'mcp-delivery-signature' }), 401);
    assert.equal(await replay({ headers: { 'mcp-subscription-id': 'a'.repeat(36) } }), 401);
    assert.equal(await replay({ path: '/hooks/elsewhere' }), 401);
    for (shift of [-302_000, 302_000]) assert.equal(await replay({}), 401);
    shift = 0;
    assert.deepEqual([events().length, reader.position(subscriptionId)?.sequence], [1, 0]);
    assert.equal(await replay({}), 200);
    assert.equal(events().length, 2);
    assert.equal(await replay({}), 200);
    assert.deepEqual([events().length, told.length], [2, 2]);
    await client.unsubscribe(subscriptionId);
  });
});
