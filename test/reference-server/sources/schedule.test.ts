/** Tests ticks of named schedules, under a clock that the test moves. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import { silentLog, type NewEvent, type NewGap } from 'mcp-triggers-experimental/server';
import { manualClock } from 'mcp-triggers-experimental/testing';
import { scheduleSource } from '../../../reference-server/sources/schedule.ts';
import {
  collector,
  engineFor,
  into,
  logLines,
  pullAll,
  subscribe,
  temporaryFolder,
  until,
} from './support.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const START = Date.UTC(2026, 0, 5, 9, 30, 20);
const everyMinute = { name: 'minute', cron: '* * * * *' };

const dataOf = (events: readonly NewEvent[]): unknown[] => events.map(({ data }) => data);
const tick = (schedule: string, at: number, late = false) => ({
  schedule,
  scheduledAt: new Date(at).toISOString(),
  late,
});

describe('ticks', () => {
  test('come at their times, once each, with an id of schedule and time', async () => {
    const clock = manualClock(START);
    const to = collector();
    const source = scheduleSource({
      schedules: [everyMinute, { name: 'hour', cron: '0 * * * *' }],
      log: silentLog,
      clock,
      catchUpMs: 0,
    });
    await source.start(to.emit);
    await clock.run(31 * MINUTE);
    assert.equal(to.events.length, 32);
    const first = Date.UTC(2026, 0, 5, 9, 31);
    assert.deepEqual(to.events[0], {
      scope: 'schedule',
      name: 'schedule.tick',
      eventId: 'minute:2026-01-05T09:31:00.000Z',
      timestamp: first,
      data: tick('minute', first),
    });
    assert.deepEqual(dataOf(to.events.filter(({ eventId }) => eventId?.startsWith('hour:'))), [
      tick('hour', Date.UTC(2026, 0, 5, 10)),
    ]);
    assert.equal(to.tries, to.events.length);
    await source.stop();
    assert.equal(clock.pending, 0);
    await clock.run(HOUR);
    assert.equal(to.events.length, 32);
  });

  test('follow the wall clock of their time zone through a change to daylight saving time', async () => {
    const clock = manualClock(Date.UTC(2026, 2, 28, 12));
    const to = collector();
    const source = scheduleSource({
      schedules: [{ name: 'noon', cron: '0 12 * * *', timezone: 'Europe/Berlin' }],
      log: silentLog,
      clock,
      catchUpMs: 0,
    });
    await source.start(to.emit);
    await clock.run(48 * HOUR);
    assert.deepEqual(dataOf(to.events), [
      tick('noon', Date.UTC(2026, 2, 29, 10)),
      tick('noon', Date.UTC(2026, 2, 30, 10)),
    ]);
    await source.stop();
  });

  test('come on time after a wait longer than the longest timer', async () => {
    const clock = manualClock(Date.UTC(2026, 0, 1));
    const cut = {
      ...clock,
      after: (ms: number, run: () => void) => clock.after(Math.min(ms, 2 ** 31 - 1), run),
    };
    const to = collector();
    const source = scheduleSource({
      schedules: [{ name: 'yearly', cron: '0 0 24 12 *' }],
      log: silentLog,
      clock: cut,
      catchUpMs: 0,
    });
    await source.start(to.emit);
    await clock.run(365 * 24 * HOUR);
    assert.deepEqual(dataOf(to.events), [tick('yearly', Date.UTC(2026, 11, 24))]);
    await source.stop();
  });

  test('reach a subscriber that follows one schedule or several', async (t) => {
    const clock = manualClock(START);
    const source = scheduleSource({
      schedules: [
        everyMinute,
        { name: 'ten', cron: '*/10 * * * *' },
        { name: 'five', cron: '*/5 * * * *' },
      ],
      log: silentLog,
      clock,
      catchUpMs: 0,
    });
    const engine = await engineFor(t, source, await temporaryFolder(t));
    const [all, one, two] = [
      await subscribe(engine, 'schedule.tick'),
      await subscribe(engine, 'schedule.tick', { schedule: 'ten' }),
      await subscribe(engine, 'schedule.tick', { schedule: ['ten', 'five'] }),
    ];
    await assert.rejects(subscribe(engine, 'schedule.tick', { schedule: 'eleven' }), {
      code: -32602,
    });
    let accepted = 0;
    await source.start(async (event) => {
      const answer = await into(engine)(event);
      if (!('gap' in event)) accepted += 1;
      return answer;
    });
    for (let minute = 0; minute < 20; minute++) {
      await clock.run(MINUTE);
      await until(() => accepted > minute);
    }
    await until(() => accepted === 20 + 2 + 4);
    await source.stop();
    assert.deepEqual(
      await Promise.all([all, one, two].map(async (id) => (await pullAll(engine, id)).length)),
      [26, 2, 6],
    );
  });
});

