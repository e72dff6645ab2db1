/** How subscriptions end, and their termination notices (SEP: Ending). */
import assert from 'node:assert/strict';
import { NotApplicable, NotShown } from '../../runner/observations.ts';
import type { CallbackEndpoint, Hit } from '../../runner/server/callback-endpoint.ts';
import { untilHead, errorOf, untilStreamed } from '../../runner/server/coverage.ts';
import { scenario, type Drain, type ServerTest } from '../../runner/server/scenario.ts';
import type { StreamReader } from '../../runner/server/stream-reader.ts';
import type { Json } from '../../runner/wire/session.ts';

const DAY_MS = 86_400_000;
/** The longest wait between two attempts. */
const WAIT_MAX_MS = 300_000;
/** Time to watch for messages that must not come. */
const QUIET_MS = 200;
/** Time for a pull to reach the server: nothing shows the kit that it waits there. */
const ARRIVES_MS = 400;

/** A subscription followed on every drain. */
interface Watched {
  readonly subscription: Json;
  /** The final state of its log. */
  readonly final: { readonly epoch: string; readonly head: number; readonly acked: number };
  readonly endpoint: CallbackEndpoint | undefined;
  readonly stream: StreamReader | undefined;
  /** The result or error of the waiting pull. */
  readonly pull: { answer: Json; error: Error | undefined };
}

/** Every method that takes a subscription. */
const methods = (
  t: ServerTest,
  { epoch }: Json,
): readonly (readonly [method: string, params: object])[] => [
  ['triggers/get', {}],
  ['triggers/update', { ttlMs: 60_000 }],
  ['triggers/pull', {}],
  ['triggers/ack', { position: { epoch, sequence: 1 } }],
  ...(t.offers('stream') ? [['triggers/stream', {}] as const] : []),
  ['triggers/unsubscribe', {}],
];

function requireDrain(t: ServerTest, drain: Drain): void {
  if (!t.offers(drain)) throw new NotApplicable(`The server does not offer the drain "${drain}".`);
}

/**
 * Creates a log of two events and follows it by a waiting pull and, when the server offers them, by
 * a stream and a callback. The callback acknowledges both events; without one the client
 * acknowledges the first.
 */
async function watch(
  t: ServerTest,
  name: string,
  { callback }: { readonly callback: boolean },
): Promise<Watched> {
  const endpoint = callback && t.offers('callback') ? await t.endpoint() : undefined;
  const topic = t.unique('topic');
  const subscription = await t.subscribe({
    select: [{ name, arguments: { topic } }],
    ...(endpoint === undefined ? {} : { callback: endpoint.callback }),
  });
  const { subscriptionId, epoch } = subscription;
  await t.emit(topic, 2, { name });
  await untilHead(t, subscriptionId, 2);
  await t.mcp.request('triggers/pull', { subscriptionId });
  if (endpoint === undefined)
    await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 1 } });
  else
    await t.until(
      'the callback to acknowledge',
      async () => (await t.mcp.request('triggers/get', { subscriptionId })).acked === 2,
    );
  const { head, acked } = await t.mcp.request('triggers/get', { subscriptionId });
  const stream = t.offers('stream') ? await t.stream({ subscriptionId }) : undefined;
  if (stream !== undefined) await untilStreamed(t, stream, 2);
  const pull: Watched['pull'] = { answer: undefined, error: undefined };
  void t.mcp
    .request(
      'triggers/pull',
      { subscriptionId, after: { epoch, sequence: 2 }, waitMs: 20_000 },
      { validated: false },
    )
    .then(
      (answer) => {
        pull.answer = answer;
      },
      (error: Error) => {
        pull.error = error;
      },
    );
  await t.pause(ARRIVES_MS);
  return { subscription, final: { epoch, head, acked }, endpoint, stream, pull };
}

