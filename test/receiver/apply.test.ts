/**
 * Tests what the endpoint does with a valid delivery: applies it in order and once, answers
 * explicitly, and remembers it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'vitest';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { fileLedger } from '../../src/protocol/ledger/file-ledger.ts';
import {
  memoryLedger,
  type Ledger,
  type RegistrationRecord,
} from '../../src/protocol/ledger/ledger.ts';
import type { Apply, Problem, ReceiverItem } from '../../src/receiver/applier.ts';
import type { Delivery } from '../../spec-schema/draft/schema.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { manualClock } from '../../src/testing/index.ts';
import { Secret } from '../../src/protocol/wire/secret.ts';
import { isChallengeProof } from '../../src/protocol/wire/signature.ts';
import { eventOf, pause } from '../client/peer.ts';
import {
  answer,
  challengeOf,
  deliveryOf,
  EPOCH,
  mount,
  numberOf,
  post,
  request,
  signingKey,
  SUBSCRIPTION,
  WHO,
  words,
} from './support.ts';

const CHALLENGE = 'NRcyzzgTeL7FCXgRSBmZNY9BjmUNNgvf';

/** An application that keeps the items it receives. */
function keeper(): { items: ReceiverItem[]; apply: Apply } {
  const items: ReceiverItem[] = [];
  return {
    items,
    apply: (item) => {
      items.push(item);
    },
  };
}

