/** Servers whose deliveries are malformed or incomplete. */
import type { BrokenServer, Json } from '../proxy.ts';
import { onResult, onDelivery, isDelivery, without } from '../fault-builders.ts';

export const delivery: readonly BrokenServer[] = [
  {
    check: 'dlv-coverage',
    wrong: 'leaves out a sequence number',
    fault: onDelivery(
      (one) => ({ ...one, events: one.events.filter(({ sequence }: Json) => sequence !== 9) }),
      ['stream'],
    ),
  },
  {
    check: 'dlv-coverage',
    wrong: 'reports a sequence number both as gap and event',
    fault: onDelivery(
      (one) =>
        one.events.length > 0 && one.gaps === undefined
          ? {
              ...one,
              gaps: [
                { from: one.events[0].sequence, to: one.events[0].sequence, reason: 'redacted' },
              ],
            }
          : one,
      ['pull'],
    ),
  },
  {
    check: 'dlv-coverage',
    wrong: 'starts every callback delivery at 0',
    fault: onDelivery((one) => ({ ...one, afterSequence: 0 }), ['callback']),
  },
  {
    check: 'dlv-coverage',
    wrong: 'sends the newest event first',
    fault: onDelivery((one) => ({ ...one, events: one.events.toReversed() })),
  },
  {
    check: 'dlv-coverage',
    wrong: 'sends gaps in descending order',
    fault: onDelivery((one) =>
      one.gaps === undefined ? one : { ...one, gaps: one.gaps.toReversed() },
    ),
  },
  {
    check: 'dlv-coverage',
    wrong: 'reports a head below the last event',
    fault: onDelivery((one) => ({
      ...one,
      head: one.events.length > 0 ? one.events.at(-1).sequence - 1 : one.head,
    })),
  },
  {
    check: 'dlv-coverage',
    wrong: 'sends an empty list of gaps on streams',
    fault: onDelivery((one) => ({ gaps: [], ...one }), ['stream']),
  },
  {
    check: 'dlv-coverage',
    wrong: 'sends an empty list of gaps to callbacks',
    fault: onDelivery((one) => ({ gaps: [], ...one }), ['callback']),
  },
  {
    check: 'dlv-coverage',
    wrong: 'sends later events first',
    fault: {
      notification: (message) => {
        const { events = [] } = isDelivery(message) ? message.params : {};
        if (events.length < 2) return message;
        const part = (own: Json[]): Json => ({
          ...message,
          params: { ...message.params, events: own, afterSequence: own[0].sequence - 1 },
        });
        return [part(events.slice(-1)), part(events.slice(0, -1))];
      },
    },
  },
  {
    check: 'dlv-same-object',
    wrong: 'adds a member to events on streams',
    fault: onDelivery(
      (one) => ({ ...one, events: one.events.map((event: Json) => ({ ...event, via: 'stream' })) }),
      ['stream'],
    ),
  },
  {
    check: 'dlv-same-object',
    wrong: 'omits a member of data in callback deliveries',
    fault: onDelivery(
      (one) => ({
        ...one,
        events: one.events.map((event: Json) => ({ ...event, data: without(event.data, 'n') })),
      }),
      ['callback'],
    ),
  },
  {
    check: 'dlv-coverage',
    wrong: 'omits head on streams',
    fault: onDelivery((one) => without(one, 'head'), ['stream']),
  },
  {
    check: 'dlv-coverage',
    wrong: 'omits acked in callback deliveries',
    fault: onDelivery((one) => without(one, 'acked'), ['callback']),
  },
  {
    check: 'dlv-coverage',
    wrong: 'reports the position as head in an empty pull',
    fault: onResult(['pull'], (result) =>
      result.events.length === 0 ? { ...result, head: result.afterSequence } : result,
    ),
  },
  {
    check: 'dlv-coverage',
    wrong: 'reports the initial acked on streams',
    fault: onDelivery(
      (one, memory) => ({ ...one, acked: (memory[one.subscriptionId] ??= one.acked) }),
      ['stream'],
    ),
  },
];
