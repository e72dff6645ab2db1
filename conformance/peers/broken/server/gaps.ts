/** Servers that lose numbers, or find them again. */
import type { BrokenServer, Json } from '../proxy.ts';
import { answered, delivered, without } from '../spoils.ts';

const subscriptions = (change: (subscription: Json) => object): BrokenServer['spoil'] =>
  answered(['subscribe', 'update', 'get'], (result) => ({ ...result, ...change(result) }));
const gapReasons = (change: (gap: Json) => Json): BrokenServer['spoil'] =>
  delivered((delivery) =>
    delivery.gaps === undefined ? delivery : { ...delivery, gaps: delivery.gaps.map(change) },
  );
/** An event in the place of a gap of one number. */
const eventFor = ({ from }: Json): Json => ({
  sequence: from,
  eventId: `event-${from}`,
  name: 'conformance.plain',
  timestamp: '2026-01-01T00:00:00.000Z',
  data: { topic: 'any', n: from },
});
/** Tells of gaps with these reasons as events. */
const filled = (delivery: Json, unless: (gap: Json) => boolean): Json => {
  const found = (delivery.gaps ?? []).filter((gap: Json) => gap.from === gap.to && !unless(gap));
  const gaps = (delivery.gaps ?? []).filter((gap: Json) => !found.includes(gap));
  return {
    ...without(delivery, 'gaps'),
    events: [...delivery.events, ...found.map(eventFor)].sort((a, b) => a.sequence - b.sequence),
    ...(gaps.length > 0 ? { gaps } : {}),
  };
};
/** One by one, so that each can be changed. */
const singly = (delivery: Json): Json =>
  delivery.gaps === undefined
    ? delivery
    : {
        ...delivery,
        gaps: delivery.gaps.flatMap(({ from, to, reason }: Json) =>
          Array.from({ length: to - from + 1 }, (_, at) => ({
            from: from + at,
            to: from + at,
            reason,
          })),
        ),
      };
const nothingOf = (reason: string, delivery: Json): Json => {
  const gaps = (delivery.gaps ?? []).filter((gap: Json) => gap.reason !== reason);
  return { ...without(delivery, 'gaps'), ...(gaps.length > 0 ? { gaps } : {}) };
};

export const gaps: readonly BrokenServer[] = [
  {
    check: 'gap-retention-announced',
    wrong: 'trims without a word',
    spoil: delivered((delivery) =>
      delivery.gaps?.[0]?.reason === 'retention'
        ? { ...without(delivery, 'gaps'), after: delivery.gaps[0].to }
        : delivery,
    ),
  },
  {
    check: 'gap-retention-announced',
    wrong: 'names another reason',
    spoil: gapReasons((gap) =>
      gap.reason === 'retention' ? { ...gap, reason: 'abandoned' } : gap,
    ),
  },
  {
    check: 'gap-retention-kept',
    wrong: 'keeps less than it promises',
    spoil: answered(['pull'], (result) =>
      result.after === 0 && result.events[0]?.sequence === 1
        ? {
            ...result,
            gaps: [{ from: 1, to: 1, reason: 'retention' }],
            events: result.events.slice(1),
          }
        : result,
    ),
  },
  { check: 'gap-oldest', wrong: 'always says 1', spoil: subscriptions(() => ({ oldest: 1 })) },
  {
    check: 'gap-oldest',
    wrong: 'says what was trimmed last',
    spoil: subscriptions(({ oldest }) => ({ oldest: Math.max(1, oldest - 1) })),
  },
  {
    check: 'gap-oldest',
    wrong: 'says how much it keeps',
    spoil: subscriptions(({ retention }) => ({ oldest: retention.maxEvents })),
  },
  {
    check: 'gap-effective',
    wrong: 'takes the retention of the type that keeps most',
    spoil: subscriptions(({ retention, select }) => ({
      retention:
        select.length > 1 ? { maxAgeMs: retention.maxAgeMs, maxEvents: 10_000 } : retention,
    })),
  },
  {
    check: 'gap-effective',
    wrong: 'takes the retention of the first type',
    spoil: answered(['subscribe'], (result, { memory }) => {
      memory[result.select[0].name] ??= result.retention;
      return { ...result, retention: memory[result.select[0].name] };
    }),
  },
  {
    check: 'gap-final',
    wrong: 'finds again what it had given up',
    spoil: delivered((delivery, memory, drain) => {
      if (drain !== 'pull' || delivery.gaps === undefined) return delivery;
      return filled(singly(delivery), ({ from }) => {
        const known = memory[`${delivery.subscriptionId} ${from}`] === true;
        memory[`${delivery.subscriptionId} ${from}`] = true;
        return !known;
      });
    }),
  },
  {
    check: 'gap-reasons',
    wrong: 'has reasons of its own',
    spoil: gapReasons((gap) => ({ ...gap, reason: `${gap.reason}_by_server` })),
  },
  {
    check: 'gap-reasons',
    wrong: 'gives no reason',
    spoil: gapReasons(({ from, to }) => ({ from, to })),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'shows whoever streams what was removed',
    spoil: delivered((delivery) => filled(singly(delivery), () => false), ['stream']),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'tells the callback alone what it rejected',
    spoil: delivered((delivery) => nothingOf('rejected', delivery), ['pull']),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'tells the callback nothing of what was removed',
    spoil: delivered((delivery) => nothingOf('redacted', delivery), ['callback']),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'tells nobody who pulls what was given up',
    spoil: delivered((delivery) => nothingOf('abandoned', delivery), ['pull']),
  },
  {
    check: 'gap-too-large',
    wrong: 'delivers what is too large',
    spoil: delivered((delivery) =>
      filled(singly(delivery), ({ reason }) => reason !== 'too_large'),
    ),
  },
  {
    check: 'gap-too-large',
    wrong: 'finds 240 KiB too large',
    spoil: delivered((delivery) => {
      const large = delivery.events.filter(
        (event: Json) => Buffer.byteLength(JSON.stringify(event)) > 240_000,
      );
      return {
        ...delivery,
        events: delivery.events.filter((event: Json) => !large.includes(event)),
        gaps: [
          ...large.map(({ sequence }: Json) => ({
            from: sequence,
            to: sequence,
            reason: 'too_large',
          })),
          ...(delivery.gaps ?? []),
        ],
      };
    }),
  },
];
