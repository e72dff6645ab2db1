/**
 * Broken connections: where the client continues, and how soon it retries (SEP: Recovery by the
 * client).
 */
import assert from 'node:assert/strict';
import { DropConnection } from '../../runner/client/exchange.ts';
import { growthOf, jitterOf } from '../../runner/client/backoff.ts';
import { clientScenario, type ClientTest } from '../../runner/client/scenario.ts';

/** Drops the connection of every acknowledgement above this sequence number. */
function loseAcks(t: ClientTest, above: number): void {
  t.server.override('triggers/ack', ({ position }, correct) => {
    if (position.sequence > above) throw new DropConnection();
    return correct();
  });
  t.server.override('triggers/pull', ({ ack }, correct) => {
    if (ack !== undefined && ack.sequence > above) throw new DropConnection();
    return correct();
  });
}

/** Time for a message that has no answer to arrive. */
const HEARD_MS = 150;

const resuming = (['stream', 'pull'] as const).map((drain) =>
  clientScenario({
    name: `${drain}: resuming after a broken connection`,
    about: "The client continues from its own position, not from the server's.",
    checks: ['rec-from-applied'],
    async run(t) {
      const { server } = t;
      await t.drain(drain);
      server.append(3);
      await t.untilAcked(3);
      if (drain === 'stream') {
        await t.check(
          'rec-from-applied',
          'the client drains from its applied position, not from the reported head',
          async () => {
            const stream = await t.stream();
            server.automatic = false;
            server.log.append(2);
            stream.send(server.log.heartbeat(3));
            await t.pause(HEARD_MS);
            const cutAt = Date.now();
            stream.abort();
            server.automatic = true;
            const { epoch, sequence } = await t.nextDrain(cutAt, 'the client to drain again');
            assert.deepEqual({ epoch, sequence }, { epoch: server.log.epoch, sequence: 3 });
          },
        );
        await t.untilAcked(5);
      }
      const applied = server.log.head;
      // The client applies two more events, and their acknowledgement is lost.
      loseAcks(t, applied);
      server.append(2);
      await t.untilAcked(applied + 2);
      const brokenAt = Date.now();
      server.stream?.abort();
      await t.check(
        'rec-from-applied',
        'the client drains from its applied position although its acknowledgement was lost',
        async () => {
          const { epoch, sequence } = await t.nextDrain(brokenAt, 'the client to drain again');
          assert.deepEqual({ epoch, sequence }, { epoch: server.log.epoch, sequence: applied + 2 });
        },
      );

      server.up = false;
      server.stream?.abort();
      const away = server.calls.length;
      await t.until('the client to reconnect', () => server.calls.length > away);
      server.override('triggers/ack');
      server.override('triggers/pull');
      server.up = true;
      const upAt = Date.now();
      await t.check(
        'rec-from-applied',
        'the client drains from its applied position after an outage of the server',
        async () => {
          const { epoch, sequence } = await t.nextDrain(upAt, 'the client to drain again');
          assert.deepEqual({ epoch, sequence }, { epoch: server.log.epoch, sequence: applied + 2 });
          server.append(1);
          await t.untilAcked(server.log.head);
        },
      );
    },
  }),
);

const BASE_MS = 10;
/** Attempts after which the server answers again. */
const ATTEMPTS = 10;
/** Maximum duration of the outage. */
const AWAY_MS = 20_000;

const backoff = clientScenario({
  name: 'connection: an outage of the server',
  about: 'The server drops every connection for a while and records when the client retries.',
  checks: ['rec-backoff'],
  async run(t) {
    await t.follow({ suggested: { backoffBaseMs: BASE_MS } });
    const pauses = await pausesWhileAway(t);
    for (const [what, problemOf] of [
      ['the client retries with growing pauses', growthOf],
      ['the client adds jitter to its pauses', jitterOf],
    ] as const) {
      // Pauses with jitter can look regular by chance, but hardly twice.
      await t.check('rec-backoff', what, async () => {
        const problem = problemOf(pauses) && problemOf(await pausesWhileAway(t));
        if (problem !== null) throw new Error(problem);
      });
    }
  },
});

/**
 * Drops every connection until there were enough attempts, then serves again. Returns the pauses
 * between the attempts, in milliseconds.
 */
async function pausesWhileAway(t: ClientTest): Promise<readonly number[]> {
  const { server } = t;
  server.append(1);
  await t.until('the client to follow', () => t.acked >= server.log.head, t.patienceMs + AWAY_MS);
  const from = server.calls.length;
  const awayAt = Date.now();
  server.up = false;
  server.dropConnections();
  await t.until(
    'attempts to reconnect',
    () => attemptsIn(t, from).length >= ATTEMPTS || Date.now() - awayAt > AWAY_MS,
    AWAY_MS * 2,
  );
  const attempts = attemptsIn(t, from);
  server.up = true;
  if (attempts.length === 0)
    throw new Error(`the client made no attempt to reconnect in ${AWAY_MS / 1000} s`);
  return attempts.slice(1).map((at, index) => at - attempts[index]!);
}

/**
 * The times of the attempts among the requests from index `from` on, in epoch milliseconds. One
 * attempt can send several requests, so only the most frequent method counts.
 */
function attemptsIn({ server }: ClientTest, from: number): readonly number[] {
  const times = new Map<string, number[]>();
  for (const { method, at } of server.calls.slice(from))
    times.set(method, [...(times.get(method) ?? []), at]);
  return [...times.values()].toSorted((a, b) => b.length - a.length)[0] ?? [];
}

export const connection = [...resuming, backoff];
