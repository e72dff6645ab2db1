/** Servers whose deliveries are not what they have to be. */
import type { BrokenServer, Json } from '../proxy.ts';
import { answered, delivered, isDelivery, without } from '../spoils.ts';

export const delivery: readonly BrokenServer[] = [
  {
    check: 'dlv-coverage',
    wrong: 'leaves a number out',
    spoil: delivered(
      (one) => ({ ...one, events: one.events.filter(({ sequence }: Json) => sequence !== 9) }),
      ['stream'],
    ),
  },
  {
    check: 'dlv-coverage',
    wrong: 'sends a gap and the event',
    spoil: delivered(
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
    wrong: 'says of each delivery to a callback that it begins at 0',
    spoil: delivered((one) => ({ ...one, after: 0 }), ['callback']),
  },
  {
    check: 'dlv-ascending',
    wrong: 'sends the newest first',
    spoil: delivered((one) => ({ ...one, events: one.events.toReversed() })),
  },
  {
    check: 'dlv-ascending',
    wrong: 'lists gaps backwards',
    spoil: delivered((one) =>
      one.gaps === undefined ? one : { ...one, gaps: one.gaps.toReversed() },
    ),
  },
  {
    check: 'dlv-last-head',
    wrong: 'knows of one number less than it sends',
    spoil: delivered((one) => ({
      ...one,
      head: one.events.length > 0 ? one.events.at(-1).sequence - 1 : one.head,
    })),
  },
  {
    check: 'dlv-no-empty-gaps',
    wrong: 'sends an empty list of gaps',
    spoil: delivered((one) => ({ gaps: [], ...one }), ['stream']),
  },
  {
    check: 'dlv-no-empty-gaps',
    wrong: 'sends an empty list of gaps to callbacks',
    spoil: delivered((one) => ({ gaps: [], ...one }), ['callback']),
  },
  {
    check: 'dlv-order',
    wrong: 'sends the latest first, what was before it afterwards',
    spoil: {
      notification: (message) => {
        const { events = [] } = isDelivery(message) ? message.params : {};
        if (events.length < 2) return message;
        const part = (own: Json[]): Json => ({
          ...message,
          params: { ...message.params, events: own, after: own[0].sequence - 1 },
        });
        return [part(events.slice(-1)), part(events.slice(0, -1))];
      },
    },
  },
  {
    check: 'dlv-same-object',
    wrong: 'says more on streams',
    spoil: delivered(
      (one) => ({ ...one, events: one.events.map((event: Json) => ({ ...event, via: 'stream' })) }),
      ['stream'],
    ),
  },
  {
    check: 'dlv-same-object',
    wrong: 'cuts what it sends to callbacks',
    spoil: delivered(
      (one) => ({
        ...one,
        events: one.events.map((event: Json) => ({ ...event, data: without(event.data, 'n') })),
      }),
      ['callback'],
    ),
  },
  {
    check: 'dlv-head-always',
    wrong: 'does not say on streams where the log is',
    spoil: delivered((one) => without(one, 'head'), ['stream']),
  },
  {
    check: 'dlv-head-always',
    wrong: 'says nothing of acknowledgements to callbacks',
    spoil: delivered((one) => without(one, 'acked'), ['callback']),
  },
  {
    check: 'dlv-head-always',
    wrong: 'says in an empty answer that the log ends there',
    spoil: answered(['pull'], (result) =>
      result.events.length === 0 ? { ...result, head: result.after } : result,
    ),
  },
  {
    check: 'dlv-head-always',
    wrong: 'says on a stream what was acknowledged when it opened',
    spoil: delivered(
      (one, memory) => ({ ...one, acked: (memory[one.subscriptionId] ??= one.acked) }),
      ['stream'],
    ),
  },
  {
    check: 'dlv-challenge-empty',
    wrong: 'sends an event with its challenge',
    spoil: delivered(
      (one) =>
        one.challenge === undefined
          ? one
          : {
              ...one,
              events: [
                {
                  sequence: 1,
                  eventId: 'early',
                  name: 'conformance.plain',
                  timestamp: '2026-01-01T00:00:00.000Z',
                  data: {},
                },
              ],
            },
      ['callback'],
    ),
  },
  {
    check: 'dlv-challenge-empty',
    wrong: 'challenges whoever streams',
    spoil: delivered((one) => ({ challenge: 'AAAAAAAAAAAAAAAAAAAAAA', ...one }), ['stream']),
  },
];
