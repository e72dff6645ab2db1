/**
 * Tests the callback drain of the client: a receiver in the same process, a server that calls back,
 * one iterator.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'vitest';
import { ProtocolError } from '@modelcontextprotocol/server';
import type { Delivery, SubscribeRequestParams } from '../../spec-schema/draft/schema.ts';
import type { SubscribeOptions, SubscriptionState } from '../../src/client/options.ts';
import { WireError } from '../../src/protocol/wire/errors.ts';
import { memoryLedger } from '../../src/protocol/ledger/ledger.ts';
import { fileLedger } from '../../src/protocol/ledger/file-ledger.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver.ts';
import { mount } from '../receiver/support.ts';
import { callBack, HonestLog, pause, startPeer, type Peer } from './peer.ts';
import { connected, subscribeFast, take, until, within, words } from './support.ts';

/** The answer that the server gets for its delivery, in short form. */
async function said(response: Promise<Response>): Promise<string> {
  const answer = await within(response);
  const body = (await answer.json()) as { ackSequence?: number; code?: string };
  return answer.status === 200 ? `ack ${body.ackSequence}` : `${answer.status} ${body.code}`;
}

/** A peer that verifies a callback at subscribe, as a server must. */
async function callingPeer(): Promise<Peer> {
  const log = new HonestLog();
  const subscribe = log.methods['triggers/subscribe']!;
  log.methods['triggers/subscribe'] = async (params: SubscribeRequestParams, exchange) => {
    if (params.callback && !log.alive) {
      log.params = params;
      const challenge = 'c'.repeat(32);
      const answer = await callBack(log, {
        subscriptionId: log.id,
        key: params.key,
        challenge,
      });
      const proof = answer.ok ? ((await answer.json()) as { challenge?: string }) : {};
      if (proof.challenge !== challenge)
        throw new ProtocolError(-32027, 'challenge', {
          kind: 'callback',
          category: 'challenge_failed',
        });
    }
    return subscribe(params, exchange);
  };
  return startPeer(log);
}

async function calling(
  t: TestContext,
  peer: Peer,
  options: Partial<SubscribeOptions> = {},
  receiving: Partial<ReceiverOptions> = {},
) {
  const mounted = await mount(receiving);
  t.onTestFinished(() => mounted[Symbol.asyncDispose]());
  const states: SubscriptionState[] = [];
  const client = await connected(t, { url: peer.url });
  const opened = subscribeFast(t, client, {
    callback: mounted.receiver,
    onState: (state) => states.push(state),
    ...options,
    // A check of the subscription in the middle of a test would read by pull.
    tuning: { checkMs: 60_000, ...options.tuning },
  });
  const deliver = (delivery: Delivery = peer.log.delivery(peer.log.acked)): Promise<string> =>
    said(callBack(peer.log, delivery));
  return { ...opened, ...mounted, states, deliver };
}

