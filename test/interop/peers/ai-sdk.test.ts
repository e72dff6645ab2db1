// Tests `@ai-sdk/mcp`, unmodified, as client and webhook receiver of the reference server. It knows
// nothing of this extension: the members beside SEP-3415 are in `_meta`, which it passes to its
// application unchanged.
import assert from 'node:assert/strict';
import { describe } from 'vitest';
import { GitHub, webhooks } from '../../../scripts/demo/github.ts';
import { ServerProcess } from '../../../scripts/demo/server-process.ts';
import { EXTENSION_ID } from '../../../spec-schema/draft/schema.ts';
import { eventually, temporaryFolder } from '../../journeys/support.ts';
import { boxOpened, freePort, startServer } from '../../reference-server/harness.ts';
import { startAiSdk, type AiSdk } from './ai-sdk.ts';
import { peerTest, type PeerRow } from './matrix.ts';

const PEER = {
  peer: '@ai-sdk/mcp',
  role: 'client and receiver',
  era: '2026-07-28',
  drain: 'events webhook',
} as const satisfies Partial<PeerRow>;
const BOX = boxOpened.type.name;
const GITHUB_SECRET = 'a secret of the webhook source';

/** Members that this extension adds to each event. */
interface Numbers {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly head: number;
}
const numbers = ({ received }: AiSdk): Numbers[] =>
  received.map(({ event }) => (event['_meta'] as Record<string, Numbers>)[EXTENSION_ID]!);
const sequences = (ai: AiSdk): number[] => numbers(ai).map(({ sequence }) => sequence);
/** The ids of the received events, each once: a post whose answer was lost is repeated. */
const once = ({ received }: AiSdk): string[] => [
  ...new Set(received.map(({ event }) => event.eventId)),
];
const kinds = ({ posts }: AiSdk): string[] => posts.map(({ kind }) => kind);

