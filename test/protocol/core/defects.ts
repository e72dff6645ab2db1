/**
 * Deliberate defects, one each, with the small configuration in which the explorer must notice it.
 * They prove that the explorer can find a defect, and they show why each rule exists.
 */
import { advance, receive, type AppliedEntry } from '../../../src/protocol/core/apply.ts';
import type { Input, LogItem, Step, Subscription, step } from '../../../src/protocol/core/index.ts';
import type { Configuration } from './explore.ts';
import type { Defect, Delivery } from './world.ts';

type StepFunction = typeof step;

export interface Mutant {
  readonly name: string;
  readonly configuration: Configuration;
  readonly defect: Defect;
  /**
   * `safety` = a rule is broken on the way; `liveness` = every world is safe but some can never
   * drain.
   */
  readonly caughtBy: 'safety' | 'liveness';
}

/** Changes an input before the real step sees it. */
const input = (change: (input: Input, before: Subscription) => Input): Defect => ({
  step: (real) => (before, one, now) => real(before, change(one, before), now),
});
/** Changes the result of the real step. */
const outcome = (change: (result: Step, input: Input, before: Subscription) => Step): Defect => ({
  step:
    (real: StepFunction): StepFunction =>
    (before, one, now) => {
      const result = real(before, one, now);
      return result.refused === undefined ? change(result, one, before) : result;
    },
});
const patch = (result: Step, change: Partial<Subscription>): Step => ({
  ...result,
  subscription: { ...result.subscription, ...change },
});

/** Everything that a delivery covers, whether or not the receiver already has it. */
function everything({
  epoch,
  events,
  gaps = [],
}: Delivery): AppliedEntry<Delivery['events'][number]>[] {
  const entries: AppliedEntry<Delivery['events'][number]>[] = [
    ...events.map((event) => ({
      type: 'event' as const,
      event,
      position: { epoch, sequence: event.sequence },
    })),
    ...gaps.map((gap) => ({ type: 'gap' as const, gap, position: { epoch, sequence: gap.to } })),
  ];
  return entries.sort((a, b) => a.position.sequence - b.position.sequence);
}

/** A reader that returns what it finds and ignores what is missing. */
const lenient = (
  after: number,
  log: readonly LogItem[],
): ReturnType<NonNullable<Defect['read']>> => {
  const events = log
    .filter(
      (item): item is LogItem & { gap: null; encoded: string } =>
        item.gap === null && item.encoded !== null,
    )
    .slice(0, 1);
  return { events, gaps: [], last: events.at(-1)?.sequence ?? after };
};

