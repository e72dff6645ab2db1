/**
 * What an application is handed, by the client's iterator and by a callback receiver alike: events in order, and every loss
 * that was learnt of (SEP: Applying a delivery, Recovery by the client).
 */
import type {
  Event,
  FinalPosition,
  Gap,
  Position,
  TerminationReason,
} from '../../../spec-schema/draft/schema.ts';

/** One event. `data` is the upstream's word: treat it like the output of a tool. */
export interface EventItem {
  readonly type: 'event';
  readonly event: Event;
  readonly position: Position;
}

/** Numbers that will never be delivered; `position` is the last of them. */
export interface GapItem {
  readonly type: 'gap';
  readonly gap: Gap;
  readonly position: Position;
}

/** The server lost the log after `previous`. Its unacknowledged rest comes again, numbered from 1 in the new epoch. */
export interface EpochItem {
  readonly type: 'epoch';
  readonly previous: Position;
  readonly current: Position;
}

/**
 * The log that was read up to `last` is gone, or ends before it. With `final` in the same epoch the events
 * `last.sequence + 1` to `final.head` were missed; without, nobody knows.
 */
export interface LostItem {
  readonly type: 'lost';
  /** `replaced`: another log has its key. `rewound`: it ends before what it had delivered. `unknown`: no trace of it. */
  readonly reason: TerminationReason | 'replaced' | 'rewound' | 'unknown';
  readonly last: Position;
  readonly final?: FinalPosition;
}

/** The last word on a subscription; a callback receiver gets it as an item, the client's iterator ends with it. */
export interface TerminatedItem {
  readonly type: 'terminated';
  readonly reason: TerminationReason;
  readonly position: Position;
}