/** Checks that every drain receives a termination notice with the reason, and nothing after it. */
async function checkNotices(
  t: ServerTest,
  { subscription, final, endpoint, stream, pull }: Watched,
  reason: string,
): Promise<void> {
  const { subscriptionId } = subscription;
  await t.check(
    'stream-end',
    `an open stream sends a delivery with terminated (${reason}), then its result`,
    async () => {
      requireDrain(t, 'stream');
      const ended = await t.until('the end of the stream', () => stream!.ended);
      assert.equal(
        stream!.deliveries.find(({ terminated }) => terminated !== undefined)?.terminated.reason,
        reason,
        '`terminated.reason` on the stream:',
      );
      assert.ok(
        ended.result !== undefined,
        `the stream ended without a result: ${JSON.stringify(ended)}`,
      );
    },
  );
  await t.check('end-pull', `a waiting pull returns terminated (${reason}) at once`, async () => {
    await t.until('the waiting pull to be answered', () => pull.answer ?? pull.error);
    if (pull.error !== undefined) throw pull.error;
    assert.deepEqual(
      [pull.answer.terminated?.reason, pull.answer.events],
      [reason, []],
      '`terminated.reason` and `events` of the answer:',
    );
  });
  if (reason !== 'unsubscribed') {
    await t.check(
      'end-callback',
      `the callback receives a delivery with terminated (${reason})`,
      async () => {
        requireDrain(t, 'callback');
        const hit = await t.until('a delivery with terminated to the callback', () =>
          endpoint!.deliveries.find(({ delivery }) => delivery.terminated !== undefined),
        );
        assert.equal(
          hit.delivery.terminated.reason,
          reason,
          '`terminated.reason` in the callback:',
        );
      },
    );
  }
  await t.check(
    'end-last',
    `nothing follows the delivery with terminated (${reason})`,
    async () => {
      await t.pause(QUIET_MS);
      for (const [drain, deliveries] of [
        ['stream', stream?.deliveries ?? []],
        ['callback', endpoint?.deliveries.map(({ delivery }) => delivery) ?? []],
      ] as const) {
        const at = deliveries.findIndex(({ terminated }) => terminated !== undefined);
        if (at >= 0)
          assert.equal(
            deliveries.length - at - 1,
            0,
            `deliveries by ${drain} after the one with terminated:`,
          );
      }
    },
  );
  for (const [method, params] of methods(t, subscription)) {
    await t.check(
      'end-tombstone',
      `${method} of the ended subscription returns NotFound with reason ${reason} and the final state of the log`,
      async () => {
        const rejection = await errorOf(t, method, { subscriptionId, ...params });
        assert.deepEqual(
          [rejection.code, rejection.data],
          [-32023, { kind: 'subscription', reason, final }],
          'code and data of the error:',
        );
      },
    );
  }
}

/** Resolves when the subscription has ended as `revoked`. */
const withdrawn = (t: ServerTest, { subscriptionId }: Json): Promise<unknown> =>
  t.until('the end of the subscription', async () => {
    const { error } = await t.mcp.ask('triggers/get', { subscriptionId });
    if (error === undefined) return false;
    assert.equal((error.data as Json)?.reason, 'revoked', '`data.reason` of the error:');
    return true;
  });

const noticesOf = ({ deliveries }: CallbackEndpoint): Hit[] =>
  deliveries.filter(({ delivery }) => delivery.terminated !== undefined);

/** Resolves with the n-th termination notice at the callback, counted from 1. */
export const notice = (t: ServerTest, endpoint: CallbackEndpoint, n: number): Promise<Hit> =>
  t.until(`termination notice ${n} at the callback`, () => noticesOf(endpoint)[n - 1]);

/** Lets the longest wait between two attempts pass, and resolves with the next notice. */
export async function another(t: ServerTest, endpoint: CallbackEndpoint): Promise<Hit> {
  const count = noticesOf(endpoint).length;
  // The failure has to be recorded before the clock can reach the next attempt.
  await t.pause(QUIET_MS);
  if (noticesOf(endpoint).length === count) await t.control.do('advance', { ms: WAIT_MAX_MS });
  return notice(t, endpoint, count + 1);
}

/** Declares a trigger type and removes it when the scenario ends. Returns its name. */
export async function ownType(t: ServerTest): Promise<string> {
  const name = `conformance.${t.unique('own').replaceAll(/[^A-Za-z0-9]/g, '_')}`;
  await t.control.do('declare', { name });
  t.defer(() => t.control.do('remove', { name, reason: 'trigger_removed' }));
  return name;
}

