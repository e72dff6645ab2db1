/** Tests of the sliding minute, with random requests of random durations. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { RequestRate } from '../../../src/server/callback/request-rate.ts';
import { manualClock, seededRandom } from '../../../src/testing/index.ts';

const MINUTE = 60_000;

/** Starts requests whenever they are allowed. Returns when each started and ended. */
async function run(seed: number, most: number, longestMs: number) {
  const clock = manualClock();
  const random = seededRandom(seed);
  const rate = new RequestRate(clock);
  const callback = {
    subscriptionId: 'sub',
    url: 'https://a.example/',
    maxPerMinute: most,
    since: clock.now(),
  };
  const made: (readonly [started: number, ended: number])[] = [];
  const begin = clock.now();
  for (let waits = 0; clock.now() - begin < 6 * MINUTE;) {
    const at = rate.heldUntil(callback);
    if (at !== null) {
      // A wait ends at the instant that was named, or gets a later one.
      assert.ok(at > clock.now());
      waits += 1;
      assert.ok(waits <= 2 * made.length + 20, 'each wait lets requests start');
      await clock.run(at - clock.now());
      continue;
    }
    const started = clock.now();
    const ended = rate.start(callback);
    await clock.run(Math.floor(random.uniform() * longestMs));
    ended();
    made.push([started, clock.now()]);
    if (random.uniform() < 0.2) await clock.run(Math.floor((random.uniform() * MINUTE) / most));
  }
  return { made, begin };
}

describe('the rate of requests [cb-limits]', () => {
  for (const most of [1, 2, 7, 60])
    for (let seed = 1; seed <= 5; seed += 1)
      test(`at most ${most} requests are at the endpoint in any minute, seed ${seed}`, async () => {
        const { made, begin } = await run(seed, most, Math.min(8000, MINUTE / most));
        // Each request arrives some time between its start and its end: the next one that the limit
        // delays starts a minute after the end of the one `most` before it.
        for (let at = most; at < made.length; at += 1)
          assert.ok(made[at]![0] - made[at - most]![1] >= MINUTE, `request ${at} starts too early`);
        // The limit is used: as many requests as it allows, apart from their own duration.
        const first = made.filter(([started]) => started - begin < MINUTE);
        assert.equal(first.length, most);
      });

  test('a challenge beside a delivery counts from its start', async () => {
    const clock = manualClock();
    const rate = new RequestRate(clock);
    const of = {
      subscriptionId: 's',
      url: 'https://a.example/',
      maxPerMinute: 2,
      since: clock.now(),
    };
    const [first, second] = [rate.start(of), rate.start(of)];
    assert.equal(rate.heldUntil(of), clock.now() + MINUTE);
    await clock.run(1000);
    first();
    assert.equal(rate.heldUntil(of), clock.now() + MINUTE);
    await clock.run(MINUTE);
    assert.equal(rate.heldUntil(of), null);
    second();
    assert.equal(rate.heldUntil(of), null);
    assert.equal(rate.heldUntil({ ...of, maxPerMinute: 1 }), clock.now() + MINUTE);
    assert.equal(rate.heldUntil({ ...of, maxPerMinute: undefined }), null);
  });

  test('a callback from before the start of the process waits a minute, a later one does not', async () => {
    const clock = manualClock();
    const before = clock.now();
    await clock.run(10);
    const rate = new RequestRate(clock);
    const of = {
      subscriptionId: 's',
      url: 'https://a.example/',
      maxPerMinute: 60_000,
      since: before,
    };
    assert.equal(rate.heldUntil(of), clock.now() + MINUTE);
    assert.equal(rate.heldUntil({ ...of, since: clock.now() }), null);
    await clock.run(MINUTE);
    assert.equal(rate.heldUntil(of), null);
  });

  test('forgets callbacks without a request in the last minute', async () => {
    const clock = manualClock();
    const rate = new RequestRate(clock);
    const start = (name: number) => rate.start({ subscriptionId: `s${name}`, url: 'https://a/' });
    for (let name = 0; name < 100; name += 1) start(name)();
    assert.equal(rate.size, 100);
    await clock.run(MINUTE);
    start(100)();
    assert.equal(rate.size, 1);
  });
});
