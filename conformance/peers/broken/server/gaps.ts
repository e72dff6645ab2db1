/** Servers that lose sequence numbers, or that turn gaps back into events. */
import type { BrokenServer, Json } from '../proxy.ts';
import { onResult, onDelivery, without } from '../fault-builders.ts';

const subscriptions = (change: (subscription: Json) => object): BrokenServer['fault'] =>
  onResult(['subscribe', 'update', 'get'], (result) => ({ ...result, ...change(result) }));
const gapReasons = (change: (gap: Json) => Json): BrokenServer['fault'] =>
  onDelivery((delivery) =>
    delivery.gaps === undefined ? delivery : { ...delivery, gaps: delivery.gaps.map(change) },
  );
/** An event in place of a gap of one sequence number. */
const eventFor = ({ from }: Json): Json => ({
  sequence: from,
  eventId: `event-${from}`,
  name: 'conformance.plain',
  timestamp: '2026-01-01T00:00:00.000Z',
  acceptedAt: '2026-01-01T00:00:00.000Z',
  data: { topic: 'any', n: from },
});
/** Reports gaps of one sequence number as events, except those for which `unless` holds. */
const filled = (delivery: Json, unless: (gap: Json) => boolean): Json => {
  const found = (delivery.gaps ?? []).filter((gap: Json) => gap.from === gap.to && !unless(gap));
  const gaps = (delivery.gaps ?? []).filter((gap: Json) => !found.includes(gap));
  return {
    ...without(delivery, 'gaps'),
    events: [...delivery.events, ...found.map(eventFor)].sort((a, b) => a.sequence - b.sequence),
    ...(gaps.length > 0 ? { gaps } : {}),
  };
};
/** Splits gaps into gaps of one sequence number, so that a fault can change each. */
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
/** Removes the gaps with this reason. */
const nothingOf = (reason: string, delivery: Json): Json => {
  const gaps = (delivery.gaps ?? []).filter((gap: Json) => gap.reason !== reason);
  return { ...without(delivery, 'gaps'), ...(gaps.length > 0 ? { gaps } : {}) };
};

export const gaps: readonly BrokenServer[] = [
  {
    check: 'gap-retention-announced',
    wrong: 'trims the log without a gap',
    fault: onDelivery((delivery) =>
      delivery.gaps?.[0]?.reason === 'retention'
        ? { ...without(delivery, 'gaps'), afterSequence: delivery.gaps[0].to }
        : delivery,
    ),
  },
  {
    check: 'gap-retention-announced',
    wrong: 'reports trimmed events as skipped',
    fault: gapReasons((gap) => (gap.reason === 'retention' ? { ...gap, reason: 'skipped' } : gap)),
  },
  {
    check: 'gap-retention-announced',
    wrong: 'keeps fewer events than announced',
    fault: onResult(['pull'], (result) =>
      result.afterSequence === 0 && result.events[0]?.sequence === 1
        ? {
            ...result,
            gaps: [{ from: 1, to: 1, reason: 'retention' }],
            events: result.events.slice(1),
          }
        : result,
    ),
  },
  {
    check: 'gap-retention-announced',
    wrong: 'keeps fewer bytes than announced',
    fault: onResult(['pull'], (result) => {
      const [first, ...events] = result.events;
      const at = result.gaps?.at(-1);
      return first?.data.pad !== undefined && at?.reason === 'retention'
        ? { ...result, events, gaps: [{ ...at, to: first.sequence }] }
        : result;
    }),
  },
  {
    check: 'gap-oldest',
    wrong: 'always reports 1 as oldest',
    fault: subscriptions(() => ({ oldest: 1 })),
  },
  {
    check: 'gap-oldest',
    wrong: 'reports the last trimmed sequence number as oldest',
    fault: subscriptions(({ oldest }) => ({ oldest: Math.max(1, oldest - 1) })),
  },
  {
    check: 'gap-oldest',
    wrong: 'reports maxEvents as oldest',
    fault: subscriptions(({ retention }) => ({ oldest: retention.maxEvents })),
  },
  {
    check: 'gap-effective',
    wrong: 'reports the longest retention of its types',
    fault: subscriptions(({ retention, select }) => ({
      retention:
        select.length > 1 ? { maxAgeMs: retention.maxAgeMs, maxEvents: 10_000 } : retention,
    })),
  },
  {
    check: 'gap-effective',
    wrong: 'reports the retention of the first subscription',
    fault: onResult(['subscribe'], (result, { memory }) => {
      memory[result.select[0].name] ??= result.retention;
      return { ...result, retention: memory[result.select[0].name] };
    }),
  },
  {
    check: 'gap-final',
    wrong: 'turns a gap back into an event',
    fault: onDelivery((delivery, memory, drain) => {
      if (drain !== 'pull' || delivery.gaps === undefined) return delivery;
      return filled(singly(delivery), ({ from }) => {
        const known = memory[`${delivery.subscriptionId} ${from}`] === true;
        memory[`${delivery.subscriptionId} ${from}`] = true;
        return !known;
      });
    }),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'uses its own gap reasons',
    fault: gapReasons((gap) => ({ ...gap, reason: `${gap.reason}_by_server` })),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'omits the gap reason',
    fault: gapReasons(({ from, to }) => ({ from, to })),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'delivers redacted events on streams',
    fault: onDelivery((delivery) => filled(singly(delivery), () => false), ['stream']),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'reports rejected events to the callback only',
    fault: onDelivery((delivery) => nothingOf('rejected', delivery), ['pull']),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'hides redacted events from the callback',
    fault: onDelivery((delivery) => nothingOf('redacted', delivery), ['callback']),
  },
  {
    check: 'gap-same-everywhere',
    wrong: 'hides skipped events from pulls',
    fault: onDelivery((delivery) => nothingOf('skipped', delivery), ['pull']),
  },
  {
    check: 'gap-too-large',
    wrong: 'delivers events that are too large',
    fault: onDelivery((delivery) =>
      filled(singly(delivery), ({ reason }) => reason !== 'too_large'),
    ),
  },
  {
    check: 'gap-too-large',
    wrong: 'treats 240 KiB as too large',
    fault: onDelivery((delivery) => {
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
