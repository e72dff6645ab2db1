/**
 * Tests following `events/*` by webhook: a real endpoint on loopback, called by a server that signs
 * by hand.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test, type TestContext } from 'vitest';
import { renewalOf } from '../../../src/client/follow/modes/events/webhook.ts';
import { memoryLedger } from '../../../src/protocol/ledger/ledger.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { until } from '../support.ts';
import { CODES, EventsServer } from './events-server.ts';
import { startRaw } from './raw-server.ts';
import { followed, startReceiver } from './support.ts';

const CHOSEN = [
  'chosen events.webhook: undetected, none, client',
  'upgraded events.webhook: undetected, flag, client',
];

async function start(
  t: TestContext,
  change: Partial<EventsServer> = {},
  options: Parameters<typeof followed>[2] = {},
) {
  const events = Object.assign(new EventsServer(), change);
  const server = await startRaw(t, (raw) => {
    events.attach(raw);
  });
  const receiver = await startReceiver(t);
  const follower = await followed(t, server.url, { callback: receiver, ...options });
  return { events, server, receiver, follower };
}

const subscribesOf = (server: Awaited<ReturnType<typeof startRaw>>) =>
  server.calls.filter(({ method }) => method === 'events/subscribe').map(({ params }) => params);

describe('events by webhook', () => {
  for (const dialect of ['sep', 'sketch'] as const) {
    test(`with ${dialect}: answers a challenge, uses its own secret, and answers 2xx to one event at a time, once it is finished`, async (t) => {
      const { events, server, follower } = await start(t, { dialect });
      assert.deepEqual(await follower.words(2), CHOSEN);
      const [{ delivery, name, arguments: args }] = subscribesOf(server);
      assert.deepEqual([name, args, delivery.mode], ['timer', {}, 'webhook']);
      assert.match(delivery.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
      events.happen(2);
      const answer = events.deliver(events.events[0]!);
      assert.deepEqual(await follower.words(1), ['e1']);
      let isAnswered = false;
      void answer.then(() => {
        isAnswered = true;
      });
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
      assert.equal(isAnswered, false, 'the application has not finished it');
      const second = follower.words(1);
      assert.equal(await answer, 204);
      const answerToSecond = events.deliver(events.events[1]!);
      assert.deepEqual(await second, ['e2']);
      void follower.next().catch(() => undefined);
      assert.equal(await answerToSecond, 204);
    });
  }

  test('answers 503 while the application is busy, and recognizes the same event when it comes again', async (t) => {
    const events = new EventsServer();
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    const receiver = await startReceiver(t, { answerWithinMs: 50 });
    const follower = await followed(t, server.url, { callback: receiver, ack: 'manual' });
    await follower.words(2);
    events.happen();
    assert.equal(await events.deliver(events.events[0]!), 503);
    const item = await follower.next();
    assert.ok(item.type === 'event' && item.event.eventId === 'e1');
    assert.equal(await events.deliver(events.events[0]!), 503);
    await item.ack();
    assert.equal(
      await events.deliver(events.events[0]!),
      204,
      'it was accepted, so the repetition is dropped',
    );
    events.happen();
    void events.deliver(events.events[1]!);
    assert.deepEqual(await follower.words(1), ['e2']);
  });

  test('reports what the server flags as a gap, and rejects unknown messages', async (t) => {
    const { events, receiver, follower } = await start(t);
    await follower.words(2);
    const gap = events.post(events.hook, { type: 'gap', cursor: 'c0' });
    assert.deepEqual(await follower.words(1), ['gap truncated']);
    const next = follower.words(1);
    assert.equal((await gap).status, 204);
    assert.equal((await events.post(events.hook, { type: 'novelty' })).status, 400);
    assert.deepEqual(receiver.refused, ['body']);
    events.happen();
    void events.deliver(events.events[0]!);
    assert.deepEqual(await next, ['e1']);
  });

  for (const [name, reason] of [
    ['NotFound', 'trigger_removed'],
    ['Forbidden', 'revoked'],
  ] as const) {
    test(`ends with ${reason} when the server terminates with ${name}`, async (t) => {
      const { events, follower } = await start(t, {}, { tuning: { reprobeMs: 100_000 } });
      await follower.words(2);
      if (name === 'NotFound') events.name = 'another';
      assert.equal(
        (
          await events.post(events.hook, {
            type: 'terminated',
            error: { code: CODES.sep[name], message: 'over' },
          })
        ).status,
        204,
      );
      const error = await follower.ended();
      assert.ok(
        error instanceof LocalError && error.code === 'terminated' && error.reason === reason,
        String(error),
      );
    });
  }

  const forgeries: readonly (readonly [
    what: string,
    change: (headers: Record<string, string>) => void,
    status: number,
  ])[] = [
    [
      'another signature',
      (headers) => {
        headers['webhook-signature'] = `v1,${Buffer.alloc(32).toString('base64')}`;
      },
      401,
    ],
    [
      'an old timestamp',
      (headers) => {
        headers['webhook-timestamp'] = String(Math.floor(Date.now() / 1000) - 400);
      },
      401,
    ],
    [
      'no signature',
      (headers) => {
        delete headers['webhook-signature'];
      },
      401,
    ],
    [
      'another id',
      (headers) => {
        headers['webhook-id'] = 'msg_other';
      },
      401,
    ],
    [
      'an unknown subscription',
      (headers) => {
        headers['x-mcp-subscription-id'] = 'other';
      },
      503,
    ],
    [
      'an invalid media type',
      (headers) => {
        headers['content-type'] = 'text/plain';
      },
      415,
    ],
  ];
  for (const [what, change, status] of forgeries) {
    test(`answers ${status} to ${what} without passing it on`, async (t) => {
      const { events, follower } = await start(t);
      await follower.words(2);
      events.happen(2);
      const [first, second] = events.events;
      assert.equal(
        (await events.post(events.hook, events.occurrence(first!), first!.eventId, change)).status,
        status,
      );
      void events.deliver(second!);
      assert.deepEqual(await follower.words(1), ['e2']);
    });
  }

  test('accepts an identifier with dots, and two signatures of which one is valid', async (t) => {
    const { events, follower } = await start(t);
    await follower.words(2);
    const one = { eventId: 'evt:2026.11.21/7', at: 1 };
    void events
      .post(
        {
          ...events.hook,
          secrets: [`whsec_${Buffer.alloc(32, 7).toString('base64')}`, ...events.hook.secrets],
        },
        events.occurrence(one),
        one.eventId,
      )
      .catch(() => undefined);
    assert.deepEqual(await follower.words(1), [one.eventId]);
  });

  test('rejects an event of another type as a violation by the server', async (t) => {
    const { events, follower } = await start(t, { delivery: ['webhook'] });
    await follower.words(2);
    let error: unknown;
    const end = follower.ended().then((ended) => {
      error = ended;
    });
    const statuses = new Set<number>();
    while (error === undefined) {
      if (events.hooks.size > 0)
        statuses.add(
          (
            await events.post(events.hook, {
              ...events.occurrence({ eventId: 'x', at: 1 }),
              name: 'other',
            })
          ).status,
        );
      await Promise.race([
        end,
        new Promise((resolve) => {
          setTimeout(resolve, 5);
        }),
      ]);
    }
    assert.ok(statuses.has(400));
    assert.ok(error instanceof LocalError && error.code === 'peer_misbehaved', String(error));
  });

  test('subscribes again before the expiry, with the same URL', async (t) => {
    const { events, server, follower } = await start(t, { ttlMs: 4000 });
    await follower.words(2);
    events.happen();
    const answer = events.deliver(events.events[0]!);
    await follower.words(1);
    void follower.next().catch(() => undefined);
    await answer;
    events.happen();
    void events.deliver(events.events[1]!);
    await until(() => subscribesOf(server).length >= 3);
    assert.deepEqual(
      new Set(subscribesOf(server).map(({ delivery: { url } }) => url)).size,
      1,
      'the URL is part of its identity',
    );
    assert.ok(
      server.calls
        .filter(({ method }) => method === 'events/subscribe')
        .slice(1)
        .every(
          ({ at }, index) =>
            at - server.calls.filter(({ method }) => method === 'events/subscribe')[index]!.at <
            4000,
        ),
    );
  });

  test('refreshes after a fraction of the granted lifetime, within bounds, and hourly without expiry', () => {
    const now = Date.parse('2026-01-01T00:00:00.000Z');
    assert.equal(renewalOf('2026-01-01T00:01:00.000Z', now, 0), 30_000);
    assert.equal(Math.round(renewalOf('2026-01-01T00:01:00.000Z', now, 1)), 48_000);
    assert.equal(renewalOf('2025-01-01T00:00:00.000Z', now, 0), 500, 'clocks differ');
    assert.equal(renewalOf('2027-01-01T00:00:00.000Z', now, 0), 3_600_000);
    assert.equal(renewalOf(null, now, 0), 3_600_000);
    assert.equal(renewalOf('soon', now, 0), 3_600_000);
  });

  test('continues after a restart with the same endpoint and ledger, and gets what happened in the meantime', async (t) => {
    const ledger = memoryLedger();
    const events = new EventsServer();
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    const receiver = await startReceiver(t);
    const first = await followed(t, server.url, { callback: receiver, ledger });
    await first.words(2);
    events.happen();
    const answer = events.deliver(events.events[0]!);
    await first.words(1);
    const waiting = first.ended();
    await answer;
    await first.following.close();
    assert.equal(await waiting, 'ended');
    events.happen();
    assert.equal(await events.deliver(events.events[1]!), 503, 'nobody accepts it now');
    assert.equal(events.hooks.size, 1, 'the subscription stays');
    const second = await followed(t, server.url, { callback: receiver, ledger });
    const next = second.items(1);
    await until(() => subscribesOf(server).length === 2);
    while ((await events.deliver(events.events[1]!)) !== 204)
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
        void next.then(() => second.next().catch(() => undefined));
      });
    assert.deepEqual(await next, ['e2']);
    assert.equal(subscribesOf(server)[1]!.delivery.url, subscribesOf(server)[0]!.delivery.url);
  });

  test('close with unsubscribe removes the subscription', async (t) => {
    const { events, follower } = await start(t);
    await follower.words(2);
    const end = follower.ended();
    await follower.following.close({ unsubscribe: true });
    assert.equal(await end, 'ended');
    assert.equal(events.hooks.size, 0);
  });

  test('[deg-say] uses the next mode when the endpoint cannot be reached, with the reason', async (t) => {
    const { server, follower, events } = await start(
      t,
      { delivery: ['webhook', 'poll'] },
      { tuning: { reprobeMs: 3_600_000 } },
    );
    server.handlers['events/subscribe'] = () =>
      events.refuse('CallbackEndpointError', { reason: 'timeout' });
    assert.deepEqual(await follower.words(3), [
      CHOSEN[0],
      'refused events.poll: undetected, none, client',
      'upgraded events.poll: flagged, flag, client',
    ]);
    events.happen();
    assert.deepEqual(await follower.items(1), ['e1']);
  });

  test('leaves the mode out with an endpoint that takes no webhooks', async (t) => {
    const { server, follower } = await start(
      t,
      {},
      {
        callback: {
          register: async () => {
            throw new Error(randomUUID());
          },
          attach: () => () => undefined,
        },
      },
    );
    assert.deepEqual(await follower.words(1), ['chosen events.push: undetected, none, client']);
    assert.equal(server.countOf('events/subscribe'), 0);
  });

  test('does not offer a server an endpoint that is not reachable by https', async (t) => {
    const { follower, server } = await start(
      t,
      { delivery: ['webhook'] },
      {
        callback: {
          register: async () => ({
            url: 'http://hooks.example.com/x',
            secret: `whsec_${Buffer.alloc(32).toString('base64')}`,
            renewAt: Infinity,
          }),
          attach: () => () => undefined,
          attachWebhook: () => () => undefined,
        },
      },
    );
    const error = await follower.ended();
    assert.ok(
      error instanceof LocalError && error.code === 'not_supported' && error.reason === 'https',
      String(error),
    );
    assert.equal(server.countOf('events/subscribe'), 0);
  });

  test('changes the secret after a day, and still accepts the old one', async (t) => {
    let now = Date.now();
    const clock = {
      now: () => now,
      after: (delayMs: number, run: () => void) => {
        const timer = setTimeout(run, Math.min(delayMs, 20));
        return () => clearTimeout(timer);
      },
    };
    const events = Object.assign(new EventsServer(), { ttlMs: null });
    const server = await startRaw(t, (raw) => {
      events.attach(raw);
    });
    const receiver = await startReceiver(t);
    const follower = await followed(t, server.url, { callback: receiver, tuning: { clock } });
    await follower.words(2);
    const waiting = follower.words(1);
    now += 86_400_001;
    await until(() => subscribesOf(server).length === 2);
    const [first, second] = subscribesOf(server).map(({ delivery: { secret } }) => secret);
    assert.notEqual(first, second);
    await until(() => events.hook.secrets.length === 2);
    const one = { eventId: 'late', at: 1 };
    void events
      .post({ ...events.hook, secrets: [first!] }, events.occurrence(one), one.eventId)
      .catch(() => undefined);
    assert.deepEqual(await waiting, ['late']);
  });
});