describe('missed ticks', () => {
  test('only the last missed tick of each schedule is sent after a downtime, marked late', async () => {
    const to = collector();
    const schedules = [
      everyMinute,
      { name: 'hour', cron: '0 * * * *' },
      { name: 'day', cron: '0 0 * * *' },
    ];
    const source = scheduleSource({
      schedules,
      log: silentLog,
      clock: manualClock(START),
      catchUpMs: HOUR,
    });
    await source.start(to.emit);
    assert.deepEqual(dataOf(to.events), [
      tick('minute', Date.UTC(2026, 0, 5, 9, 30), true),
      tick('hour', Date.UTC(2026, 0, 5, 9), true),
    ]);
    await source.stop();
  });

  test('[log-unwatched] a restart repeats no tick, and reports the tick before the last one as a gap only if it was missed', async (t) => {
    const folder = await temporaryFolder(t);
    const clock = manualClock(START);
    const before = scheduleSource({ schedules: [everyMinute], log: silentLog, clock });
    const first = await engineFor(t, before, folder);
    const subscriptionId = await subscribe(first, 'schedule.tick');
    const answers: boolean[] = [];
    const counting = (engine: typeof first) => async (event: NewEvent | NewGap) => {
      const answer = await engine.emit(event);
      answers.push(answer.duplicate);
      return answer;
    };
    await before.start(counting(first));
    clock.advance(MINUTE);
    await until(() => answers.length === 3);
    await before.stop();
    await first.close();

    const after = scheduleSource({ schedules: [everyMinute], log: silentLog, clock });
    const second = await engineFor(t, after, folder);
    await after.start(counting(second));
    await after.stop();
    assert.deepEqual(answers, [false, false, false, true, true]);
    assert.equal((await pullAll(second, subscriptionId)).length, 2);

    // The server is down for three ticks. It emits the last one and reports the others as a gap.
    const later = manualClock(clock.now() + 3 * MINUTE);
    const back = scheduleSource({ schedules: [everyMinute], log: silentLog, clock: later });
    answers.length = 0;
    await back.start(counting(second));
    await back.stop();
    assert.deepEqual(answers, [false, false]);
    await second.settled();
    const { gaps = [] } = (await second.pull(
      { principal: 'local' },
      { subscriptionId },
    )) as Delivery;
    assert.deepEqual(
      gaps.map(({ from, reason }) => [from, reason]),
      [
        [1, 'unwatched'],
        [4, 'unwatched'],
      ],
    );
  });

  test('after a jump of the clock only the last one comes', async () => {
    const clock = manualClock(START);
    const to = collector();
    const source = scheduleSource({
      schedules: [everyMinute],
      log: silentLog,
      clock,
      catchUpMs: 0,
    });
    await source.start(to.emit);
    clock.jump(6 * HOUR);
    await clock.run(2 * MINUTE);
    const jumped = START + 6 * HOUR;
    assert.deepEqual(dataOf(to.events).slice(0, 2), [
      tick('minute', Math.floor((jumped + 40_000) / MINUTE) * MINUTE),
      tick('minute', Math.floor((jumped + 100_000) / MINUTE) * MINUTE),
    ]);
    assert.deepEqual(
      to.gaps.map(({ eventId }) => eventId).at(-1),
      'minute:2026-01-05T09:31:00.000Z',
      'the first tick that the jump passed over',
    );
    await source.stop();
  });

  test('a clock that is set back repeats nothing and continues', async () => {
    const clock = manualClock(START);
    const to = collector();
    const source = scheduleSource({
      schedules: [everyMinute],
      log: silentLog,
      clock,
      catchUpMs: 0,
    });
    await source.start(to.emit);
    await clock.run(MINUTE);
    clock.jump(-30 * MINUTE);
    await clock.run(40 * MINUTE);
    const ids = to.events.map(({ eventId }) => eventId);
    assert.equal(new Set(ids).size, ids.length);
    assert.equal(to.tries, ids.length);
    assert.ok(ids.length >= 9, `${ids.length}`);
    await source.stop();
  });
});

describe('rejections', () => {
  test('a tick that the store rejects is retried while it is recent, then the next one comes', async () => {
    const clock = manualClock(START);
    const to = collector();
    const { log, lines } = logLines();
    const source = scheduleSource({ schedules: [everyMinute], log, clock, catchUpMs: 20_000 });
    await source.start(to.emit);
    const before = to.tries;
    to.refuse = 'store_full';
    await clock.run(MINUTE);
    assert.equal(to.tries - before, 5, 'at once and after 5, 10, 15 and 20 seconds');
    assert.ok(lines.every((line) => line.includes('"schedule":"minute"')));
    to.refuse = null;
    await clock.run(MINUTE);
    assert.deepEqual(dataOf(to.events).at(-1), tick('minute', Date.UTC(2026, 0, 5, 9, 32)));
    assert.equal(to.gaps.at(-1)?.eventId, 'minute:2026-01-05T09:31:00.000Z');
    await source.stop();
  });

  test('a programming error is logged and not retried', async () => {
    const clock = manualClock(START);
    const { log, lines } = logLines();
    let tries = 0;
    const source = scheduleSource({ schedules: [everyMinute], log, clock, catchUpMs: 0 });
    await source.start(() => {
      tries += 1;
      return Promise.reject(new TypeError('bug'));
    });
    await clock.run(2 * MINUTE);
    assert.equal(tries, 5, 'a gap at start, then twice a tick and its gap');
    assert.equal(lines.length, 5);
    await source.stop();
  });

  for (const [what, schedules] of [
    ['no schedule', []],
    ['two schedules with one name', [everyMinute, everyMinute]],
    ['an invalid cron expression', [{ name: 'x', cron: 'often' }]],
    ['too few fields', [{ name: 'x', cron: '* * *' }]],
    ['a day that never comes', [{ name: 'x', cron: '0 0 30 2 *' }]],
    ['an unknown time zone', [{ name: 'x', cron: '0 0 * * *', timezone: 'Mars/Olympus' }]],
  ] as const) {
    test(`${what} is rejected when the source is created`, () => {
      assert.throws(() => scheduleSource({ schedules, log: silentLog }), {
        code: 'config_invalid',
      });
    });
  }
});