const CALLBACK: Configuration = { events: 2, window: 2, crashes: 1 };
const RENEWAL: Configuration = { events: 1, window: 1, crashes: 0, halfLeases: 3 };

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'the acknowledgement is stored when sending',
    configuration: CALLBACK,
    caughtBy: 'safety',
    defect: outcome((result, one) =>
      one.type === 'claim' ? patch(result, { acked: one.to }) : result,
    ),
  },
  {
    name: 'an answer counts for any attempt in flight',
    configuration: { ...CALLBACK, crashes: 0, failover: true },
    caughtBy: 'safety',
    defect: input((one, before) =>
      one.type === 'answer' && before.attempt !== null
        ? { ...one, attempt: before.attempt.id }
        : one,
    ),
  },
  {
    name: 'attempts are numbered from the state of a lagging store',
    configuration: { ...CALLBACK, crashes: 0, failover: true },
    caughtBy: 'safety',
    defect: outcome((result, one, before) =>
      one.type === 'rotate' ? patch(result, { attempts: before.attempts }) : result,
    ),
  },
  {
    name: 'retention trims without a gap',
    configuration: { ...CALLBACK, crashes: 0, trims: true },
    caughtBy: 'liveness',
    defect: {
      ...outcome((result, one, before) =>
        one.type === 'trim'
          ? {
              ...patch(result, { floor: before.floor }),
              effects: [{ type: 'trim', upTo: one.upTo }],
            }
          : result,
      ),
      read: lenient,
    },
  },
  {
    name: 'the receiver applies again what it has',
    configuration: CALLBACK,
    caughtBy: 'safety',
    defect: {
      receive: (cursor, delivery) => {
        const received = receive(cursor, delivery);
        return received.kind === 'apply'
          ? { kind: 'apply', entries: everything(delivery) }
          : received;
      },
    },
  },
  {
    name: 'the receiver applies what follows a missing number',
    configuration: { events: 2, window: 2, crashes: 0, stream: true },
    caughtBy: 'safety',
    defect: {
      receive: (cursor, delivery) => {
        const received = receive(cursor, delivery);
        return received.kind === 'hole'
          ? receive(advance(cursor, delivery.afterSequence), delivery)
          : received;
      },
    },
  },
  {
    name: 'the receiver returns to an epoch that it has left',
    configuration: { events: 2, window: 1, crashes: 0, failover: true },
    caughtBy: 'safety',
    defect: { receive: (cursor, delivery) => receive({ ...cursor, past: [] }, delivery) },
  },
  {
    name: 'the receiver refuses what follows numbers that another reader has acknowledged',
    configuration: { ...CALLBACK, crashes: 0, pulls: 1 },
    caughtBy: 'liveness',
    defect: { receive: (cursor, delivery) => receive(cursor, { ...delivery, acked: 0 }) },
  },
  {
    name: 'the receiver takes every missing number for acknowledged by another reader',
    configuration: { events: 2, window: 2, crashes: 0, stream: true },
    caughtBy: 'safety',
    defect: {
      receive: (cursor, delivery) =>
        receive(cursor, { ...delivery, acked: delivery.afterSequence }),
    },
  },
  {
    name: 'a number is used again after a crash',
    configuration: CALLBACK,
    caughtBy: 'safety',
    defect: outcome((result, one, before) =>
      one.type === 'recover' && before.sent > before.acked
        ? patch(result, { head: before.head - 1, sent: Math.min(before.sent, before.head - 1) })
        : result,
    ),
  },
  {
    name: 'more is acknowledged than was sent',
    configuration: { ...CALLBACK, confused: true },
    caughtBy: 'safety',
    defect: {
      step: (real) => (before, one, now) =>
        real(one.type === 'ack' ? { ...before, sent: before.head } : before, one, now),
    },
  },
  {
    name: 'a range that was read ahead makes the numbers before it acknowledgeable',
    configuration: { events: 2, window: 2, crashes: 0, stream: true, jumps: true },
    caughtBy: 'safety',
    defect: input((one) => (one.type === 'drain' ? { ...one, after: 0 } : one)),
  },
  {
    name: 'an answer acknowledges more than its delivery carried',
    configuration: { ...CALLBACK, confused: true },
    caughtBy: 'safety',
    defect: {
      step: (real) => (before, one, now) =>
        real(
          one.type === 'answer' && before.attempt !== null
            ? { ...before, attempt: { ...before.attempt, to: before.head } }
            : before,
          one,
          now,
        ),
    },
  },
  {
    name: 'an acknowledgement of another epoch counts',
    configuration: { events: 1, window: 1, crashes: 0, stream: true, failover: true },
    caughtBy: 'safety',
    defect: input((one, before) =>
      one.type === 'ack' ? { ...one, position: { ...one.position, epoch: before.epoch } } : one,
    ),
  },
  {
    name: 'the epoch stays when the store lost writes',
    configuration: { ...CALLBACK, crashes: 0, failover: true },
    caughtBy: 'safety',
    defect: {
      step: (real) => (before, one, now) =>
        real(before, one.type === 'rotate' ? { type: 'recover' } : one, now),
    },
  },
  {
    name: 'giving up on an event acknowledges it',
    configuration: { ...CALLBACK, crashes: 0, skip: true },
    caughtBy: 'safety',
    defect: outcome((result) => {
      const gap = result.effects.find((effect) => effect.type === 'gap');
      return gap === undefined ? result : patch(result, { acked: gap.to });
    }),
  },
  {
    name: 'giving up on an event deletes it',
    configuration: { ...CALLBACK, crashes: 0, skip: true },
    caughtBy: 'liveness',
    defect: {
      ...outcome((result) => ({
        ...result,
        effects: result.effects.map((effect) =>
          effect.type === 'gap' ? { type: 'trim', upTo: effect.to } : effect,
        ),
      })),
      read: lenient,
    },
  },
  {
    name: 'a lost attempt keeps its lease forever',
    configuration: { ...CALLBACK, losses: true },
    caughtBy: 'liveness',
    defect: outcome((result, one, before) =>
      one.type === 'tick' || one.type === 'recover'
        ? patch(result, { attempt: before.attempt })
        : result,
    ),
  },
  {
    name: 'a renewal is refused while the callback is suspended',
    configuration: RENEWAL,
    caughtBy: 'safety',
    defect: {
      step: (real) => (before, one, now) =>
        one.type === 'configure' && before.suspendedAt !== null
          ? { subscription: before, effects: [], refused: { kind: 'not_deliverable' } }
          : real(before, one, now),
    },
  },
  {
    name: 'a renewal resumes a suspended callback',
    configuration: RENEWAL,
    caughtBy: 'safety',
    defect: input((one) =>
      one.type === 'configure' ? { ...one, change: { ...one.change, resume: true } } : one,
    ),
  },
  {
    name: 'a suspension stops the lifetime',
    configuration: RENEWAL,
    caughtBy: 'safety',
    defect: {
      step: (real) => (before, one, now) =>
        one.type === 'tick' && before.suspendedAt !== null
          ? { subscription: before, effects: [] }
          : real(before, one, now),
    },
  },
  {
    name: 'events that are published during a suspension get no number',
    configuration: { ...RENEWAL, events: 2 },
    caughtBy: 'safety',
    defect: {
      step: (real) => (before, one, now) =>
        one.type === 'append' && before.suspendedAt !== null
          ? { subscription: before, effects: [] }
          : real(before, one, now),
    },
  },
  {
    name: 'the proof of a suspended endpoint does not resume it',
    configuration: RENEWAL,
    caughtBy: 'liveness',
    defect: input((one) => (one.type === 'verified' ? { ...one, ok: false } : one)),
  },
];