/** The reference server and an application with a client of it. */
async function start(
  profile: 'sketch' | 'suite',
  {
    era,
    env = {},
  }: { readonly era?: PeerRow['era']; readonly env?: Readonly<Record<string, string>> } = {},
) {
  await using stack = new AsyncDisposableStack();
  const server = await startServer({
    TRIGGERS_EVENTS_PROFILE: profile,
    TRIGGERS_SHUTDOWN_GRACE_MS: '200',
    ...env,
  });
  stack.defer(() => server.close());
  const ai = stack.use(await startAiSdk());
  const { experimental_events: events } = await ai.connect(
    server.url,
    await server.token('alice'),
    era,
  );
  let count = 0;
  const open = stack.move();
  return {
    server,
    ai,
    events,
    subscribe: (more: { readonly ttlMs?: number; readonly cursor?: string } = {}) =>
      events.subscribe({
        name: BOX,
        delivery: { mode: 'webhook', url: ai.callbackUrl, allowInsecureLocalhost: true },
        ...more,
      }),
    async open(times: number) {
      for (let at = 0; at < times; at++)
        await server.emit({
          name: BOX,
          eventId: `box.${++count}`,
          data: { box: 'front', by: `visitor ${count}` },
        });
    },
    receives: (count: number) =>
      eventually(`the application has ${count} events`, () => ai.received.length >= count),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

describe('@ai-sdk/mcp against the reference server', () => {
  for (const era of ['2026-07-28', '2025-11-25'] as const) {
    peerTest(
      {
        ...PEER,
        era,
        exercised:
          "list, subscribe, challenge, events in order with this extension's numbers in `_meta`, unsubscribe",
      },
      async () => {
        await using at = await start('sketch', { era });
        assert.ok(
          (await at.events.list()).events.some(
            ({ name, delivery }) => name === BOX && delivery.includes('webhook'),
          ),
        );
        const { id, refreshBefore, ...more } = await at.subscribe();
        assert.ok(Date.parse(refreshBefore!) > Date.now());
        assert.equal(
          'resultType' in more,
          era === '2026-07-28',
          'the revision of this row is the one in use',
        );
        await at.open(20);
        await at.receives(20);
        assert.deepEqual(
          sequences(at.ai),
          Array.from({ length: 20 }, (_, index) => index + 1),
        );
        assert.equal(
          new Set(numbers(at.ai).map(({ epoch, subscriptionId }) => `${epoch} ${subscriptionId}`))
            .size,
          1,
        );
        assert.deepEqual(
          at.ai.received.map(({ event }) => event.data['by']),
          Array.from({ length: 20 }, (_, index) => `visitor ${index + 1}`),
        );
        assert.deepEqual(kinds(at.ai), ['verification', ...Array<string>(20).fill('event')]);
        await at.events.unsubscribe({ id });
        await at.open(1);
        await at.subscribe();
        await at.open(1);
        await at.receives(21);
        assert.equal(
          at.ai.received[20]!.event.data['by'],
          'visitor 22',
          'nobody received what happened in between',
        );
        return '20 events, numbers 1 to 20';
      },
    );
  }

  peerTest(
    {
      ...PEER,
      exercised: 'an event that the application refuses is sent again before the next one',
    },
    async () => {
      await using at = await start('sketch');
      await at.subscribe();
      let refused = 0;
      at.ai.onEvent = async ({ event }) => {
        if (event.data['by'] === 'visitor 2' && refused++ < 2) throw new Error('not now');
      };
      await at.open(3);
      await at.receives(3);
      assert.deepEqual(sequences(at.ai), [1, 2, 3]);
      assert.deepEqual(
        at.ai.posts.map(({ kind, status }) => `${kind} ${status}`),
        ['verification 200', 'event 204', 'event 503', 'event 503', 'event 204', 'event 204'],
      );
      const tries = at.ai.posts.slice(2, 5).map(({ headers }) => headers.get('webhook-id'));
      assert.deepEqual(new Set(tries).size, 1);
      return 'refused twice, then numbers 1 to 3';
    },
  );

  peerTest({ ...PEER, exercised: 'refresh and rotation of the secret' }, async () => {
    await using at = await start('sketch');
    const first = await at.subscribe({ ttlMs: 120_000 });
    await at.open(1);
    await at.receives(1);
    const second = await at.events.refresh({ id: first.id });
    assert.equal(second.id, first.id);
    assert.ok(Date.parse(second.refreshBefore!) >= Date.parse(first.refreshBefore!));
    assert.equal(second.truncated, false);

    const record = (await at.ai.store.getById(first.id))!;
    await at.ai.store.update(record.key, {
      delivery: { ...record.delivery, secret: `whsec_${Buffer.alloc(32, 9).toString('base64')}` },
    });
    // From here to the end of the refresh the server signs with a secret that the application has
    // dropped: its deliveries are rejected and retried.
    await at.open(1);
    await eventually('a delivery under the old secret was rejected', () =>
      at.ai.posts.some(({ kind, status }) => kind === 'event' && status === 401),
    );
    await at.events.refresh({ id: first.id });
    await at.receives(2);
    await at.open(1);
    await at.receives(3);
    assert.deepEqual(sequences(at.ai), [1, 2, 3]);
    assert.equal(
      at.ai.posts
        .at(-1)!
        .headers.get('webhook-signature')!
        .split(' ')
        .filter((signature) => signature.startsWith('v1,')).length,
      2,
    );
    return 'two signatures, numbers 1 to 3';
  });

  for (const { profile, exercised, gaps } of [
    { profile: 'suite', exercised: 'an event that is lost for good: `gap`', gaps: 1 },
    {
      profile: 'sketch',
      exercised: 'an event that is lost for good, where `gap` is not sent: the numbers show it',
      gaps: 0,
    },
  ] as const) {
    peerTest({ ...PEER, exercised }, async () => {
      await using at = await start(profile);
      await at.subscribe();
      // A proxy in front of the application rejects one event permanently.
      at.ai.inFront = ({ kind, body }) =>
        kind === 'event' && body.includes('visitor 2') ? 410 : undefined;
      await at.open(3);
      await at.receives(2);
      assert.deepEqual(sequences(at.ai), [1, 3]);
      assert.deepEqual(kinds(at.ai), [
        'verification',
        'event',
        'event',
        ...Array<string>(gaps).fill('gap'),
        'event',
      ]);
      assert.deepEqual(
        at.ai.gaps.map(({ gap }) => typeof gap.cursor),
        Array<string>(gaps).fill('string'),
      );
      return `numbers 1 and 3, ${gaps === 1 ? 'one `gap` between them' : 'no message between them'}`;
    });
  }

  peerTest(
    { ...PEER, exercised: 'expiry without a refresh: the next subscribe says `truncated`' },
    async () => {
      await using at = await start('sketch', { env: { TRIGGERS_TTL_MIN_MS: '1000' } });
      const { id, refreshBefore } = await at.subscribe({ ttlMs: 1000 });
      await at.open(1);
      await at.receives(1);
      await eventually(
        'the subscription has expired',
        () => Date.now() > Date.parse(refreshBefore!) + 50,
      );
      await at.open(1);
      const again = await at.events.refresh({ id });
      assert.deepEqual({ id: again.id, truncated: again.truncated }, { id, truncated: true });
      await at.open(1);
      await at.receives(2);
      assert.deepEqual(
        at.ai.received.map(({ event }) => event.data['by']),
        ['visitor 1', 'visitor 3'],
      );
      assert.notEqual(numbers(at.ai)[0]!.epoch, numbers(at.ai)[1]!.epoch);
      return 'the same `id`, `truncated`, a new epoch';
    },
  );

  peerTest(
    {
      ...PEER,
      exercised:
        'the server is killed and started again on its store, twice; then the event type is withdrawn: `terminated`',
    },
    async () => {
      await using folder = await temporaryFolder();
      await using ai = await startAiSdk();
      const at = { dataDir: folder.path, port: await freePort() };
      const env = { TRIGGERS_EVENTS_PROFILE: 'suite' };
      const server = new ServerProcess({
        ...at,
        env: { ...env, TRIGGERS_GITHUB_SECRET: GITHUB_SECRET },
      });
      const withoutSource = new ServerProcess({ ...at, env });
      const github = new GitHub(server.origin, GITHUB_SECRET, 50);
      const hooks = webhooks(['issues']);
      const ids: string[] = [];
      const happen = async () => {
        const webhook = hooks.next().value;
        ids.push(webhook.id);
        await github.post(webhook, AbortSignal.timeout(90_000));
      };
      try {
        await server.start();
        const { experimental_events: events } = await ai.connect(server.url, await server.token());
        await events.subscribe({
          name: 'github.issues',
          delivery: { mode: 'webhook', url: ai.callbackUrl, allowInsecureLocalhost: true },
        });
        await happen();
        await eventually('the first event', () => once(ai).length === 1);
        await server.kill();
        await server.start();
        await happen();
        await eventually('an event after the restart', () => once(ai).length === 2);

        // Accepted by the server, rejected by the application, and then the server dies.
        ai.inFront = ({ kind }) => (kind === 'event' ? 503 : undefined);
        const before = ai.posts.length;
        await happen();
        await eventually('an attempt', () => ai.posts.length > before);
        await server.kill();
        ai.inFront = () => undefined;
        await server.start();
        await eventually('the event that was pending', () => once(ai).length === 3);
        assert.deepEqual(once(ai), ids);
        assert.deepEqual([...new Set(sequences(ai))], [1, 2, 3]);
        assert.equal(new Set(numbers(ai).map(({ epoch }) => epoch)).size, 1);

        await server.stop();
        await withoutSource.start();
        const ended = await eventually('it is notified of the end', () => ai.terminations[0]);
        assert.deepEqual(
          {
            code: ended.termination.error.code,
            kind: (ended.termination.error.data as { readonly kind?: string }).kind,
          },
          { code: -32011, kind: 'event' },
        );
        assert.deepEqual(ai.gaps, []);
      } finally {
        await server.stop();
        await withoutSource.stop();
      }
      return 'numbers 1 to 3 of one epoch, `terminated` with NotFound';
    },
  );
});
