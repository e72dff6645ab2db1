/**
 * Prints the items of a `Following`: the mode and its guarantee, every event with its number, and
 * every loss. Also prints every change of the connection, and of a subscription's status.
 */
import { RemoteError } from 'mcp-triggers-experimental/client';
import type {
  FollowGuarantee,
  FollowedEvent,
  Following,
  FollowItem,
  FollowState,
  ModeChange,
} from 'mcp-triggers-experimental/client';
import { callbackState } from './describe.ts';
import type { Printer } from './printer.ts';
import { duration, printable, summary } from './text.ts';

/** Interval between checks of the status, which can change while no events arrive. */
const STATUS_CHECK_MS = 500;

export interface FollowPrinting {
  /** The names of the selections. */
  readonly names: readonly string[];
  /** Events to print and acknowledge before the end. */
  readonly limit: number;
  /** Reads the data of an event with a `dataRef`; undefined = print the reference. */
  readonly dataOf: ((event: FollowedEvent['event']) => Promise<unknown>) | undefined;
}

/** Prints until the following is closed, or until `limit` events were printed and acknowledged. */
export async function follow(
  following: Following,
  printer: Printer,
  { names, limit, dataOf }: FollowPrinting,
): Promise<void> {
  const watching = watchStatus(following, printer);
  try {
    let events = 0;
    for await (const next of following) {
      const item = dataOf === undefined ? next : await withData(next, dataOf);
      printer.result(withoutAck(item), describe(item, names, printer.width));
      if (item.type !== 'event' || ++events < limit) continue;
      await item.ack();
      return;
    }
  } finally {
    clearInterval(watching);
  }
}

/** The item with the data to which it refers. */
async function withData(
  item: FollowItem,
  dataOf: NonNullable<FollowPrinting['dataOf']>,
): Promise<FollowItem> {
  if (item.type !== 'event' || item.event.dataRef === undefined) return item;
  const { dataRef: _, ...event } = item.event;
  try {
    return { ...item, event: { ...event, data: await dataOf(item.event) } };
  } catch (error) {
    // The server no longer has them: the reference is all that is left to print.
    if (error instanceof RemoteError) return item;
    throw error;
  }
}

/** The mode and its drain: `triggers (stream)` or `events.push`. */
const modeText = ({
  mode,
  drain,
}: Pick<FollowGuarantee, 'mode'> & { readonly drain?: string | undefined }): string =>
  drain === undefined ? mode : `${mode} (${drain})`;

const guaranteeText = ({ mode, drain, order, loss, gaps, numbers }: FollowGuarantee): string =>
  `${modeText({ mode, drain })}: order ${order}; loss ${loss}; gaps ${gaps}; numbers ${numbers}`;

function changeLine(
  { selection, reason, to, error }: ModeChange,
  names: readonly string[],
): string {
  const what = printable(selection?.name ?? names.join(', '));
  if (reason === 'chosen') return `${what}, mode ${guaranteeText(to)}`;
  const { name, message } = Object(error) as Partial<Error>;
  const why = message === undefined ? '' : ` (${printable(`${name}: ${message}`)})`;
  return `-- ${reason}: ${what}, mode ${guaranteeText(to)}${why}`;
}

/** Prints the subscription of the mode `triggers`. */
function printSubscription(following: Following, printer: Printer): void {
  const {
    subscription,
    position,
    guarantee: { durability },
  } = following.subscription!;
  const { subscriptionId, key, expiresAt, head, acked } = subscription!;
  printer.result(
    { type: 'subscription', guarantee: following.guarantee, durability, subscription, position },
    `  log: ${acked} of ${head} acknowledged, expires ${expiresAt ?? 'never'}, server storage ${durability}\n  subscription ${subscriptionId}, key ${printable(key)}`,
  );
}