describe('answers', () => {
  test('[ans-receiver-ack] acknowledges the last number when everything is applied', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    assert.deepEqual(await answer(post(deliveryOf(0, [1, 2, 3]), to)), { ackSequence: 3 });
    assert.deepEqual(
      await answer(
        post(deliveryOf(3, [4, 7], { gaps: [{ from: 5, to: 6, reason: 'skipped' }], head: 9 }), to),
      ),
      { ackSequence: 7 },
    );
    assert.deepEqual(words(items), ['1', '2', '3', '4', '5-6 skipped', '7']);
    assert.deepEqual(await mounted.receiver.position(WHO), { epoch: EPOCH, sequence: 7 });
  });

  test('[ref-event] hands on an event whose data are elsewhere', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    const delivery = deliveryOf(0, [1]);
    const { data: _, ...event } = delivery.events[0]!;
    const dataRef = { uri: 'triggers-data://log/any/1', bytes: 300_000 };
    const large = { ...delivery, events: [{ ...event, dataRef }] };
    assert.deepEqual(await answer(post(large, to)), { ackSequence: 1 });
    assert.deepEqual(
      items.map((item) => item.type === 'event' && [item.event.data, item.event.dataRef]),
      [[undefined, dataRef]],
    );
  });

  test('[gen-ignore-unknown] handles unknown values of open enumerations as the general case', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    const members = {
      gaps: [{ from: 2, to: 3, reason: 'quarantined' }],
      status: 'draining',
      head: 4,
    };
    assert.deepEqual(await answer(post(deliveryOf(0, [1, 4], members), to)), { ackSequence: 4 });
    assert.deepEqual(
      items.flatMap((item) => (item.type === 'gap' ? [item.gap] : [])),
      members.gaps,
    );
    const terminated = { reason: 'merged' };
    assert.equal((await post(deliveryOf(4, [], { terminated, head: 4 }), to)).status, 200);
    assert.deepEqual(
      items.flatMap((item) => (item.type === 'terminated' ? [item.reason] : [])),
      ['merged'],
    );
  });

  test('[recv-duplicate, ans-receiver-ack] acknowledges items that were applied before, never above the delivery, and does not apply them again', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1, 2, 3, 4]), to);
    assert.deepEqual(await answer(post(deliveryOf(0, [1, 2]), to)), { ackSequence: 2 });
    assert.deepEqual(await answer(post(deliveryOf(1, [2, 3, 4, 5]), to)), { ackSequence: 5 });
    assert.deepEqual(await answer(post(deliveryOf(5, []), to)), { ackSequence: 5 });
    assert.deepEqual(words(items), ['1', '2', '3', '4', '5']);
  });

  test('[recv-missing, ans-receiver-missing] answers 503 to missing numbers, reports them, and accepts what a pull brings', async () => {
    const { items, apply } = keeper();
    const problems: Problem[] = [];
    await using mounted = await mount({ apply, onProblem: (problem) => problems.push(problem) });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    assert.equal(await answer(post(deliveryOf(3, [4]), to)), '503 missing_numbers');
    assert.deepEqual(
      problems.map(({ kind }) => kind),
      ['missing_numbers'],
    );
    assert.deepEqual(await mounted.receiver.accept(WHO, deliveryOf(1, [2, 3])), {
      epoch: EPOCH,
      sequence: 3,
    });
    assert.deepEqual(await answer(post(deliveryOf(3, [4]), to)), { ackSequence: 4 });
    assert.deepEqual(words(items), ['1', '2', '3', '4']);
  });

  test('[recv-elsewhere] reports numbers that another reader has acknowledged, and continues after them', async () => {
    const { items, apply } = keeper();
    const problems: Problem[] = [];
    await using mounted = await mount({ apply, onProblem: (problem) => problems.push(problem) });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    assert.deepEqual(await answer(post(deliveryOf(3, [4], { acked: 3 }), to)), { ackSequence: 4 });
    assert.deepEqual(await answer(post(deliveryOf(6, [], { acked: 6 }), to)), { ackSequence: 6 });
    assert.deepEqual(words(items), ['1', '2-3 elsewhere', '4', '5-6 elsewhere']);
    assert.deepEqual(problems, []);
    assert.deepEqual(await mounted.receiver.position(WHO), { epoch: EPOCH, sequence: 6 });
  });

  test('[recv-elsewhere] does not acknowledge a range that the application could not store, and hands it over again', async () => {
    const { items, apply } = keeper();
    let isFull = true;
    await using mounted = await mount({
      apply: (item, context) => {
        if (item.type === 'elsewhere' && isFull) throw new Error('disk full');
        return apply(item, context);
      },
    });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    assert.equal(
      await answer(post(deliveryOf(3, [4], { acked: 3 }), to)),
      '503 missing_numbers',
      'nothing of it is stored',
    );
    isFull = false;
    assert.deepEqual(await answer(post(deliveryOf(3, [4], { acked: 3 }), to)), { ackSequence: 4 });
    assert.deepEqual(words(items), ['1', '2-3 elsewhere', '4']);
  });

  test('[recv-missing-fetch] reads what another reader has acknowledged with `pullMissed`, page by page, before the delivery', async () => {
    const { items, apply } = keeper();
    const asked: number[] = [];
    await using mounted = await mount({
      apply,
      pullMissed: async ({ after: { sequence }, subscriptionId, key }) => {
        assert.deepEqual({ subscriptionId, key }, { subscriptionId: SUBSCRIPTION, key: WHO.key });
        asked.push(sequence);
        return sequence === 1
          ? deliveryOf(1, [], {
              gaps: [{ from: 2, to: 2, reason: 'retention' }],
              acked: 5,
              head: 6,
            })
          : deliveryOf(sequence, [sequence + 1, sequence + 2], { acked: 5, head: 6 });
      },
    });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    assert.deepEqual(await answer(post(deliveryOf(5, [6], { acked: 5 }), to)), { ackSequence: 6 });
    assert.deepEqual(asked, [1, 2, 4]);
    assert.deepEqual(words(items), ['1', '2-2 retention', '3', '4', '5', '6']);
  });

  test('[recv-missing-fetch] reads from the start of a new epoch with `pullMissed`', async () => {
    const { items, apply } = keeper();
    const epoch = 'epoch-2-bbbbbbbbbbbbbb';
    await using mounted = await mount({
      apply,
      pullMissed: async ({ after }) => {
        assert.deepEqual(after, { epoch, sequence: 0 });
        return deliveryOf(0, [1, 2], { epoch, acked: 2 });
      },
    });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    const delivery = deliveryOf(2, [3], { epoch, acked: 2 });
    // The log of the test repeats identifiers in every epoch.
    delivery.events[0]!.eventId = 'new-3';
    assert.deepEqual(await answer(post(delivery, to)), { ackSequence: 3 });
    assert.deepEqual(words(items), ['1', 'epoch 1→0', '2', '3']);
  });

  test('[recv-missing-fetch] applies nothing while `pullMissed` fails or does not continue, and goes on without the numbers when it resolves with null', async () => {
    const { items, apply } = keeper();
    const problems: Problem[] = [];
    const results: (() => Promise<Delivery | null>)[] = [
      () => Promise.reject(new Error('no connection')),
      async () => deliveryOf(0, [1]),
      async () => null,
    ];
    await using mounted = await mount({
      apply,
      onProblem: (problem) => problems.push(problem),
      pullMissed: () => results.shift()!(),
    });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    const next = () => answer(post(deliveryOf(3, [4], { acked: 3 }), to));
    assert.equal(await next(), '503 missing_numbers');
    assert.equal(await next(), '503 missing_numbers');
    assert.deepEqual(words(items), ['1']);
    assert.deepEqual(
      problems.map((problem) => problem.kind === 'pull_failed' && String(problem.error)),
      [
        'Error: no connection',
        'LocalError: The delivery of `pullMissed` does not continue at `after`, or was not applied. Resolve with the result of a pull from `after`, or with null.',
      ],
    );
    assert.deepEqual(await next(), { ackSequence: 4 });
    assert.deepEqual(words(items), ['1', '2-3 elsewhere', '4']);
  });

  test('acknowledges up to the item on which the application throws, answers 503 when there is nothing to acknowledge, and reports the error', async () => {
    const problems: Problem[] = [];
    let broken = true;
    const applied: number[] = [];
    await using mounted = await mount({
      onProblem: (problem) => problems.push(problem),
      apply: (item) => {
        if (broken && numberOf(item) === 3) throw new Error('disk full');
        applied.push(numberOf(item));
      },
    });
    const to = await mounted.receiver.register(WHO);
    assert.deepEqual(await answer(post(deliveryOf(0, [1, 2, 3, 4]), to)), { ackSequence: 2 });
    assert.equal(await answer(post(deliveryOf(2, [3, 4]), to)), '503 no_progress');
    assert.deepEqual(
      problems.map(({ kind }) => kind),
      ['apply_failed', 'apply_failed'],
    );
    broken = false;
    assert.deepEqual(await answer(post(deliveryOf(2, [3, 4]), to)), { ackSequence: 4 });
    assert.deepEqual(applied, [1, 2, 3, 4]);
  });

  test('rejects by number an event that can never be accepted, and applies the next one', async () => {
    const seen: number[] = [];
    await using mounted = await mount({
      apply: (item) => {
        if (item.type !== 'event') return undefined;
        seen.push(item.event.sequence);
        return item.event.sequence === 2
          ? { reject: 'no such ticket'.padEnd(300, '!') }
          : item.event.sequence === 5
            ? 'reject'
            : undefined;
      },
    });
    const to = await mounted.receiver.register(WHO);
    const first = (await answer(post(deliveryOf(0, [1, 2, 3]), to))) as {
      ackSequence: number;
      reject: { sequence: number; reason: string };
    };
    assert.deepEqual(
      [first.ackSequence, first.reject.sequence, first.reject.reason.length],
      [1, 2, 256],
    );
    assert.deepEqual(await answer(post(deliveryOf(2, [3, 4]), to)), { ackSequence: 4 });
    assert.deepEqual(await answer(post(deliveryOf(4, [5]), to)), {
      ackSequence: 4,
      reject: { sequence: 5, reason: 'The receiver can never accept this event.' },
    });
    assert.deepEqual(
      await answer(post(deliveryOf(4, [5]), to)),
      { ackSequence: 5 },
      'the lost answer is settled here',
    );
    assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  });

  test('[cbv-proof, cbv-not-forwarded, cbv-receiver] proves a challenge with the secret that verified it, without the application', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    const proved = (await answer(post(challengeOf(CHALLENGE), to))) as {
      challenge: string;
      proof: string;
    };
    assert.equal(proved.challenge, CHALLENGE);
    assert.ok(isChallengeProof(Secret.parse(to.secret), CHALLENGE, proved.proof));
    assert.equal(
      await answer(
        post(challengeOf(CHALLENGE), {
          ...to,
          secret: Secret.generate().reveal(),
        }),
      ),
      '401 signature',
    );
    assert.deepEqual(items, []);
    assert.equal(await mounted.receiver.position(WHO), null);
  });

  test('[cb-prompt] acknowledges what is done when the application takes longer than the server waits, and applies the rest once', async () => {
    const clock = manualClock(Date.now());
    const applied: number[] = [];
    const gates = new Map<number, () => void>();
    let verified = 0;
    await using mounted = await mount({
      clock,
      answerWithinMs: 60,
      serverKeys: () => {
        verified += 1;
        return undefined;
      },
      apply: async (item) => {
        if (numberOf(item) === 2)
          await new Promise<void>((resolve) => {
            gates.set(2, resolve);
          });
        applied.push(numberOf(item));
      },
    });
    const to = await mounted.receiver.register(WHO);
    const first = answer(post(deliveryOf(0, [1, 2, 3]), to));
    while (!gates.has(2)) await pause(5);
    clock.advance(60);
    assert.deepEqual(await first, { ackSequence: 1 });
    const second = answer(post(deliveryOf(1, [2, 3]), to));
    while (verified < 2) await pause(5);
    await pause(5);
    clock.advance(60);
    assert.equal(await second, '503 no_progress', 'the application is still busy');
    gates.get(2)!();
    while (applied.length < 3) await pause(5);
    assert.deepEqual(await answer(post(deliveryOf(1, [2, 3]), to)), { ackSequence: 3 });
    assert.deepEqual(applied, [1, 2, 3]);
  });

  test('[cb-prompt] the time for an answer includes the time in which the body arrived', async () => {
    const clock = manualClock(Date.now());
    let [begun, ended] = [false, false];
    await using mounted = await mount({
      clock,
      answerWithinMs: 60,
      apply: async () => {
        begun = true;
        await new Promise(() => undefined);
      },
    });
    const to = await mounted.receiver.register(WHO);
    const whole = request(deliveryOf(0, [1]), to);
    const bytes = new Uint8Array(await whole.arrayBuffer());
    const slow = new Request(whole.url, {
      method: 'POST',
      headers: whole.headers,
      duplex: 'half',
      body: new ReadableStream(
        {
          pull(controller) {
            clock.jump(50);
            controller.enqueue(bytes);
            controller.close();
          },
        },
        { highWaterMark: 0 },
      ),
    });
    const answered = answer(mounted.receiver.fetch(slow)).then((text) => {
      ended = true;
      return text;
    });
    while (!begun) await pause(5);
    await clock.run(11);
    await pause(20);
    assert.equal(ended, true, 'answered 61 ms after the request began');
    assert.equal(await answered, '503 no_progress');
  });

  test('[cb-prompt] does not begin a queued delivery once its deadline has passed, although its timer is late', async () => {
    const clock = manualClock(Date.now());
    const applied: number[] = [];
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let [begun, verified] = [false, 0];
    await using mounted = await mount({
      clock,
      answerWithinMs: 60,
      serverKeys: () => {
        verified += 1;
        return undefined;
      },
      apply: async (item) => {
        begun = true;
        await gate;
        applied.push(numberOf(item));
      },
    });
    const to = await mounted.receiver.register(WHO);
    const first = answer(post(deliveryOf(0, [1]), to));
    while (!begun) await pause(5);
    const second = answer(post(deliveryOf(0, [1, 2]), to));
    while (verified < 2) await pause(5);
    await pause(5);
    clock.jump(60);
    open();
    assert.deepEqual([await first, await second], [{ ackSequence: 1 }, { ackSequence: 1 }]);
    assert.deepEqual(applied, [1]);
  });

  test('passes the termination notice to the application', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    assert.deepEqual(
      await answer(post(deliveryOf(0, [1], { terminated: { reason: 'expired' } }), to)),
      { ackSequence: 1 },
    );
    assert.deepEqual(words(items), ['1', 'terminated expired']);
  });

  test('[end-receiver] a termination notice that the application could not store is answered with 503, and comes again', async () => {
    const { items, apply } = keeper();
    let fails = true;
    await using mounted = await mount({
      apply: (item, who) => {
        if (item.type === 'terminated' && fails) throw new Error('disk full');
        return apply(item, who);
      },
    });
    const to = await mounted.receiver.register(WHO);
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), to)), { ackSequence: 1 });
    const notice = deliveryOf(1, [], { terminated: { reason: 'revoked' } });
    assert.equal(await answer(post(notice, to)), '503 no_progress');
    assert.deepEqual(words(items), ['1']);
    fails = false;
    assert.deepEqual(await answer(post(notice, to)), { ackSequence: 1 });
    assert.deepEqual(words(items), ['1', 'terminated revoked']);
    // The answer was lost: the server repeats the notice.
    assert.deepEqual(await answer(post(notice, to)), { ackSequence: 1 });
    assert.deepEqual(words(items), ['1', 'terminated revoked']);
  });

  test('[end-receiver] a termination notice after missing numbers is answered with 2xx, because nothing can be pulled any more', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), to)), { ackSequence: 1 });
    const notice = deliveryOf(4, [], { terminated: { reason: 'failed' }, head: 5 });
    assert.equal((await post(notice, to)).status, 200);
    assert.deepEqual(words(items), ['1', 'terminated failed']);
  });

  test('accepts a signature that a public Standard Webhooks verifier accepts', async () => {
    await using mounted = await mount({ apply: () => undefined });
    const to = await mounted.receiver.register(WHO);
    const signed = request(deliveryOf(0, [1]), to);
    const verified = new Webhook(to.secret).verify(
      await signed.clone().text(),
      Object.fromEntries(signed.headers),
    ) as { method: string };
    assert.equal(verified.method, 'notifications/triggers/delivery');
    assert.deepEqual(await answer(mounted.receiver.fetch(signed)), { ackSequence: 1 });
  });
});

