/**
 * Follows one subscription and tells everything about it: what is promised, every event with its number, every loss, and every
 * change of the connection or of the subscription's status.
 */
import type { Event, SubscriptionStatus } from 'mcp-triggers-experimental';
import type { Item, SubscriptionState, TriggersSubscription } from 'mcp-triggers-experimental/client';
import type { Printer } from './printer.ts';
import { duration, printable, summary } from './text.ts';

/** How often the status is looked at: it also changes while no event comes. */
const LOOK_MS = 500;

/** Prints until the subscription is closed, or `limit` events have been printed and acknowledged. Rejects with what ended it. */
export async function follow(subscription: TriggersSubscription, printer: Printer, limit: number): Promise<void> {
  await subscription.ready();
  header(subscription, printer);
  const watching = watchStatus(subscription, printer);
  try {
    let events = 0;
    for await (const item of subscription) {
      printer.result(withoutAck(item), describe(item, printer.width));
      if (item.type !== 'event' || ++events < limit) continue;
      await item.ack();
      return;
    }
  } finally {
    clearInterval(watching);
  }
}

function header(subscription: TriggersSubscription, printer: Printer): void {
  const { order, loss, gaps, drain, durability } = subscription.guarantee;
  const { subscriptionId, key, expiresAt, head, acked, select } = subscription.subscription!;
  printer.result(
    { type: 'subscription', guarantee: subscription.guarantee, subscription: subscription.subscription, position: subscription.position },
    [
      `${select.map(({ name }) => name).join(', ')} by ${drain}, log ${acked} of ${head} acknowledged, expires ${expiresAt ?? 'never'}`,
      `  guarantee: order ${order}; loss ${loss}; gaps ${gaps}; server storage ${durability}`,
      `  ${subscriptionId}, key ${printable(key)}`,
    ].join('\n'),
  );
}

function describe(item: Item, width: number): string {
  switch (item.type) {
    case 'event': return eventLine(item.event, width);
    case 'gap': return `  GAP   ${item.gap.from} to ${item.gap.to} will not be delivered: ${item.gap.reason}`;
    case 'epoch': return `  EPOCH the server lost its log after ${item.previous.sequence}; what was not acknowledged comes again from 1 in epoch ${item.current.epoch}`;
    case 'lost': {
      const missed = item.final?.epoch === item.last.epoch ? `events ${item.last.sequence + 1} to ${item.final.head} were missed` : 'how much was missed is not known';
      return `  LOST  the log read up to ${item.last.sequence} is gone (${item.reason}): ${missed}`;
    }
  }
}

function eventLine({ sequence, timestamp, name, eventId, data }: Event, width: number): string {
  const start = `${String(sequence).padStart(6)}  ${timestamp.slice(11, 23)}  ${name}  ${printable(eventId)}`;
  // A narrow terminal still gets some of the data, on a wrapped line.
  return `${start}  ${summary(data, Math.max(30, width - start.length - 2))}`;
}

/** What a reader of JSON lines gets: the item without its method. */
function withoutAck(item: Item): object {
  const { ack: _ack, ...rest } = item as Item & { readonly ack?: unknown };
  return rest;
}

/** One line per change of the connection. What the header says already is not repeated. */
export function stateNotices(printer: Printer): (state: SubscriptionState) => void {
  let interrupted = false;
  return (state) => {
    switch (state.phase) {
      case 'waiting': {
        interrupted = true;
        const { name, message } = Object(state.error) as Partial<Error>;
        const error = state.error === undefined ? {} : { error: { name, message } };
        const text = message === undefined ? 'The server ended the connection.' : printable(message);
        return printer.notice({ type: 'state', phase: 'waiting', delayMs: state.delayMs, ...error }, `-- ${text} Trying again in ${duration(state.delayMs)}.`);
      }
      case 'draining': {
        const instead = state.fellBackFrom === undefined ? '' : ` instead of ${state.fellBackFrom}`;
        const text = `-- draining${interrupted ? ' again' : ''} by ${state.drain}${instead}`;
        if (printer.json || interrupted || instead !== '') printer.notice({ type: 'state', ...state }, text);
        interrupted = false;
        return;
      }
      default: return;
    }
  };
}

function watchStatus(subscription: TriggersSubscription, printer: Printer): NodeJS.Timeout {
  let last: SubscriptionStatus | undefined = subscription.subscription?.status;
  return setInterval(() => {
    const status = subscription.subscription?.status;
    if (status === last || status === undefined) return;
    printer.notice({ type: 'status', status, before: last }, `-- status ${last} -> ${status}`);
    last = status;
  }, LOOK_MS);
}