export const ending = [
  scenario({
    name: 'ending: by the client',
    about:
      'Unsubscribing sends a notice on every drain, the id stays known as ended, and the key becomes free.',
    checks: ['end-tombstone', 'stream-end', 'end-pull', 'end-last', 'end-key-free'],
    needs: { verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const watched = await watch(t, t.control.type('plain'), { callback: false });
      const { subscriptionId, epoch, key, select } = watched.subscription;
      await t.mcp.request('triggers/unsubscribe', { subscriptionId });
      await checkNotices(t, watched, 'unsubscribed');
      await t.check(
        'end-key-free',
        'the same key creates a new subscription with another id and another epoch',
        async () => {
          const again = await t.subscribe({ key, select });
          assert.equal(again.created, true, '`created`:');
          assert.notEqual(
            again.subscriptionId,
            subscriptionId,
            'the new subscription has the id of the ended one',
          );
          assert.notEqual(
            again.epoch,
            epoch,
            'the new subscription has the epoch of the ended one',
          );
        },
      );
    },
  }),

  scenario({
    name: 'ending: by the server',
    about: 'Removing a trigger type ends its subscriptions with a notice on every drain.',
    checks: ['end-tombstone', 'stream-end', 'end-pull', 'end-callback', 'end-last'],
    needs: { verbs: ['emit', 'declare', 'remove'], types: ['plain'] },
    alone: true,
    async run(t) {
      for (const reason of ['trigger_removed', 'schema_changed'] as const) {
        const name = await ownType(t);
        const watched = await watch(t, name, { callback: true });
        await t.control.do('remove', { name, reason });
        await checkNotices(t, watched, reason);
      }
    },
  }),

  scenario({
    name: 'ending: the callback is down',
    about: 'The notice is repeated until the callback takes it, and not any more then.',
    checks: ['end-callback'],
    needs: { drains: ['callback'], verbs: ['declare', 'remove', 'advance'] },
    alone: true,
    async run(t) {
      const name = await ownType(t);
      const endpoint = await t.endpoint();
      await t.subscribe({ select: [{ name }], callback: endpoint.callback });
      endpoint.answer = () => ({ status: 503 });
      await t.control.do('remove', { name, reason: 'trigger_removed' });
      await notice(t, endpoint, 1);
      for (let failures = 1; failures <= 2; failures += 1)
        await t.check(
          'end-callback',
          `after failure ${failures} the notice comes again within five minutes`,
          () => another(t, endpoint),
        );
      // No answer that acknowledges: any 2xx suffices.
      endpoint.answer = () => ({ status: 204 });
      await t.check('end-callback', 'a callback that is up again gets the notice', () =>
        another(t, endpoint),
      );
      await t.check(
        'end-callback',
        'a notice that was answered with 2xx is not repeated',
        async () => {
          const count = noticesOf(endpoint).length;
          await t.pause(QUIET_MS);
          await t.control.do('advance', { ms: WAIT_MAX_MS });
          await t.pause(QUIET_MS);
          assert.deepEqual([count, noticesOf(endpoint).length], [4, 4], 'notices:');
        },
      );
    },
  }),

  scenario({
    name: 'ending: permission',
    about: 'A subscription ends when its owner loses the permission for a selected type.',
    checks: ['end-revoked', 'end-recheck'],
    needs: { verbs: ['emit', 'declare', 'remove', 'permit', 'advance'], types: ['plain'] },
    alone: true,
    async run(t) {
      const name = await ownType(t);
      const forbid = async (told: boolean): Promise<void> =>
        void (await t.control.do('permit', { principal: 'main', name, allowed: false, told }));
      const allow = (): Promise<unknown> =>
        t.control.do('permit', { principal: 'main', name, allowed: true });
      t.defer(allow);
      const subscribe = async (): Promise<Json> => {
        const subscription = await t.subscribe({ select: [{ name }], ttlMs: 3 * DAY_MS });
        await t.emit('any', 2, { name });
        await untilHead(t, subscription.subscriptionId, 2);
        return subscription;
      };
      const first = await subscribe();
      await forbid(true);
      await t.check('end-revoked', 'a notified server ends the subscription as revoked', () =>
        withdrawn(t, first),
      );
      await allow();
      const second = await subscribe();
      await forbid(false);
      await t.check(
        'end-recheck',
        'a server that is not notified does the same within 24 hours',
        async () => {
          if (second.ttlMs < 2 * DAY_MS)
            throw new NotShown('The server grants no lifetime of two days.');
          await t.control.do('advance', { ms: DAY_MS });
          await withdrawn(t, second);
        },
      );
    },
  }),
];
