/**
 * Kills the server without warning at moments chosen by a seed, while it accepts, numbers and
 * delivers, while a callback endpoint fails now and then and a stream client has to reconnect each
 * time. The invariants are in `kill/delivery-recorder.ts` and at the end of this file.
 *
 * `KILL_SEED=<n>` repeats the choices of a run (not the scheduling of the machine),
 * `KILL_COUNT=<n>` sets the number of kills.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test, type TestContext } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery } from 'mcp-triggers-experimental';
import {
  connect,
  LocalError,
  triggersClient,
  type Item,
  type TriggersClient,
} from 'mcp-triggers-experimental/client';
import { freePort } from '../../scripts/demo/server-process.ts';
import { Wiretap } from '../../scripts/demo/wiretap.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { byTier } from '../tier.ts';
import { FlakyEndpoint } from './kill/endpoint.ts';
import { ServerRuns } from './kill/server-runs.ts';
import { Upstream, type Accepted } from './kill/upstream.ts';
import { DeliveryRecorder } from './kill/delivery-recorder.ts';
import { eventually, temporaryFolder } from './support.ts';

const SEED = Number(process.env['KILL_SEED'] ?? randomInt(2 ** 31));
const KILLS = Number(process.env['KILL_COUNT'] ?? byTier(15, 100));
/**
 * A run of the server is killed after a random number of accepted events below this, or after
 * `RUN_MS_MAX`, and then at most `RUN_MS_MORE` later.
 */
const RUN_EVENTS_MAX = 40;
const RUN_MS_MORE = 20;
const RUN_MS_MAX = 5000;
/** Share of runs that are killed while they open the store, at most `EARLY_MS_MAX` after its start. */
const EARLY_KILL_SHARE = 0.1;
const EARLY_MS_MAX = 60;
const SENDERS = 4;
const SELECT = [{ name: 'thing.happened' }];
const SETTLE_MS = 60_000;
const POSITIONS_MS = 50;

test(
  '[log-durable-accept, log-durable-number, log-durable-ack, log-contiguous, log-stable, log-once, log-no-silent-loss, cb-start, cb-id-range, retry-restart, ack-cumulative, ttl-survives] kills at random moments lose nothing',
  { timeout: 600_000 },
  async (context) => {
    await using folder = await temporaryFolder();
    const random = seededRandom(SEED);
    const recorder = new DeliveryRecorder();
    const port = await freePort();
    const runs = new ServerRuns(folder.path, port);
    const endpoint = await FlakyEndpoint.open(random, recorder);
    const wiretap = new Wiretap((delivery) => recorder.delivery('stream', delivery as Delivery));
    let client: TriggersClient | undefined;
    try {
      await runs.begin();
      await runs.ready();
      client = triggersClient(
        await connect(
          { url: `http://127.0.0.1:${port}/mcp`, fetch: wiretap.fetch },
          { protocol: '2026-07-28' },
        ),
      );
      await run(context, {
        client,
        runs,
        endpoint,
        recorder,
        upstream: new Upstream(`http://127.0.0.1:${port}`),
        random,
      });
    } finally {
      await client?.close();
      await endpoint.close();
      await runs.close();
    }
  },
);

interface Cast {
  readonly client: TriggersClient;
  readonly runs: ServerRuns;
  readonly endpoint: FlakyEndpoint;
  readonly recorder: DeliveryRecorder;
  readonly upstream: Upstream;
  readonly random: { uniform(): number };
}

