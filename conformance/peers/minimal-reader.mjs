// Applies deliveries by the rules of the SEP (Applying a delivery), for the minimal client and the
// minimal receiver, in plain JavaScript. A broken peer replaces some of the decisions in `READER`.

/** The highest sequence number that a delivery covers. */
export const lastOf = ({ afterSequence, events, gaps = [] }) =>
  Math.max(afterSequence, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0);

/** Former epochs that a reader remembers. */
const LEFT_EPOCHS_MAX = 16;

/** Every decision that a reader can get wrong. */
export const READER = {
  isLeft: (epoch, left) => left.includes(epoch),
  isMissing: ({ afterSequence, acked }, applied) =>
    afterSequence > applied.sequence && afterSequence > acked,
  isDuplicate: (number, applied) => number <= applied.sequence,
  isRepeated: (event, seen) => seen.has(`${event.name}\n${event.eventId}`),
  isRepeatedEnd: ({ terminated }) => terminated !== undefined,
  /** Whether a line is handed to the application. */
  tells: (_line) => true,
};

/**
 * The state of one log at its reader: the applied position, the epochs that the log has left, and the
 * events seen. `tell` receives one line for each item, in order.
 */
export class Reader {
  applied = null;
  left = [];
  seen = new Set();
  ended = false;

  constructor(tell, decisions = READER) {
    this.decisions = decisions;
    this.tell = (line) => {
      if (decisions.tells(line)) tell(line);
    };
  }

  /** Continues in another epoch, before its first event. */
  lose(epoch) {
    this.tell({ applied: 'lost', ...this.applied });
    this.left = [...this.left, this.applied.epoch].slice(-LEFT_EPOCHS_MAX);
    this.applied = { epoch, sequence: 0 };
  }

  /**
   * Applies a delivery. Returns `{ ackSequence }`, or `{ refused }` with `left`, `missing` or `ended` when it
   * applied nothing.
   */
  apply(delivery) {
    const { epoch, afterSequence, events, gaps = [], terminated } = delivery;
    this.applied ??= { epoch, sequence: afterSequence };
    // A repeated notice is accepted, so that the server stops repeating it.
    if (this.ended)
      return this.decisions.isRepeatedEnd(delivery)
        ? { ackSequence: this.applied.sequence }
        : { refused: 'ended' };
    if (epoch !== this.applied.epoch) {
      if (this.decisions.isLeft(epoch, this.left)) return { refused: 'left' };
      this.lose(epoch);
    }
    if (this.decisions.isMissing(delivery, this.applied)) return { refused: 'missing' };
    if (afterSequence > this.applied.sequence) {
      // Another reader of the same owner has acknowledged them.
      this.tell({
        applied: 'elsewhere',
        epoch,
        from: this.applied.sequence + 1,
        to: afterSequence,
      });
      this.applied = { epoch, sequence: afterSequence };
    }
    const parts = [
      ...events.map((event) => ({ from: event.sequence, to: event.sequence, event })),
      ...gaps,
    ].sort((a, b) => a.from - b.from);
    for (const { from, to, reason, event } of parts) {
      if (this.decisions.isDuplicate(to, this.applied)) continue;
      if (event === undefined)
        this.tell({
          applied: 'gap',
          epoch,
          from: Math.max(from, this.applied.sequence + 1),
          to,
          reason,
        });
      else if (this.left.length === 0 || !this.decisions.isRepeated(event, this.seen)) {
        this.tell({ applied: 'event', epoch, sequence: to, eventId: event.eventId });
        this.seen.add(`${event.name}\n${event.eventId}`);
      }
      this.applied = { epoch, sequence: to };
    }
    if (terminated) {
      this.tell({ applied: 'ended', epoch, reason: terminated.reason });
      this.ended = true;
    }
    return { ackSequence: Math.min(this.applied.sequence, lastOf(delivery)) };
  }
}