describe('concurrent deliveries', () => {
  test('applies the same delivery once when it arrives twice at the same time', async () => {
    const applied: number[] = [];
    await using mounted = await mount({
      apply: async (item) => {
        await pause(5);
        applied.push(numberOf(item));
      },
    });
    const to = await mounted.receiver.register(WHO);
    const both = await Promise.all(
      [0, 1, 2, 3].map(() => answer(post(deliveryOf(0, [1, 2, 3]), to))),
    );
    assert.deepEqual(both, [
      { ackSequence: 3 },
      { ackSequence: 3 },
      { ackSequence: 3 },
      { ackSequence: 3 },
    ]);
    assert.deepEqual(applied, [1, 2, 3]);
  });

  test('[recv-duplicate, recv-missing] applies any mixture of overlapping deliveries in order and once, and acknowledges nothing unapplied', async () => {
    const range = fc.tuple(fc.nat(12), fc.integer({ min: 0, max: 6 }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(range, { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
        async (rounds) => {
          const applied: number[] = [];
          const receiver = createReceiver({
            endpoint: 'https://hooks.example.com/callback',
            issuer: 'x',
            signingKey,
            apply: async (item) => {
              await Promise.resolve();
              applied.push(numberOf(item));
            },
          });
          const to = await receiver.register(WHO);
          await receiver.accept(WHO, deliveryOf(0, []));
          for (const round of rounds) {
            await Promise.all(
              round.map(async ([after, length]) => {
                const said = await answer(
                  receiver.fetch(
                    request(
                      deliveryOf(
                        after,
                        Array.from({ length }, (_, n) => after + n + 1),
                      ),
                      to,
                    ),
                  ),
                );
                if (typeof said === 'string') assert.equal(said, '503 missing_numbers');
                else
                  assert.ok(
                    (said as { ackSequence: number }).ackSequence === after + length &&
                      applied.length >= after + length,
                  );
              }),
            );
          }
          assert.deepEqual(
            applied,
            applied.map((_, index) => index + 1),
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  test('does not let different keys wait for each other', async () => {
    let release = (): void => undefined;
    const blocked = new Promise<void>((resolve) => {
      release = resolve;
    });
    await using mounted = await mount({
      apply: (_item, { key }) => (key === WHO.key ? blocked : undefined),
    });
    const slow = await mounted.receiver.register(WHO);
    const quick = await mounted.receiver.register({ ...WHO, key: 'quick' });
    const waiting = answer(post(deliveryOf(0, [1]), slow));
    assert.deepEqual(await answer(post({ ...deliveryOf(0, [1]), key: 'quick' }, quick)), {
      ackSequence: 1,
    });
    release();
    assert.deepEqual(await waiting, { ackSequence: 1 });
  });
});

describe('epochs of a log', () => {
  test('[recv-epoch, recv-left-epoch, recv-epoch-repeat] reports a new epoch first, drops its repetitions, and never returns to the old one', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1, 2, 3]), to);
    const epoch = 'epoch-2-bbbbbbbbbbbbbb';
    const renumbered = [
      { ...eventOf(3), sequence: 1 },
      { ...eventOf(9), sequence: 2 },
    ];
    assert.deepEqual(
      await answer(post(deliveryOf(0, [], { epoch, events: renumbered, head: 2 }), to)),
      { ackSequence: 2 },
    );
    assert.deepEqual(words(items), ['1', '2', '3', 'epoch 3→0', '2']);
    assert.equal(await answer(post(deliveryOf(3, [4]), to)), '409 stale');
    assert.equal(
      await answer(post(deliveryOf(5, [6], { epoch: 'epoch-3-cccccccccccccc' }), to)),
      '503 missing_numbers',
      'a new epoch from its middle',
    );
    assert.deepEqual(words(items).slice(5), ['epoch 2→0']);
  });

  test('[rec-tell] reports another subscription under the key as a loss', async () => {
    const { items, apply } = keeper();
    await using mounted = await mount({ apply });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1, 2]), to);
    const next = {
      subscriptionId: 'sub_receiver0000000000000002',
      epoch: 'epoch-2-bbbbbbbbbbbbbb',
    };
    assert.deepEqual(
      await answer(
        post(
          deliveryOf(0, [], { ...next, events: [{ ...eventOf(1), eventId: 'new' }], head: 1 }),
          to,
        ),
      ),
      { ackSequence: 1 },
    );
    assert.deepEqual(words(items), ['1', '2', 'lost replaced at 2', '1']);
  });
});

describe('registration', () => {
  function file(t: TestContext): string {
    const folder = mkdtempSync(join(tmpdir(), 'triggers-receiver-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true }));
    return join(folder, 'ledger.json');
  }

  test('[ack-client-durable] a restarted receiver knows its keys and drops what it has applied', async (t) => {
    const path = file(t);
    const { items, apply } = keeper();
    const first = await mount({ apply, ledger: fileLedger(path) });
    const to = await first.receiver.register(WHO);
    await post(deliveryOf(0, [1, 2, 3]), to);
    const { port } = new URL(first.endpoint);
    await first[Symbol.asyncDispose]();

    await using second = await mount({ apply, ledger: fileLedger(path) }, Number(port));
    assert.deepEqual(await answer(post(deliveryOf(1, [2, 3, 4]), to)), { ackSequence: 4 });
    assert.deepEqual(words(items), ['1', '2', '3', '4']);
    assert.deepEqual(await second.receiver.register(WHO), to, 'the same URL and secret');
  });

  test('[sig-client-secret] the same call returns the same callback; keys, servers and given secrets are kept apart', async () => {
    await using mounted = await mount({ apply: () => undefined });
    const { receiver } = mounted;
    const to = await receiver.register(WHO);
    assert.deepEqual(await receiver.register(WHO), to);
    const others = [
      await receiver.register({ ...WHO, key: 'k2' }),
      await receiver.register({ ...WHO, audience: 'https://two.example/mcp' }),
    ];
    for (const other of others) {
      assert.notEqual(other.url, to.url);
      assert.notEqual(other.secret, to.secret);
    }
    const secret = Secret.generate().reveal();
    assert.equal((await receiver.register({ ...WHO, key: 'k3', secret })).secret, secret);
    await assert.rejects(receiver.register({ ...WHO, key: 'k4', secret: 'whsec_short' }), {
      code: 'secret_malformed',
    });
  });

  test('[curl-renew] mints a new URL after half its lifetime; the old one is valid until it expires', async () => {
    let now = Date.now();
    const clock = { now: () => now, after: () => () => undefined };
    await using mounted = await mount({ apply: () => undefined, tokenTtlMs: 100_000, clock });
    const to = await mounted.receiver.register(WHO);
    assert.ok(to.renewAt > now && to.renewAt < now + 100_000);
    now = to.renewAt + 1;
    const renewed = await mounted.receiver.register(WHO);
    assert.notEqual(renewed.url, to.url);
    assert.equal(renewed.secret, to.secret);
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), { ...to, now })), { ackSequence: 1 });
    now += 60_000;
    assert.equal(await answer(post(deliveryOf(1, [2]), { ...to, now })), '401 token_invalid');
    assert.deepEqual(await answer(post(deliveryOf(1, [2]), { ...renewed, now })), {
      ackSequence: 2,
    });
  });

  test('[sig-any] rotation: the old secret verifies until five minutes after the server has used the new one', async () => {
    let now = Date.now();
    const clock = { now: () => now, after: () => () => undefined };
    await using mounted = await mount({ apply: () => undefined, clock, ledger: memoryLedger() });
    const old = await mounted.receiver.register(WHO);
    const fresh = await mounted.receiver.rotate(WHO);
    assert.notEqual(fresh.secret, old.secret);
    assert.equal(fresh.url, old.url);
    now += 86_400_000; // The server does not know the new secret yet.
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), { ...old, now })), { ackSequence: 1 });
    assert.deepEqual(
      await answer(post(deliveryOf(1, [2]), { ...old, secret: [fresh.secret, old.secret], now })),
      { ackSequence: 2 },
    );
    now += 299_000;
    assert.deepEqual(await answer(post(deliveryOf(2, [3]), { ...old, now })), { ackSequence: 3 });
    now += 2000;
    assert.equal(await answer(post(deliveryOf(3, [4]), { ...old, now })), '401 signature');
    assert.deepEqual(await answer(post(deliveryOf(3, [4]), { ...fresh, now })), { ackSequence: 4 });
    await assert.rejects(mounted.receiver.rotate({ ...WHO, key: 'never registered' }), {
      code: 'config_invalid',
    });
  });

  test('[sig-rotation-receiver] several rotations: the secret that the server uses verifies until five minutes after a later one was used', async () => {
    let now = Date.now();
    const clock = { now: () => now, after: () => () => undefined };
    await using mounted = await mount({ apply: () => undefined, clock });
    const first = await mounted.receiver.register(WHO);
    const second = await mounted.receiver.rotate(WHO);
    const third = await mounted.receiver.rotate(WHO);
    now += 86_400_000;
    // The client never got as far as `triggers/update`.
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), { ...first, now })), { ackSequence: 1 });
    // The server got the second one; the third is still on its way.
    assert.deepEqual(await answer(post(deliveryOf(1, [2]), { ...second, now })), {
      ackSequence: 2,
    });
    now += 299_000;
    assert.deepEqual(await answer(post(deliveryOf(2, [3]), { ...first, now })), { ackSequence: 3 });
    now += 2000;
    assert.equal(await answer(post(deliveryOf(3, [4]), { ...first, now })), '401 signature');
    assert.deepEqual(await answer(post(deliveryOf(3, [4]), { ...second, now })), {
      ackSequence: 4,
    });
    assert.deepEqual(await answer(post(deliveryOf(4, [5]), { ...third, now })), { ackSequence: 5 });
    now += 301_000;
    assert.equal(await answer(post(deliveryOf(5, [6]), { ...second, now })), '401 signature');
    assert.deepEqual(await answer(post(deliveryOf(5, [6]), { ...third, now })), { ackSequence: 6 });
  });

  test('[sig-rotation-receiver] a challenge with the new secret does not end the old one, because the update can still fail', async () => {
    let now = Date.now();
    const clock = { now: () => now, after: () => () => undefined };
    await using mounted = await mount({ apply: () => undefined, clock });
    const old = await mounted.receiver.register(WHO);
    const fresh = await mounted.receiver.rotate(WHO);
    const asked = await post(challengeOf('c'.repeat(32)), { ...fresh, now });
    assert.equal(asked.status, 200);
    now += 86_400_000;
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), { ...old, now })), { ackSequence: 1 });
  });

  test('[sig-rotation-receiver] any number of rotations keeps the secret in use and a bounded number of others', async () => {
    const records: RegistrationRecord[] = [];
    const memory = memoryLedger();
    const ledger: Ledger = {
      ...memory,
      save: async (record) => {
        if (record.kind === 'registration') records.push(record);
        await memory.save(record);
      },
    };
    await using mounted = await mount({ apply: () => undefined, ledger });
    const first = await mounted.receiver.register(WHO);
    let last = first;
    for (let n = 0; n < 40; n += 1) last = await mounted.receiver.rotate(WHO);
    assert.ok(records.at(-1)!.earlierSecrets.length <= 8);
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), first)), { ackSequence: 1 });
    assert.deepEqual(await answer(post(deliveryOf(1, [2]), last)), { ackSequence: 2 });
  });

  test('[sig-rotation-end] revokePrevious ends the earlier secrets at once', async () => {
    await using mounted = await mount({ apply: () => undefined });
    const leaked = await mounted.receiver.register(WHO);
    const fresh = await mounted.receiver.rotate(WHO);
    await mounted.receiver.revokePrevious(WHO);
    assert.equal(await answer(post(deliveryOf(0, [1]), leaked)), '401 signature');
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), fresh)), { ackSequence: 1 });
    await assert.rejects(mounted.receiver.revokePrevious({ ...WHO, key: 'never registered' }), {
      code: 'config_invalid',
    });
  });

  test('[sig-any] a restart does not extend the time for which the old secret verifies', async () => {
    let now = Date.now();
    const clock = { now: () => now, after: () => () => undefined };
    const ledger = memoryLedger();
    const options = { apply: () => undefined, clock, ledger };
    await using before = await mount(options);
    const old = await before.receiver.register(WHO);
    const fresh = await before.receiver.rotate(WHO);
    assert.deepEqual(await answer(post(deliveryOf(0, [1]), { ...fresh, now })), { ackSequence: 1 });
    await before[Symbol.asyncDispose]();
    await using mounted = await mount(options, Number(new URL(before.endpoint).port));
    now += 299_000;
    assert.deepEqual(await answer(post(deliveryOf(1, [2]), { ...old, now })), { ackSequence: 2 });
    now += 2000;
    assert.equal(await answer(post(deliveryOf(2, [3]), { ...old, now })), '401 signature');
    assert.deepEqual(await answer(post(deliveryOf(2, [3]), { ...fresh, now })), { ackSequence: 3 });
    assert.equal(mounted.endpoint, before.endpoint);
  });

  test('rejects a forgotten key', async () => {
    await using mounted = await mount({ apply: () => undefined });
    const to = await mounted.receiver.register(WHO);
    await post(deliveryOf(0, [1]), to);
    await mounted.receiver.forget(WHO);
    assert.equal(await answer(post(deliveryOf(1, [2]), to)), '503 unknown_key_yet');
    assert.equal(await mounted.receiver.position(WHO), null);
  });
});
