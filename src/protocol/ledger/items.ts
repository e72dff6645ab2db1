/**
 * The items that a client's iterator yields and that a callback receiver applies: events in order,
 * and every loss (SEP: Applying a delivery, Recovery by the client).
 */
import type {
  TriggerEvent,
  FinalPosition,
  Gap,
  Position,
  TerminationReason,
} from '../../../spec-schema/draft/schema.ts';

/** One event. `data` comes from the upstream: treat it like the output of a tool. */
export interface EventItem {
  readonly type: 'event';
  readonly event: TriggerEvent;
  readonly position: Position;
}

/** Numbers that will never be delivered; `position` is the last of them. */
export interface GapItem {
  readonly type: 'gap';
  readonly gap: Gap;
  readonly position: Position;
}

/**
 * Numbers that another reader of this subscription has acknowledged, and that this one did not
 * read: `from` to `to`, both included. `position` is the last of them. It happens with several
 * readers that have their own ledgers, and after a ledger was restored from a backup.
 */
export interface ElsewhereItem {
  readonly type: 'elsewhere';
  readonly from: number;
  readonly to: number;
  readonly position: Position;
}

/**
 * The server may have lost the log after `previous`. It delivers the unacknowledged rest again,
 * numbered from 1 in the new epoch.
 */
export interface EpochItem {
  readonly type: 'epoch';
  readonly previous: Position;
  readonly current: Position;
}

/**
 * The log no longer exists, or ends before `last`. With `final` in the same epoch, the events after
 * `last.sequence` up to `final.head` are lost; without it, the extent of the loss is unknown.
 */
export interface LostItem {
  readonly type: 'lost';
  /**
   * `replaced`: another log now has its key. `rewound`: the log ends before a number that it has
   * delivered. `unknown`: the server has no record of it.
   */
  readonly reason: TerminationReason | 'replaced' | 'rewound' | 'unknown';
  readonly last: Position;
  readonly final?: FinalPosition;
}

/**
 * The end of a subscription. A callback receiver gets it as an item; the client's iterator ends
 * instead.
 */
export interface TerminatedItem {
  readonly type: 'terminated';
  readonly reason: TerminationReason;
  readonly position: Position;
}
