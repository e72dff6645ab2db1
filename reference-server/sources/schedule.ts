/**
 * Events of the clock: named cron schedules. A tick is identified by its schedule and the instant it was due, so that a restart
 * repeats none. Of the ticks missed while the server was down, each schedule makes up for the last one, if it is recent.
 */
import { Cron } from 'croner';
import {
  defineTrigger,
  LocalError,
  systemClock,
  type Clock,
  type Log,
} from 'mcp-triggers-experimental/server';
import { z } from 'zod';
import type { Emit, Source } from '../source.ts';
import { readRefusal } from './refusals.ts';

export interface Schedule {
  readonly name: string;
  /** Five fields, or six with seconds first. */
  readonly cron: string;
  /** IANA name; default: UTC. */
  readonly timezone?: string;
}

export interface ScheduleSourceOptions {
  readonly schedules: readonly Schedule[];
  readonly log: Log;
  /** A tick missed longer ago than this is let go. Default: one hour. */
  readonly catchUpMs?: number;
  readonly clock?: Clock;
}

const HOUR_MS = 3_600_000;
/** A tick that comes later than this after it was due says so. */
const LATE_MS = 5_000;
/** A tick that could not be stored is tried again after this long, while it is recent. */
const RETRY_MS = 5_000;
const RETENTION = { maxAgeMs: 7 * 24 * HOUR_MS, maxEvents: 10_000 };

/** Throws `LocalError` `config_invalid` for a schedule that never comes, or two of one name. */
export function scheduleSource({
  schedules,
  log,
  catchUpMs = HOUR_MS,
  clock = systemClock,
}: ScheduleSourceOptions): Source {
  const plans = schedules.map((schedule) => ({
    name: schedule.name,
    cron: cronOf(schedule, clock.now()),
  }));
  const names = plans.map(({ name }) => name);
  if (names.length === 0 || new Set(names).size < names.length)
    throw new LocalError(
      'config_invalid',
      'Schedules must have names of their own, and there must be one at least.',
    );

  const name = z.enum(names as [string, ...string[]]);
  const tick = defineTrigger({
    name: 'schedule.tick',
    description: 'A configured schedule came due.',
    input: z.strictObject({
      schedule: z
        .union([name, z.array(name).min(1).max(64)])
        .optional()
        .describe('Which schedules: one or several.'),
    }),
    payload: z.object({
      schedule: z.string(),
      scheduledAt: z.iso.datetime().describe('When it was due.'),
      late: z
        .boolean()
        .describe(
          'True if it came more than five seconds after that, for example because the server was down.',
        ),
    }),
    retention: RETENTION,
    history: { maxAgeMs: 24 * HOUR_MS },
    ordering: 'arrival',
  });

  const cancels = new Map<string, () => void>();
  let emit: Emit | null = null;

  /** One timer per schedule: either for its next tick or for another try at the last one. */
  const wait = (plan: Plan, at: number, run: () => void): void => {
    cancels.set(plan.name, clock.after(Math.max(0, at - clock.now()), run, { background: true }));
  };

  /** Waits for the first tick after `after`. */
  const arm = (plan: Plan, after: number): void => {
    const due = plan.cron.nextRun(new Date(after))?.getTime();
    if (due !== undefined) wait(plan, due, () => void comeDue(plan, due));
  };

  const comeDue = async (plan: Plan, due: number): Promise<void> => {
    const now = clock.now();
    // A timer can fire early: very long ones are cut, and the wall clock can be set back.
    if (now < due) return wait(plan, due, () => void comeDue(plan, due));
    // And late, with other ticks missed in between: only the last one counts.
    const last = Math.max(due, lastRun(plan.cron, now) ?? due);
    await settle(plan, last, now - last > LATE_MS);
  };

  const settle = async (plan: Plan, due: number, late: boolean): Promise<void> => {
    const to = emit;
    if (to === null) return;
    const scheduledAt = new Date(due).toISOString();
    try {
      await to(
        tick.event({
          eventId: `${plan.name}:${scheduledAt}`,
          timestamp: due,
          data: { schedule: plan.name, scheduledAt, late },
        }),
      );
    } catch (cause) {
      const again =
        readRefusal(cause).verdict === 'later' && clock.now() + RETRY_MS - due <= catchUpMs;
      log.error(
        { source: 'schedule', schedule: plan.name, scheduledAt, again, err: cause },
        'a tick was not accepted',
      );
      if (again && emit === to)
        return wait(plan, clock.now() + RETRY_MS, () => void settle(plan, due, late));
    }
    if (emit === to) arm(plan, due);
  };

  return {
    triggers: [tick],
    async start(to) {
      emit = to;
      const now = clock.now();
      await Promise.all(
        plans.map(async (plan) => {
          const last = lastRun(plan.cron, now);
          if (last !== undefined && now - last <= catchUpMs)
            await settle(plan, last, now - last > LATE_MS);
          else arm(plan, now);
        }),
      );
    },
    stop() {
      emit = null;
      for (const cancel of cancels.values()) cancel();
      cancels.clear();
    },
  };
}

interface Plan {
  readonly name: string;
  /** Used as a calculator only; it has no timer of its own. */
  readonly cron: Cron;
}

/** When it last came due, `now` included. */
const lastRun = (cron: Cron, now: number): number | undefined =>
  cron.previousRuns(1, new Date(now + 1))[0]?.getTime();

function cronOf({ name, cron, timezone = 'UTC' }: Schedule, now: number): Cron {
  let parsed: Cron | undefined;
  try {
    parsed = new Cron(cron, { timezone, mode: '5-or-6-parts', paused: true });
    if (parsed.nextRun(new Date(now)) !== null) return parsed;
  } catch (cause) {
    throw new LocalError(
      'config_invalid',
      `Schedule "${name}": the cron expression or the time zone is not valid.`,
      { cause },
    );
  }
  throw new LocalError('config_invalid', `Schedule "${name}" never comes due.`);
}
