/** Tests the clock and the randomness for tests. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { manualClock, seededRandom } from '../../src/testing/index.ts';

test('timers run in the order of their times, then of their requests, at their own time', () => {
  const clock = manualClock(1000);
  const ran: [string, number][] = [];
  const at = (delay: number, name: string) =>
    clock.after(delay, () => ran.push([name, clock.now()]));
  at(30, 'late');
  at(10, 'first');
  at(10, 'second');
  clock.advance(9);
  assert.deepEqual(ran, []);
  clock.advance(20);
  assert.deepEqual(ran, [
    ['first', 1010],
    ['second', 1010],
  ]);
  assert.deepEqual([clock.now(), clock.pending, clock.nextIn], [1029, 1, 1]);
  clock.advance(1);
  assert.deepEqual([ran.at(-1), clock.pending, clock.nextIn], [['late', 1030], 0, null]);
});

test('a timer that a timer sets runs in the same advance if it falls due in it', () => {
  const clock = manualClock(0);
  const ran: number[] = [];
  const again = (): void => {
    ran.push(clock.now());
    clock.after(10, again);
  };
  clock.after(10, again);
  clock.advance(35);
  assert.deepEqual([ran, clock.now()], [[10, 20, 30], 35]);
});

test('a canceled timer does not run, whoever cancels it and when', () => {
  const clock = manualClock(0);
  const ran: string[] = [];
  const cancelOther = clock.after(5, () => ran.push('other'));
  clock.after(5, () => ran.push('mine'));
  clock.after(3, cancelOther);
  clock.advance(10);
  cancelOther();
  assert.deepEqual(ran, ['mine']);
});

test('run lets the effects of a timer finish before the next one', async () => {
  const clock = manualClock(0);
  const ran: string[] = [];
  clock.after(
    1,
    () =>
      void (async () => {
        ran.push('start');
        await Promise.resolve();
        await Promise.resolve();
        ran.push('end');
        clock.after(1, () => ran.push('follow-up'));
      })(),
  );
  clock.after(3, () => ran.push('later'));
  await clock.run(3);
  assert.deepEqual([ran, clock.now()], [['start', 'end', 'follow-up', 'later'], 3]);
});

test('jump moves the time but does not run timers', () => {
  const clock = manualClock(1000);
  let ran = false;
  clock.after(10, () => {
    ran = true;
  });
  clock.jump(-500);
  assert.equal(clock.now(), 500);
  clock.jump(5000);
  assert.deepEqual([clock.now(), ran], [5500, false]);
  clock.advance(10);
  assert.deepEqual([clock.now(), ran], [5510, true]);
});

test('one seed gives one run; another seed, another', () => {
  const take = (seed: number) => {
    const random = seededRandom(seed);
    return [...Array.from({ length: 100 }, () => random.uniform()), random.token(16)];
  };
  assert.deepEqual(take(7), take(7));
  assert.notDeepEqual(take(7), take(8));
});

test('seeded randomness is uniform in [0, 1), and tokens have their length', () => {
  const random = seededRandom(1);
  const counts = Array<number>(10).fill(0);
  for (let draw = 0; draw < 10_000; draw += 1) {
    const value = random.uniform();
    assert.ok(value >= 0 && value < 1);
    counts[Math.floor(value * 10)]! += 1;
  }
  assert.ok(
    counts.every((count) => count > 850 && count < 1150),
    counts.join(' '),
  );
  const tokens = Array.from({ length: 100 }, () => random.token(24));
  assert.ok(tokens.every((token) => /^[A-Za-z0-9_-]{32}$/.test(token)));
  assert.equal(new Set(tokens).size, 100);
});
