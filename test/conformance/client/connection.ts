/** Connections that break: where the client goes on, and how soon it tries (SEP: Recovery by the client). */
import assert from 'node:assert/strict';
import { Cut } from '../kit/client/exchange.ts';
import { clientScenario, type ClientTest } from '../kit/client/scenario.ts';

/** Acknowledgements above this number do not get through. */
function loseAcks(t: ClientTest, above: number): void {
  t.server.behave('triggers/ack', ({ position }, right) => {
    if (position.sequence > above) throw new Cut();
    return right();
  });
  t.server.behave('triggers/pull', ({ ack }, right) => {
    if (ack !== undefined && ack.sequence > above) throw new Cut();
    return right();
  });
}

/** For a message to arrive that is not answered. */
const HEARD_MS = 150;

const resuming = (['stream', 'pull'] as const).map((drain) => clientScenario({
  name: `${drain}: going on after a broken connection`,
  about: 'The client goes on where it is, not where the server believes it to be.',
  checks: ['rec-from-applied'],
  async run(t) {
    const { server } = t;
    await t.drain(drain);
    server.append(3);
    await t.untilAcked(3);
    if (drain === 'stream') {
      await t.check('rec-from-applied', 'it drains from what it has applied, not from the head that it has heard of', async () => {
        const stream = await t.stream();
        server.automatic = false;
        server.log.append(2);
        stream.send(server.log.heartbeat(3));
        await t.pause(HEARD_MS);
        const cutAt = Date.now();
        stream.cut();
        server.automatic = true;
        const { epoch, sequence } = await t.nextDrain(cutAt, 'the client to drain again');
        assert.deepEqual({ epoch, sequence }, { epoch: server.log.epoch, sequence: 3 });
      });
      await t.untilAcked(5);
    }
    const applied = server.log.head;
    // It applies two more, and the server does not hear of it.
    loseAcks(t, applied);
    server.append(2);
    await t.untilAcked(applied + 2);
    const brokenAt = Date.now();
    server.stream?.cut();
    await t.check('rec-from-applied', 'it drains from what it has applied, although the acknowledgement was lost with the connection', async () => {
      const { epoch, sequence } = await t.nextDrain(brokenAt, 'the client to drain again');
      assert.deepEqual({ epoch, sequence }, { epoch: server.log.epoch, sequence: applied + 2 });
    });

    server.up = false;
    server.stream?.cut();
    const away = server.calls.length;
    await t.until('the client to come back', () => server.calls.length > away);
    server.behave('triggers/ack');
    server.behave('triggers/pull');
    server.up = true;
    const upAt = Date.now();
    await t.check('rec-from-applied', 'and when the server was away', async () => {
      const { epoch, sequence } = await t.nextDrain(upAt, 'the client to drain again');
      assert.deepEqual({ epoch, sequence }, { epoch: server.log.epoch, sequence: applied + 2 });
      server.append(1);
      await t.untilAcked(server.log.head);
    });
  },
}));

const BASE_MS = 10;
const ATTEMPTS = 10;
const AWAY_MS = 20_000;
/** Pauses shorter than this are blurred by the time that an attempt itself takes. */
const BLURRED_MS = 100;
/** Pauses that grow by the same factor, within so much of it, were not jittered. */
const SAME_FACTOR = 0.12;

const backoff = clientScenario({
  name: 'connection: the server is away',
  about: 'The server drops every connection for a while, and the times of the attempts are looked at.',
  checks: ['rec-backoff'],
  async run(t) {
    const { server } = t;
    await t.follow({ suggested: { backoffBaseMs: BASE_MS } });
    server.append(1);
    await t.untilAcked(1);
    const before = server.calls.length;
    const awayAt = Date.now();
    server.up = false;
    server.stream?.cut();
    // A program may keep a pull waiting; that breaks, too.
    server.dropConnections();
    await t.check('rec-backoff', 'it tries again, with pauses that grow', async () => {
      await t.until('attempts to reconnect', () => attemptsIn(t, before).length >= ATTEMPTS || Date.now() - awayAt > AWAY_MS, AWAY_MS * 2);
      const pauses = pausesBetween(attemptsIn(t, before));
      assert.ok(attemptsIn(t, before).length > 0, `it has made no attempt in ${AWAY_MS / 1000} s`);
      if (pauses.length < 4) return; // Too few to say more than that it does not hurry.
      const half = pauses.length >> 1;
      const [first, second] = [sum(pauses.slice(0, half)), sum(pauses.slice(-half))];
      assert.ok(second > 2 * first, `its pauses do not grow: ${pauses.map(Math.round).join(', ')} ms`);
    });
    await t.check('rec-backoff', 'the pauses are not the same for every client', () => {
      const pauses = pausesBetween(attemptsIn(t, before)).filter((pause) => pause > BLURRED_MS);
      const factors = pauses.slice(1).map((pause, at) => pause / pauses[at]!);
      if (factors.length < 3) return;
      const spread = (Math.max(...factors) - Math.min(...factors)) / Math.min(...factors);
      assert.ok(spread > SAME_FACTOR, `its pauses grow by the same factor each time, without jitter: ${pauses.map(Math.round).join(', ')} ms`);
    });
  },
});

/** When it tried: the times of the method it tried most often. */
function attemptsIn({ server }: ClientTest, from: number): readonly number[] {
  const times = new Map<string, number[]>();
  for (const { method, at } of server.calls.slice(from)) times.set(method, [...(times.get(method) ?? []), at]);
  return [...times.values()].toSorted((a, b) => b.length - a.length)[0] ?? [];
}

const pausesBetween = (times: readonly number[]): number[] => times.slice(1).map((at, index) => at - times[index]!);
const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);

export const connection = [...resuming, backoff];