function describe(item: FollowItem, names: readonly string[], width: number): string {
  switch (item.type) {
    case 'event':
      return eventLine(item, width);
    case 'gap':
      return `  GAP   ${item.numbers === undefined ? 'events before this one are missing' : `${item.numbers.from} to ${item.numbers.to} will not be delivered`}: ${item.reason}`;
    case 'mode':
      return changeLine(item, names);
    case 'epoch':
      return `  EPOCH the server lost its log after ${item.previous.sequence}; unacknowledged events come again, numbered from 1 in epoch ${printable(item.current.epoch)}`;
    case 'lost': {
      const missed =
        item.final?.epoch === item.last.epoch
          ? `events ${item.last.sequence + 1} to ${item.final.head} were missed`
          : 'the number of missed events is unknown';
      return `  LOST  the log, read up to ${item.last.sequence}, has ended (${item.reason}): ${missed}`;
    }
  }
}

/** One event. `~` marks a number that the client counted itself, which the server does not know. */
function eventLine(
  {
    number,
    event: { timestamp, name, eventId, data, dataRef },
  }: Extract<FollowItem, { type: 'event' }>,
  width: number,
): string {
  const count = number.by === 'server' ? String(number.sequence) : `~${number.count}`;
  const time = Number.isNaN(Date.parse(timestamp))
    ? ''
    : new Date(timestamp).toISOString().slice(11, 23);
  const start = `${count.padStart(6)}  ${time}  ${printable(name)}  ${printable(eventId)}`;
  // On a narrow terminal the line wraps.
  if (dataRef !== undefined) return `${start}  ${dataRef.bytes} bytes at ${printable(dataRef.uri)}`;
  return `${start}  ${summary(data, Math.max(30, width - start.length - 2))}`;
}

/** The item for JSON: without its method `ack`; an error as its name and message. */
function withoutAck(item: FollowItem): object {
  const {
    ack: _ack,
    error,
    ...rest
  } = item as FollowItem & { readonly ack?: unknown; readonly error?: unknown };
  return error === undefined ? rest : { ...rest, error: briefly(error) };
}

const briefly = (error: unknown): object => {
  const { name, message } = Object(error) as Partial<Error>;
  return { name, message };
};

/**
 * Returns a listener that prints one line per change of the connection. Omits a change that an item
 * has already reported as a change of mode.
 */
export function stateNotices(
  printer: Printer,
  following: () => Following,
): (state: FollowState) => void {
  let interrupted = false;
  let last = '';
  let shown: unknown;
  return (state) => {
    switch (state.phase) {
      case 'waiting': {
        interrupted = true;
        last = '';
        const { message } = Object(state.error) as Partial<Error>;
        const text =
          message === undefined ? 'The server ended the connection.' : printable(message);
        return printer.notice(
          { type: 'state', phase: 'waiting', delayMs: state.delayMs, error: briefly(state.error) },
          `-- ${text} Trying again in ${duration(state.delayMs)}.`,
        );
      }
      case 'following': {
        const { subscription } = following();
        const isNew = subscription?.subscription !== undefined && subscription !== shown;
        if (isNew) {
          shown = subscription;
          printSubscription(following(), printer);
        }
        const now = JSON.stringify(state);
        if (now === last) return;
        last = now;
        if (printer.json || interrupted)
          printer.notice(
            { type: 'state', ...state },
            `-- following${interrupted ? ' again' : ''}, mode ${modeText(state)}`,
          );
        interrupted = false;
        return;
      }
      default:
        return;
    }
  };
}

function watchStatus(following: Following, printer: Printer): NodeJS.Timeout {
  let last: string | undefined;
  return setInterval(() => {
    const subscription = following.subscription?.subscription;
    const state = subscription && callbackState(subscription);
    if (state === last || state === undefined) return;
    if (last !== undefined)
      printer.notice({ type: 'callback', state, before: last }, `-- callback ${last} -> ${state}`);
    last = state;
  }, STATUS_CHECK_MS);
}