async function run(
  context: TestContext,
  { client, runs, endpoint, recorder, upstream, random }: Cast,
): Promise<void> {
  const startedAt = performance.now();
  const registration = await endpoint.receiver.register({
    audience: client.connection.server,
    key: 'callback',
  });
  const called = await client.create({
    key: 'callback',
    select: SELECT,
    noExpiry: true,
    callback: { url: registration.url, secret: registration.secret },
  });
  const stream = client.subscribe({
    key: 'stream',
    select: SELECT,
    noExpiry: true,
    drain: 'stream',
    tuning: { backoff: { baseMs: 10, maxMs: 100 } },
  });
  const streamed = await stream.ready();
  const items: Item[] = [];
  const reading = (async () => {
    for await (const item of stream) items.push(item);
  })();
  reading.catch(() => undefined);
  endpoint.flaky = true;

  const readPositions = async (): Promise<{ readonly head: number; readonly acked: number }[]> =>
    Promise.all(
      [
        ['callback', called.subscriptionId],
        ['stream', streamed.subscriptionId],
      ].map(async ([drain, id]) => {
        const got = await client.get(id!);
        recorder.position(drain!, got.acked);
        return got;
      }),
    );

  const killRepeatedly = async (): Promise<void> => {
    for (let kill = 0, early = false; kill < KILLS; kill++) {
      await (early ? sleep(random.uniform() * EARLY_MS_MAX) : workUntilKill(upstream, random));
      await runs.end();
      await endpoint.quiet();
      recorder.run += 1;
      await runs.begin();
      early = random.uniform() < EARLY_KILL_SHARE;
      if (!early) await runs.ready();
    }
    await runs.ready();
  };
  const [enough, stop] = [new AbortController(), new AbortController()];
  const sending = upstream.run(SENDERS, enough.signal, stop.signal);
  const polling = (async () => {
    for (; !enough.signal.aborted; await sleep(POSITIONS_MS)) await readPositions().catch(dead);
  })();
  let answered = false;
  const working = Promise.all([sending, polling]).then(() => {
    answered = true;
  });
  try {
    // A failure in the background ends the test at once.
    await Promise.race([killRepeatedly(), working]);
    enough.abort();
    await eventually('every post is answered', () => answered, SETTLE_MS);
  } finally {
    enough.abort();
    stop.abort();
    await Promise.allSettled([working]);
  }

  const total = upstream.accepted.length;
  await eventually(
    `${total} events acknowledged on both drains`,
    async () =>
      (await readPositions()).every(({ head, acked }) => head === total && acked === total),
    SETTLE_MS,
  );
  await stream.close();
  await reading;

  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  void context.annotate(
    `seed ${SEED}: ${KILLS} kills, ${total} events in ${seconds} s; ${upstream.unanswered} posts unanswered, ${upstream.known} of them had been accepted; callback: ${endpoint.failures} failures, ${recorder.duplicates('callback')} duplicates; stream: ${recorder.duplicates('stream')} duplicates`,
  );
  const repeat = `repeat with KILL_SEED=${SEED}`;
  assert.deepEqual(recorder.broken.slice(0, 20), [], repeat);
  assert.deepEqual(
    [...recorder.unexplained('callback'), ...recorder.unexplained('stream')].slice(0, 20),
    [],
    repeat,
  );
  checkLog('callback', endpoint.applied, upstream.accepted, repeat);
  checkLog('stream', items, upstream.accepted, repeat);
}

/** Resolves when this run of the server has done its random amount of work. */
async function workUntilKill(upstream: Upstream, random: { uniform(): number }): Promise<void> {
  const until = upstream.accepted.length + Math.floor(random.uniform() * RUN_EVENTS_MAX);
  const latest = performance.now() + RUN_MS_MAX;
  while (upstream.accepted.length < until && performance.now() < latest) await sleep(2);
  await sleep(random.uniform() * RUN_MS_MORE);
}

/** A call to a dead server gets no answer; any other failure counts. */
function dead(error: unknown): void {
  if (!(error instanceof LocalError && (error.code === 'unreachable' || error.code === 'timeout')))
    throw error;
}

/**
 * Every accepted event appears once, with numbers 1, 2, 3, and no event overtakes one that was
 * accepted before it was sent.
 */
function checkLog(
  drain: string,
  items: readonly (Item | FlakyEndpoint['applied'][number])[],
  accepted: readonly Accepted[],
  repeat: string,
): void {
  const events = items.flatMap((item) => (item.type === 'event' ? [item.event] : []));
  assert.equal(
    events.length,
    items.length,
    `${drain}: something other than events was reported; ${repeat}`,
  );
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    accepted.map((_, at) => at + 1),
    `${drain}; ${repeat}`,
  );
  const times = new Map(accepted.map((one) => [one.eventId, one]));
  assert.deepEqual(
    new Set(events.map(({ eventId }) => eventId)),
    new Set(times.keys()),
    `${drain}; ${repeat}`,
  );
  let latest = -Infinity;
  for (const { eventId, sequence, data } of events) {
    assert.deepEqual(data, { about: eventId });
    const { from, to } = times.get(eventId)!;
    assert.ok(
      to >= latest,
      `${drain}: number ${sequence} was accepted before an earlier number was even sent; ${repeat}`,
    );
    latest = Math.max(latest, from);
  }
}
