/**
 * Tests the GitHub source with GitHub's own payloads, signed by GitHub's own library: they are
 * stored unchanged, and everything else is rejected (SEP: The log).
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'vitest';
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import examples from '@octokit/webhooks-examples' with { type: 'json' };
import { sign, verify } from '@octokit/webhooks-methods';
import { LocalError, silentLog } from 'mcp-triggers-experimental/server';
import { githubSource, type GithubSource } from '../../../reference-server/sources/github.ts';
import { GITHUB_EVENTS } from '../../../reference-server/sources/github-events.ts';
import {
  collector,
  engineFor,
  into,
  logLines,
  pullAll,
  subscribe,
  temporaryFolder,
} from './support.ts';

const SECRET = 'it is a secret to everybody';
const EXAMPLES = examples as unknown as readonly {
  readonly name: string;
  readonly actions: readonly string[];
  readonly examples: readonly Record<string, unknown>[];
}[];
const PAYLOADS = EXAMPLES.flatMap(({ name, examples: payloads }) =>
  payloads.map((payload) => ({ name, payload })),
);
const push = PAYLOADS.find(({ name }) => name === 'push')!.payload;

async function webhook(
  name: string,
  payload: unknown,
  more: { readonly delivery?: string; readonly headers?: Record<string, string> } = {},
) {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return {
    headers: {
      'content-type': 'application/json',
      'x-github-event': name,
      'x-github-delivery': more.delivery ?? randomUUID(),
      'x-hub-signature-256': await sign(SECRET, text),
      ...more.headers,
    } as Record<string, string>,
    rawBody: Buffer.from(text) as Uint8Array,
  };
}

interface Started {
  readonly source: GithubSource;
  readonly to: ReturnType<typeof collector>;
  readonly lines: readonly string[];
}

function started(): Started {
  const to = collector();
  const { log, lines } = logLines();
  const source = githubSource({ secret: SECRET, log });
  void source.start(to.emit);
  return { source, to, lines };
}

describe('real payloads', () => {
  test(`[log-durable-accept] all ${PAYLOADS.length} examples of ${EXAMPLES.length} events are accepted, stored and pulled unchanged`, async (t) => {
    assert.deepEqual([EXAMPLES.length, PAYLOADS.length], [58, 329]);
    const source = githubSource({ secret: SECRET, log: silentLog });
    const engine = await engineFor(t, source, await temporaryFolder(t));
    await source.start(into(engine));
    const subscriptions = new Map<string, string>();
    for (const { name } of GITHUB_EVENTS)
      subscriptions.set(name, await subscribe(engine, `github.${name}`));

    const sent = new Map<string, Record<string, unknown>[]>();
    for (const { name, payload } of PAYLOADS) {
      const request = await webhook(name, payload);
      assert.ok(
        await verify(
          SECRET,
          Buffer.from(request.rawBody).toString(),
          request.headers['x-hub-signature-256']!,
        ),
      );
      assert.deepEqual(
        await source.handle(request),
        name === 'ping' ? { status: 200, body: 'pong' } : { status: 202, body: 'accepted' },
        name,
      );
      sent.set(name, [...(sent.get(name) ?? []), payload]);
    }
    for (const [name, subscriptionId] of subscriptions) {
      assert.deepEqual(
        (await pullAll(engine, subscriptionId)).map(({ data }) => data),
        sent.get(name),
        name,
      );
    }
  });

  test('the table has every event of the examples with exactly the filters that its payloads support', () => {
    assert.deepEqual(
      GITHUB_EVENTS.map(({ name }) => name).toSorted(),
      EXAMPLES.map(({ name }) => name)
        .filter((name) => name !== 'ping')
        .toSorted(),
    );
    for (const { name, action, repository } of GITHUB_EVENTS) {
      const payloads = PAYLOADS.filter((one) => one.name === name).map(({ payload }) => payload);
      assert.equal(
        payloads.some((payload) => 'action' in payload),
        action,
        `${name} action`,
      );
      assert.equal(
        payloads.some((payload) => 'repository' in payload),
        repository,
        `${name} repository`,
      );
    }
  });

  test('filters take one value or several, and an event without the value matches no filter on it', async (t) => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    const engine = await engineFor(t, source, await temporaryFolder(t));
    await source.start(into(engine));
    const all = await subscribe(engine, 'github.team');
    const created = await subscribe(engine, 'github.team', { action: 'created' });
    const several = await subscribe(engine, 'github.team', {
      action: ['created', 'edited', 'none'],
    });
    const here = await subscribe(engine, 'github.team', { repository: 'Octocoders/Hello-World' });
    const payloads = PAYLOADS.filter(({ name }) => name === 'team').map(
      ({ payload }) => payload as { action: string; repository?: { full_name: string } },
    );
    for (const payload of payloads) await source.handle(await webhook('team', payload));
    const count = async (id: string): Promise<number> => (await pullAll(engine, id)).length;
    assert.equal(await count(all), payloads.length);
    assert.equal(
      await count(created),
      payloads.filter(({ action }) => action === 'created').length,
    );
    assert.equal(
      await count(several),
      payloads.filter(({ action }) => ['created', 'edited'].includes(action)).length,
    );
    assert.equal(
      await count(here),
      payloads.filter(({ repository }) => repository?.full_name === 'Octocoders/Hello-World')
        .length,
    );
    assert.ok((await count(here)) > 0);
  });

  test('a filter that the event does not have is rejected at subscribe', async (t) => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    const engine = await engineFor(t, source, await temporaryFolder(t));
    for (const args of [
      { action: 'created' },
      { repository: 'no-slash' },
      { repository: [] },
      { branch: 'main' },
    ]) {
      await assert.rejects(subscribe(engine, 'github.push', args), { code: -32602 });
    }
  });
});

describe('trace context', () => {
  test('[trace-kept] the headers traceparent and tracestate become the _meta of the event', async () => {
    const { source, to } = started();
    const headers = {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'vendor=00f067aa0ba902b7',
    };
    assert.equal((await source.handle(await webhook('push', push, { headers }))).status, 202);
    assert.equal((await source.handle(await webhook('push', push))).status, 202);
    assert.deepEqual(
      to.events.map(({ _meta }) => _meta),
      [headers, undefined],
    );
  });
});

describe('redelivery', () => {
  test('[log-once] webhooks have identities of their own', async (t) => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    const engine = await engineFor(t, source, await temporaryFolder(t));
    await source.start(into(engine));
    const subscriptionId = await subscribe(engine, 'github.star');
    const { payload } = PAYLOADS.find(({ name }) => name === 'star')!;
    const request = await webhook('star', payload);
    const answers: string[] = [];
    for (const hook of ['7', '8', '8', undefined, 'x'.repeat(300), '\u0037'])
      answers.push(
        (
          await source.handle({
            ...request,
            headers: {
              ...request.headers,
              ...(hook === undefined ? {} : { 'x-github-hook-id': hook }),
            },
          })
        ).body,
      );
    assert.deepEqual(answers, [
      'accepted',
      'accepted',
      'duplicate',
      'accepted',
      'duplicate',
      'duplicate',
    ]);
    assert.equal((await pullAll(engine, subscriptionId)).length, 3);
  });

  test('[log-once] [log-event-id] the same delivery again, even after a restart and in capitals, is answered 202 and appends nothing', async (t) => {
    const folder = await temporaryFolder(t);
    const first = githubSource({ secret: SECRET, log: silentLog });
    const before = await engineFor(t, first, folder);
    await first.start(into(before));
    const subscriptionId = await subscribe(before, 'github.push');
    const delivery = randomUUID();
    assert.deepEqual(await first.handle(await webhook('push', push, { delivery })), {
      status: 202,
      body: 'accepted',
    });
    assert.deepEqual(await first.handle(await webhook('push', push, { delivery })), {
      status: 202,
      body: 'duplicate',
    });
    await first.stop();
    await before.close();

    const second = githubSource({ secret: SECRET, log: silentLog });
    const after = await engineFor(t, second, folder);
    await second.start(into(after));
    assert.deepEqual(
      await second.handle(await webhook('push', push, { delivery: delivery.toUpperCase() })),
      { status: 202, body: 'duplicate' },
    );
    assert.deepEqual(
      (await pullAll(after, subscriptionId)).map(({ eventId }) => eventId),
      [delivery],
    );
  });
});

const good = await webhook('push', push);
const without = (name: string) => ({
  ...good,
  headers: Object.fromEntries(Object.entries(good.headers).filter(([key]) => key !== name)),
});
const withHeader = (name: string, value: string) => ({
  ...good,
  headers: { ...good.headers, [name]: value },
});
const signature = good.headers['x-hub-signature-256']!;
/** Requests that are rejected, each with its status. */
const ROWS: readonly (readonly [
  what: string,
  request: Parameters<GithubSource['handle']>[0],
  status: number,
])[] = [
  ['no signature', without('x-hub-signature-256'), 401],
  ['an empty signature', withHeader('x-hub-signature-256', ''), 401],
  [
    'a SHA-1 signature',
    withHeader('x-hub-signature-256', signature.replace('sha256', 'sha1')),
    401,
  ],
  ['capitals in the signature', withHeader('x-hub-signature-256', signature.toUpperCase()), 401],
  ['a longer signature', withHeader('x-hub-signature-256', `${signature}0`), 401],
  ['two signatures', withHeader('x-hub-signature-256', `${signature}, ${signature}`), 401],
  [
    'another secret',
    {
      ...good,
      headers: {
        ...good.headers,
        'x-hub-signature-256': await sign('other', Buffer.from(good.rawBody).toString()),
      },
    },
    401,
  ],
  ['no event name', without('x-github-event'), 400],
  ['a malformed event name', withHeader('x-github-event', 'Push/../x'), 400],
  ['an event name that an object inherits', withHeader('x-github-event', 'constructor'), 422],
  ['an unknown event', withHeader('x-github-event', 'teleported'), 422],
  ['no delivery', without('x-github-delivery'), 400],
  ['a delivery that is not a GUID', withHeader('x-github-delivery', '1'), 400],
  ['no content type', without('content-type'), 415],
  ['a form', withHeader('content-type', 'application/x-www-form-urlencoded'), 415],
  ['a content type with the right beginning', withHeader('content-type', 'application/jsonp'), 415],
  ['no object', await webhook('push', '[1]'), 400],
  ['null', await webhook('push', 'null'), 400],
  ['no JSON', await webhook('push', '{"a":'), 400],
  ['a byte order mark', await webhook('push', '\uFEFF{}'), 400],
  ['more than 25 MiB', { ...good, rawBody: new Uint8Array(25 * 2 ** 20 + 1) }, 413],
];