describe('callback drain', () => {
  test('[cbv-not-forwarded] registers, answers the challenge, hands out posted events, and acknowledges them in its answer', async (t) => {
    await using peer = await callingPeer();
    const { subscription, items, states, deliver } = await calling(t, peer);
    await subscription.ready();
    assert.equal(subscription.guarantee.drain, 'callback');
    assert.match(peer.log.params!.callback!.url, /\/callback\?cb=/);
    assert.equal(peer.log.params!.key, subscription.key);

    const first = take(items, 1);
    await until(() => states.at(-1)?.phase === 'draining');
    peer.log.append(3);
    const answered = deliver();
    assert.deepEqual(words(await first), ['1']);
    assert.deepEqual(words(await take(items, 2)), ['2', '3']);
    const more = take(items, 1); // Asking for the next item finishes the third.
    assert.equal(await answered, 'ack 3');
    peer.log.acked = 3;
    peer.log.append(1);
    const next = deliver();
    assert.deepEqual(words(await more), ['4']);
    await subscription.close();
    assert.equal(await next, '503 no_progress', 'the fourth was not finished');
    assert.equal(peer.log.calls.filter(({ method }) => method === 'triggers/ack').length, 0);
  });

  test('answers 503 while the application is busy with an item, acknowledges finished items at the next attempt, and hands out no item twice', async (t) => {
    await using peer = await callingPeer();
    const { items, states, deliver } = await calling(
      t,
      peer,
      { tuning: { checkMs: 60_000 } },
      { answerWithinMs: 80 },
    );
    const first = take(items, 1);
    await until(() => states.at(-1)?.phase === 'draining');
    peer.log.append(2);
    const answers = [await deliver(), await deliver()];
    assert.deepEqual(words(await first), ['1']);
    assert.deepEqual(answers, ['503 no_progress', '503 no_progress']);
    assert.deepEqual(words(await take(items, 1)), ['2']);
    assert.equal(await deliver(), 'ack 1');
    const more = items.next();
    assert.equal(await deliver(), 'ack 2');
    peer.log.append(1);
    const third = deliver(peer.log.delivery(2));
    assert.equal((await within(more)).value?.type, 'event');
    assert.equal(await third, '503 no_progress');
  });

  test('[recv-missing-fetch] pulls missing numbers, and hands out an event only once that comes both ways', async (t) => {
    await using peer = await callingPeer();
    const { items, states, deliver } = await calling(t, peer);
    const read = take(items, 5);
    await until(() => states.at(-1)?.phase === 'draining');
    peer.log.append(5);
    assert.match(await deliver(peer.log.delivery(3)), /^503 /);
    assert.deepEqual(words(await read), ['1', '2', '3', '4', '5']);
    const end = items.next();
    await until(() => peer.log.acked === 5);
    end.catch(() => undefined);
  });

  test('[recv-missing-fetch] pulls what another reader has acknowledged, and then takes the delivery', async (t) => {
    await using peer = await callingPeer();
    const { items, states, deliver } = await calling(t, peer);
    const read = take(items, 5);
    await until(() => states.at(-1)?.phase === 'draining');
    peer.log.append(5);
    peer.log.acked = 3;
    const answered = deliver();
    assert.deepEqual(words(await read), ['1', '2', '3', '4', '5']);
    items.next().catch(() => undefined);
    assert.equal(await answered, 'ack 5');
    assert.deepEqual(
      states.filter(({ phase }) => phase === 'waiting'),
      [],
      'the server has done nothing wrong',
    );
  });

  test('[recv-elsewhere] yields a range instead of what another reader has acknowledged, if the application wants to skip it, and continues there after a restart', async (t) => {
    await using peer = await callingPeer();
    const ledger = memoryLedger();
    const options: Partial<SubscribeOptions> = { acknowledgedElsewhere: 'skip', ledger };
    const { items, states, deliver, subscription } = await calling(t, peer, options);
    const read = take(items, 3);
    await until(() => states.at(-1)?.phase === 'draining');
    peer.log.append(5);
    peer.log.acked = 3;
    const answered = deliver();
    assert.deepEqual(words(await read), ['1-3 elsewhere', '4', '5']);
    items.next().catch(() => undefined);
    assert.equal(await answered, 'ack 5');
    assert.equal(peer.log.calls.filter(({ method }) => method === 'triggers/pull').length, 0);
    await subscription.close();
    const again = await calling(t, peer, options);
    await again.subscription.ready();
    assert.deepEqual(again.subscription.position, { epoch: peer.log.epoch, sequence: 5 });
  });

  test('pulls the log when no callback ever comes', async (t) => {
    await using peer = await callingPeer();
    const { items } = await calling(t, peer, { tuning: { checkMs: 50 } });
    const read = take(items, 3);
    await until(() => peer.log.alive);
    peer.log.append(3);
    assert.deepEqual(words(await read), ['1', '2', '3']);
  });

  test('[ans-gone] registers a detached callback again', async (t) => {
    await using peer = await callingPeer();
    const { items, states } = await calling(t, peer, { tuning: { checkMs: 50 } });
    const read = take(items, 1);
    await until(() => states.at(-1)?.phase === 'draining');
    delete peer.log.params!.callback;
    await until(() => peer.log.params!.callback !== undefined);
    peer.log.append(1);
    assert.deepEqual(words(await read), ['1']);
  });

  test('[deg-say] falls back to the next drain when the server cannot reach the endpoint, and reports it', async (t) => {
    await using peer = await callingPeer();
    peer.log.replaced.set('triggers/subscribe', (params, exchange) => {
      if (params.callback)
        throw new ProtocolError(-32027, 'no', { kind: 'callback', category: 'connection_refused' });
      return peer.log.methods['triggers/subscribe']!(params, exchange);
    });
    peer.log.append(1);
    const { items, states } = await calling(t, peer);
    assert.deepEqual(words(await take(items, 1)), ['1']);
    const { error, ...state } = states.at(-1) as Extract<SubscriptionState, { phase: 'draining' }>;
    assert.deepEqual(state, { phase: 'draining', drain: 'stream', fellBackFrom: 'callback' });
    assert.ok(error instanceof WireError && error.is('CallbackEndpointError'));
  });

  test('[recv-left-epoch] reports a new epoch first and rejects the old one', async (t) => {
    await using peer = await callingPeer();
    const { items, states, deliver } = await calling(t, peer);
    const first = take(items, 2);
    await until(() => states.at(-1)?.phase === 'draining');
    peer.log.append(3);
    const old = peer.log.delivery(0);
    const answered = deliver(old);
    await first;
    const third = take(items, 1);
    assert.deepEqual(words(await third), ['3']);
    const rest = take(items, 2);
    assert.equal(await answered, 'ack 3');
    peer.log.acked = 3;
    peer.log.rotate();
    peer.log.events.push({ ...old.events[0]!, sequence: 1, eventId: 'new' });
    const afterwards = deliver();
    assert.deepEqual(words(await rest), ['epoch 3→0', '1']);
    const end = items.next();
    assert.equal(await afterwards, 'ack 1');
    assert.equal(await deliver(old).then((answer) => answer.slice(0, 3)), '409');
    end.catch(() => undefined);
  });

  test('[curl-renew] replaces the URL before its token expires', async (t) => {
    await using peer = await callingPeer();
    peer.log.renewAfterMs = 3_000_000;
    const { subscription } = await calling(t, peer, {}, { tokenTtlMs: 4000 });
    await subscription.ready();
    const url = peer.log.params!.callback!.url;
    await until(() => peer.log.params!.callback!.url !== url);
    await subscription.close();
  });

  test('a restarted client with both ledgers on disk keeps its URL and log and continues from where it was', async (t) => {
    await using peer = await callingPeer();
    const folder = mkdtempSync(join(tmpdir(), 'triggers-callback-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'ledger.json');
    const ledger = fileLedger(path);
    const first = await calling(t, peer, { ledger }, { ledger });
    const read = take(first.items, 2);
    await until(() => first.states.at(-1)?.phase === 'draining');
    peer.log.append(3);
    const unanswered = first.deliver();
    assert.deepEqual(words(await read), ['1', '2']);
    await first.subscription.close();
    assert.match(await unanswered, /^(ack 1|503)/);
    const { port } = new URL(first.endpoint);
    await first[Symbol.asyncDispose]();

    await pause(50); // The caller notices that its connections are closed.

    const again = fileLedger(path);
    const mounted = await mount({ ledger: again }, Number(port));
    t.onTestFinished(() => mounted[Symbol.asyncDispose]());
    assert.match(
      await said(callBack(peer.log, peer.log.delivery(0))),
      /^503 not_ready/,
      'nobody reads yet',
    );
    const client = await connected(t, { url: peer.url });
    const second = subscribeFast(t, client, { callback: mounted.receiver, ledger: again });
    const rest = take(second.items, 2);
    await until(() => second.subscription.state.phase === 'draining');
    const last = said(callBack(peer.log, peer.log.delivery(0)));
    assert.deepEqual(words(await rest), ['2', '3']);
    await second.subscription.close();
    assert.equal(await last, 'ack 2');
    assert.equal(
      peer.log.calls.filter(({ method }) => method === 'triggers/update').length,
      0,
      'the same URL and secret: nothing to change',
    );
  });
});
