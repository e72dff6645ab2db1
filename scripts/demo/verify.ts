/** The checks of the demo: compares what arrived with what was posted. */
import type { Posted } from './github.ts';
import type { Watcher } from './watchers.ts';

export interface Finding {
  readonly ok: boolean;
  /** The checked property, with the figures. */
  readonly text: string;
}

type Followed = Pick<Watcher, 'drain' | 'arrivals' | 'losses'>;

/** Runs the checks. `accepted`: the webhooks to which the server responded with status 202. */
export function verify(accepted: readonly Posted[], watchers: readonly Followed[]): Finding[] {
  const ids = new Set(accepted.map(({ webhook }) => webhook.id));
  const logs = watchers.map(({ arrivals }) => arrivals.map(({ event }) => event));
  const orders = logs.map((events) =>
    events.map(({ sequence, eventId }) => `${sequence} ${eventId}`).join('\n'),
  );
  const exactlyOnce = logs.every(
    (events) =>
      events.length === ids.size &&
      new Set(events.map(({ eventId }) => eventId)).size === ids.size &&
      events.every(({ eventId }) => ids.has(eventId)),
  );
  const contiguous = logs.every((events) =>
    events.every(({ sequence }, at) => sequence === at + 1),
  );
  const losses = watchers.flatMap(({ losses: told }) => told);
  return [
    {
      ok: exactlyOnce,
      text: `${ids.size} webhooks had status 202; each arrived once (${watchers.map(({ drain }, at) => `${drain} ${logs[at]!.length}`).join(', ')})`,
    },
    {
      ok: contiguous,
      text: `sequence numbers 1 to ${ids.size} on every drain: none missing, repeated or out of order`,
    },
    {
      ok: orders.every((order) => order === orders[0]),
      text: 'the same event under each sequence number on all three drains',
    },
    {
      ok: losses.length === 0,
      text:
        losses.length === 0
          ? 'no gap, no new epoch and no loss was reported'
          : `reported losses: ${losses.join(', ')}`,
    },
  ];
}