describe('forgery', () => {
  test('one flipped bit anywhere in the body or in the signature is rejected, and nothing is emitted', async () => {
    const { source, to } = started();
    const good = await webhook('push', { zen: 'Keep it logically awesome.' });
    for (let bit = 0; bit < good.rawBody.length * 8; bit++) {
      const rawBody = Uint8Array.from(good.rawBody);
      rawBody[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal((await source.handle({ ...good, rawBody })).status, 401, `body bit ${bit}`);
    }
    const signature = good.headers['x-hub-signature-256']!;
    for (let at = 0; at < signature.length; at++) {
      const changed =
        signature.slice(0, at) +
        String.fromCharCode(signature.charCodeAt(at) ^ 1) +
        signature.slice(at + 1);
      assert.equal(
        (
          await source.handle({
            ...good,
            headers: { ...good.headers, 'x-hub-signature-256': changed },
          })
        ).status,
        401,
        changed,
      );
    }
    assert.equal(to.tries, 0);
    assert.equal((await source.handle(good)).status, 202);
  });

  test('other bytes that decode to the signed text are rejected', async () => {
    const { source } = started();
    const text = '{"a":"\uFFFD"}';
    const good = await webhook('push', text);
    for (const bytes of [[0xfe], [0xff], [0xc0, 0x80]]) {
      const rawBody = Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')]);
      assert.equal(
        await verify(
          SECRET,
          rawBody.toString('utf8').replace(/\uFFFD+/g, '\uFFFD'),
          good.headers['x-hub-signature-256']!,
        ),
        true,
        'a decoded string cannot distinguish them',
      );
      assert.equal((await source.handle({ ...good, rawBody })).status, 401);
    }
  });

  for (const [what, request, status] of ROWS) {
    test(`[type-unknown-event] ${what} → ${status}, nothing is emitted, and the log says so if the signature is valid`, async () => {
      const { source, to, lines } = started();
      const answer = await source.handle(request);
      assert.equal(answer.status, status);
      assert.match(answer.body, /^[A-Z].*\.$/);
      assert.equal(to.tries, 0);
      assert.equal(lines.length, [400, 422].includes(status) ? 1 : 0);
      assert.ok(lines.every((line) => line.length < 600));
    });
  }

  test('[type-payload-valid] nesting too deep to be delivered → 202, and the log has a gap', async (t) => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    const engine = await engineFor(t, source, await temporaryFolder(t));
    await source.start(into(engine));
    const subscriptionId = await subscribe(engine, 'github.push');
    assert.equal(
      (await source.handle(await webhook('push', `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`)))
        .body,
      'accepted as a gap',
    );
    assert.deepEqual(await pullAll(engine, subscriptionId), []);
    const { gaps } = (await engine.pull({ principal: 'local' }, { subscriptionId })) as Delivery;
    assert.deepEqual(gaps, [{ from: 1, to: 1, reason: 'invalid' }]);
  });

  test('a content type with a character set is accepted', async () => {
    const { source } = started();
    assert.equal(
      (await source.handle(withHeader('content-type', 'application/json; charset=utf-8'))).status,
      202,
    );
  });
});

