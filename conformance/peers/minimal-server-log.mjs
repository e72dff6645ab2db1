// One log of the minimal server: appends, trims and reads entries, and checks positions. The log is a
// list in memory of entries `{ event, at, bytes }`, or `{ gap, at }` for a gap. `trimmed` counts the
// entries that were removed before them.
import { lastOf, WireError } from './minimal-server-wire.mjs';

const EVENT_BYTES_MAX = 245_760;
/** The list of gaps is part of the message, so it has a limit. */
const GAPS_MAX = 200;

/** Lead of the server's clock over the system clock, which only tests change, in milliseconds. */
export const clock = { leadMs: 0 };
export const now = () => Date.now() + clock.leadMs;
export const instant = (at = now()) => new Date(at).toISOString();
/** The time of an RFC 3339 instant, in any of its forms; NaN for a date that does not exist. */
export const timeOf = (text) => {
  const upper = text.toUpperCase();
  // A leap second is the first moment of the next minute.
  return upper.includes(':60', 16)
    ? Date.parse(upper.replace(/:60(\.\d+)?/, ':59')) + 1000
    : Date.parse(upper);
};

export const etag = ({ epoch, version }) => `${epoch.slice(0, 8)}-${version}`;

export const head = (sub) => sub.trimmed + sub.entries.length;
export const isEvent = (entry) => entry !== undefined && entry.gap === undefined;
const eventsIn = (sub) => sub.entries.filter(isEvent).length;
/** Appends an entry under the next sequence number; an event that is too large becomes a gap. */
export function append(sub, entry) {
  sub.entries.push(entry.bytes > EVENT_BYTES_MAX ? { gap: 'too_large', at: entry.at } : entry);
  trim(sub);
}

/** Trims entries beyond the retention from the low end. */
export function trim(sub) {
  const { maxAgeMs, maxEvents, maxBytes = Infinity } = sub.retention;
  const old = now() - maxAgeMs;
  let excess = eventsIn(sub) - maxEvents;
  let bytes = sub.entries.reduce((sum, entry) => sum + (isEvent(entry) ? entry.bytes : 0), 0);
  while (sub.entries.length > 0 && (excess > 0 || bytes > maxBytes || sub.entries[0].at < old)) {
    const first = sub.entries.shift();
    if (isEvent(first)) {
      excess -= 1;
      bytes -= first.bytes;
    }
    sub.trimmed += 1;
  }
}

/** The entry of this sequence number; undefined when it was trimmed. */
export const entryAt = (sub, sequence) => sub.entries[sequence - sub.trimmed - 1];

/** Turns this sequence number into a gap. */
export function makeGap(sub, sequence, reason) {
  const entry = entryAt(sub, sequence);
  if (isEvent(entry)) sub.entries[sequence - sub.trimmed - 1] = { gap: reason, at: entry.at };
}

/** A delivery without events, with further members from `more`. */
export const delivery = (sub, after, more = {}) => ({
  subscriptionId: sub.subscriptionId,
  key: sub.key,
  epoch: sub.epoch,
  afterSequence: after,
  events: [],
  head: head(sub),
  acked: sub.acked,
  etag: etag(sub),
  expiresAt: instant(sub.expiresAt),
  ...more,
});

/**
 * The delivery that starts after `after`. Gaps do not count against the limits, and the first event
 * is included whatever its size.
 */
export function read(sub, after, { events: maxEvents, bytes: maxBytes }) {
  trim(sub);
  const events = [];
  const gaps = [];
  const gap = (from, to, reason) => {
    const before = gaps.at(-1);
    if (before?.to === from - 1 && before.reason === reason) before.to = to;
    else gaps.push({ from, to, reason });
  };
  let [sequence, bytes] = [after + 1, 0];
  if (sequence <= sub.trimmed) {
    gap(sequence, sub.trimmed, 'retention');
    sequence = sub.trimmed + 1;
  }
  for (; sequence <= head(sub); sequence += 1) {
    const entry = entryAt(sub, sequence);
    if (!isEvent(entry)) {
      if (gaps.length === GAPS_MAX) break;
      gap(sequence, sequence, entry.gap);
      continue;
    }
    bytes += entry.bytes;
    if (events.length >= maxEvents || (events.length > 0 && bytes > maxBytes)) break;
    events.push({ sequence, ...entry.event });
  }
  const made = delivery(sub, after, { events, ...(gaps.length > 0 ? { gaps } : {}) });
  // A range that starts above `sent` leaves out numbers, which must not become acknowledgeable.
  if (after <= sub.sent) sub.sent = Math.max(sub.sent, lastOf(made));
  return made;
}

/** Throws unless the position belongs to this log. */
export function requirePosition(sub, position) {
  if (position === undefined) return;
  const where = { epoch: sub.epoch, head: head(sub), acked: sub.acked };
  if (position.epoch !== sub.epoch) throw new WireError('Conflict', { kind: 'epoch', ...where });
  if (position.sequence > where.head)
    throw new WireError('Conflict', { kind: 'position', ...where });
}

/** Throws unless this position was sent. */
export function requireSent(sub, position) {
  requirePosition(sub, position);
  if (position?.sequence > sub.sent)
    throw new WireError('Conflict', {
      kind: 'position',
      epoch: sub.epoch,
      head: head(sub),
      acked: sub.acked,
      sent: sub.sent,
    });
}
