/**
 * A source of named cron schedules. A tick is one moment at which a schedule is due. The event id
 * of a tick is made from the schedule and that moment, so a restart emits no tick twice. After
 * downtime each schedule emits its last missed tick, if it is recent. If earlier ones were missed,
 * logs get a gap of reason `unwatched` with the identity of the last of them: if that tick was
 * emitted after all, the gap is a repetition and appends nothing.
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
import { emitFailure, type Emit, type Source } from './source.ts';

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
  /** Missed ticks that are older than this are dropped, in milliseconds. Default: one hour. */
  readonly catchUpMs?: number;
  readonly clock?: Clock;
}

const HOUR_MS = 3_600_000;
/** A tick that is emitted later than this after it was due has `late: true`. */
const LATE_MS = 5_000;
/** Delay before a rejected tick is emitted again. */
const RETRY_MS = 5_000;
const RETENTION = { maxAgeMs: 7 * 24 * HOUR_MS, maxEvents: 10_000 };

/**
 * Creates the source. Throws `LocalError` `config_invalid` for an invalid schedule, for two schedules
 * with the same name, and for an empty list.
 */
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
      'Schedules are missing or have the same name. Give at least one, each with a name of its own.',
    );

  const name = z.enum(names as [string, ...string[]]);
  const tick = defineTrigger({
    name: 'schedule.tick',
    description: 'A configured schedule is due.',
    input: z.strictObject({
      schedule: z
        .union([name, z.array(name).min(1).max(64)])
        .optional()
        .describe('One or several schedules.'),
    }),
    payload: z.object({
      schedule: z.string(),
      scheduledAt: z.iso.datetime().describe('When the tick was due.'),
      late: z
        .boolean()
        .describe(
          'True if the event was emitted more than five seconds later, for example because the server was down.',
        ),
    }),
    retention: RETENTION,
    history: { maxAgeMs: 24 * HOUR_MS },
    ordering: 'arrival',
  });

  const cancels = new Map<string, () => void>();
  let emit: Emit | null = null;

  /** Sets the timer of a schedule, which has at most one. `at` is in epoch milliseconds. */
  const wait = (plan: Plan, at: number, run: () => void): void => {
    cancels.set(plan.name, clock.after(Math.max(0, at - clock.now()), run, { background: true }));
  };

  /** Sets the timer for the first tick after `after` (epoch milliseconds). */
  const arm = (plan: Plan, after: number): void => {
    const due = plan.cron.nextRun(new Date(after))?.getTime();
    if (due !== undefined) wait(plan, due, () => void onTimer(plan, due));
  };

  const onTimer = async (plan: Plan, due: number): Promise<void> => {
    const now = clock.now();
    // A timer fires early if the clock was set back, or if the delay exceeds the longest timer.
    if (now < due) return wait(plan, due, () => void onTimer(plan, due));
    // A timer may fire so late that more ticks are due. Only the last one is emitted.
    const last = Math.max(due, lastRun(plan.cron, now) ?? due);
    if (last > due) await emitLost(plan, due, () => emitTick(plan, last, now - last > LATE_MS));
    else await emitTick(plan, last, now - last > LATE_MS);
  };

  /** Emits a gap for a tick that was not emitted when it was due, then runs `next`. */
  const emitLost = async (
    plan: Plan,
    due: number,
    next: () => Promise<void> | void,
  ): Promise<void> => {
    const to = emit;
    if (to === null) return;
    const scheduledAt = new Date(due).toISOString();
    try {
      await to({
        scope: 'schedule',
        name: 'schedule.tick',
        eventId: `${plan.name}:${scheduledAt}`,
        gap: 'unwatched',
        arguments: { schedule: plan.name },
      });
    } catch (cause) {
      const again = emitFailure(cause).kind === 'transient';
      log.error(
        { source: 'schedule', schedule: plan.name, scheduledAt, again, err: cause },
        again ? 'gap not accepted; trying again in 5 s' : 'gap not accepted; nobody learns of it',
      );
      if (again && emit === to)
        return wait(plan, clock.now() + RETRY_MS, () => void emitLost(plan, due, next));
    }
    if (emit === to) await next();
  };

  const emitTick = async (plan: Plan, due: number, late: boolean): Promise<void> => {
    const to = emit;
    if (to === null) return;
    const scheduledAt = new Date(due).toISOString();
    try {
      await to(
        tick.event({
          scope: 'schedule',
          eventId: `${plan.name}:${scheduledAt}`,
          timestamp: due,
          data: { schedule: plan.name, scheduledAt, late },
        }),
      );
    } catch (cause) {
      const again =
        emitFailure(cause).kind === 'transient' && clock.now() + RETRY_MS - due <= catchUpMs;
      log.error(
        { source: 'schedule', schedule: plan.name, scheduledAt, again, err: cause },
        again ? 'tick not accepted; trying again in 5 s' : 'tick not accepted; logs get a gap',
      );
      if (emit !== to) return;
      if (again) return wait(plan, clock.now() + RETRY_MS, () => void emitTick(plan, due, late));
      return emitLost(plan, due, () => arm(plan, due));
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
          const [last, before] = lastRuns(plan.cron, now);
          const isRecent = last !== undefined && now - last <= catchUpMs;
          const lost = isRecent ? before : last;
          const next = (): Promise<void> | void =>
            isRecent ? emitTick(plan, last, now - last > LATE_MS) : arm(plan, now);
          // The store forgets the identity of an older tick, and could not tell that it was
          // emitted.
          if (lost !== undefined && now - lost < RETENTION.maxAgeMs - HOUR_MS)
            await emitLost(plan, lost, next);
          else await next();
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
  /** Only calculates times; its own timer is paused. */
  readonly cron: Cron;
}

/** When a schedule was due the last two times, at `now` or before it, in epoch milliseconds. */
const lastRuns = (cron: Cron, now: number): (number | undefined)[] =>
  cron.previousRuns(2, new Date(now + 1)).map((at) => at.getTime());
const lastRun = (cron: Cron, now: number): number | undefined => lastRuns(cron, now)[0];

function cronOf({ name, cron, timezone = 'UTC' }: Schedule, now: number): Cron {
  let parsed: Cron | undefined;
  try {
    parsed = new Cron(cron, { timezone, mode: '5-or-6-parts', paused: true });
    if (parsed.nextRun(new Date(now)) !== null) return parsed;
  } catch (cause) {
    throw new LocalError(
      'config_invalid',
      `The cron expression or the time zone of the schedule "${name}" is not valid. Correct it in TRIGGERS_SCHEDULES: five fields, or six with seconds first.`,
      { cause },
    );
  }
  throw new LocalError(
    'config_invalid',
    `The schedule "${name}" is never due. Correct its cron expression in TRIGGERS_SCHEDULES.`,
  );
}
