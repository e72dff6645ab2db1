/** What the demo claims, checked against what arrived. Pure: counts in, sentences out. */
import type { Posted } from './github.ts';
import type { Watcher } from './watchers.ts';

export interface Finding {
  readonly ok: boolean;
  /** The claim, with its figures. */
  readonly text: string;
}

type Followed = Pick<Watcher, 'drain' | 'arrivals' | 'losses'>;

/** One finding per claim. `accepted`: every webhook that was answered 202. */
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
      text: `${ids.size} webhooks were answered 202; arrived by ${watchers.map(({ drain }, at) => `${drain} ${logs[at]!.length}`).join(', ')}, each once`,
    },
    {
      ok: contiguous,
      text: `numbers 1 to ${ids.size} on every drain, none missing, none twice, none out of order`,
    },
    {
      ok: orders.every((order) => order === orders[0]),
      text: 'number by number the same event on all three',
    },
    {
      ok: losses.length === 0,
      text:
        losses.length === 0
          ? 'no gap, no change of epoch, no loss reported'
          : `reported: ${losses.join(', ')}`,
    },
  ];
}