describe('errors of the engine', () => {
  for (const [code, status] of [
    ['store_full', 503],
    ['store_failed', 503],
    ['store_fenced', 503],
    ['closed', 503],
    ['payload_invalid', 422],
    ['json_refused', 422],
  ] as const) {
    test(`${code} → ${status}; the log names the delivery and nothing of the payload`, async () => {
      const to = collector();
      const { log, lines } = logLines();
      const source = githubSource({ secret: SECRET, log });
      await source.start(to.emit);
      to.refuse = code;
      const delivery = randomUUID();
      const answer = await source.handle(
        await webhook('push', { canary: 'kanarienvogel' }, { delivery }),
      );
      assert.equal(answer.status, status);
      assert.equal(answer.headers?.['retry-after'], status === 503 ? '60' : undefined);
      assert.deepEqual(
        lines.map((line) => JSON.parse(line)),
        [
          {
            source: 'github',
            delivery,
            event: 'push',
            code,
            message: 'webhook not accepted; its event was not emitted',
          },
        ],
      );
      to.refuse = null;
      assert.equal((await source.handle(await webhook('push', {}, { delivery }))).status, 202);
    });
  }

  test('[lim-refuse-upstream] a store that deliveries fill → 202 until it is full, then 503 and nothing stored; a redelivery is accepted once there is space', async (t) => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    const folder = await temporaryFolder(t);
    const engine = await engineFor(t, source, folder, { maxBytes: 2 ** 20 });
    await source.start(into(engine));
    const subscriptionId = await subscribe(engine, 'github.push');
    const statuses: number[] = [];
    const deliveries: string[] = [];
    const deliver = async (delivery: string) =>
      (await source.handle(await webhook('push', { text: 'x'.repeat(100_000) }, { delivery })))
        .status;
    while (!statuses.includes(503) && statuses.length < 50) {
      deliveries.push(randomUUID());
      statuses.push(await deliver(deliveries.at(-1)!));
    }
    assert.equal(statuses.pop(), 503);
    assert.ok(statuses.length > 0 && statuses.every((status) => status === 202), statuses.join());
    const refused = deliveries.pop()!;
    const stored = async () =>
      (await pullAll(engine, subscriptionId)).map(({ eventId }) => eventId);
    assert.deepEqual(await stored(), deliveries);
    // Nothing of the rejected delivery is stored, so its repetition is not taken for a duplicate.
    assert.equal(await deliver(refused), 503);
    await engine.close();
    const larger = await engineFor(t, source, folder, { maxBytes: 2 ** 22 });
    await source.start(into(larger));
    assert.equal(await deliver(refused), 202);
    assert.deepEqual(
      (await pullAll(larger, subscriptionId)).map(({ eventId }) => eventId),
      [...deliveries, refused],
    );
  });

  test('a programming error gives GitHub no answer', async () => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    await source.start(() => Promise.reject(new TypeError('bug')));
    await assert.rejects(source.handle(await webhook('push', push)), TypeError);
    await source.start(() => Promise.reject(new LocalError('config_invalid', 'bug')));
    await assert.rejects(source.handle(await webhook('push', push)), LocalError);
  });

  test('before start and after stop → 503', async () => {
    const source = githubSource({ secret: SECRET, log: silentLog });
    assert.equal((await source.handle(await webhook('push', push))).status, 503);
    const to = collector();
    await source.start(to.emit);
    await source.stop();
    assert.equal((await source.handle(await webhook('push', push))).status, 503);
    assert.equal(to.tries, 0);
  });
});
