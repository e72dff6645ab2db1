/**
 * The types of `follow`: what an application follows, what it gets whatever the server can do, and
 * what a mode is. The list of modes is in `mode-table.ts` (SEP: When a peer lacks the extension).
 */
import type {
  Drain,
  GapReason,
  OnFailure,
  Selection,
  StreamWindow,
} from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { EpochItem, LostItem } from '../../protocol/ledger/items.ts';
import type { Ledger } from '../../protocol/ledger/ledger.ts';
import type { CallbackEndpoint } from '../options.ts';
import type { BackoffOptions } from '../recovery.ts';
import type { Connection } from '../sdk/connection.ts';
import type { ModeName } from './mode-table.ts';

/** The guarantee for one selection (SEP: When a peer lacks the extension). */
export interface FollowGuarantee {
  readonly mode: ModeName;
  /** In the mode `triggers`. */
  readonly drain?: Drain;
  /**
   * `total`: as numbered by the server. `sent`: as sent by the server; webhooks may still reorder.
   * `observed`: as read by the client.
   */
  readonly order: 'total' | 'sent' | 'observed';
  /**
   * `none silent`: every loss is reported. `flagged`: the server reports that something is missing,
   * but not what. `undetected`: what is lost while the connection is down is never known.
   * `latest state only`: every state between two reads is lost.
   */
  readonly loss: 'none silent' | 'flagged' | 'undetected' | 'latest state only';
  /** `exact`: each gap names its numbers. `flag`: there is a gap somewhere before this point. */
  readonly gaps: 'exact' | 'flag' | 'none';
  /** The side that numbers the events. */
  readonly numbers: 'server' | 'client';
}

/**
 * The number of an event. A number by the client counts the events since the loop began: it is not
 * a sequence of this extension, means nothing to a server, and starts again with the process.
 */
export type ItemNumber =
  | {
      readonly by: 'server';
      readonly subscriptionId: string;
      readonly epoch: string;
      readonly sequence: number;
    }
  | { readonly by: 'client'; readonly count: number };

/** A number that the server assigned. */
export type ServerNumber = Extract<ItemNumber, { by: 'server' }>;

/** An event, by whichever mode it came. */
export interface FollowedEvent {
  readonly type: 'event';
  readonly mode: ModeName;
  /** The selection that it belongs to; undefined where one log of `triggers` has all selections. */
  readonly selection?: Selection;
  readonly number: ItemNumber;
  readonly event: {
    /** The server's identifier; in the modes below `events/*` a hash of the state that was read. */
    readonly eventId: string;
    /**
     * The trigger type; below `events/*` `mcp.resource.updated`, `mcp.tools.list_changed`, … or
     * `mcp.tool.result`.
     */
    readonly name: string;
    /** When it happened; below `events/*` when it was read. */
    readonly timestamp: string;
    /**
     * Below `events/*`: `{ uri, contents }` of a resource, `{ items }` of a list, or
     * `{ tool, result }`.
     */
    readonly data: unknown;
  };
  /**
   * Finishes this item and all before it. In modes without acknowledgement the cursor, or the hash
   * of the state, is saved in the ledger.
   */
  ack(): Promise<void>;
}

/** Something is missing here. */
export interface FollowedGap {
  readonly type: 'gap';
  readonly mode: ModeName;
  readonly selection?: Selection;
  /**
   * The server's reason, or: `truncated` the server reports that something is missing; `missing`
   * its numbers show it; `unwatched` the client was not watching for a while.
   */
  readonly reason: GapReason | 'truncated' | 'missing' | 'unwatched';
  /** The missing numbers of the server, where they are known. */
  readonly numbers?: {
    readonly subscriptionId: string;
    readonly epoch: string;
    readonly from: number;
    readonly to: number;
  };
  /** As of an event. */
  ack(): Promise<void>;
}

/** The guarantee has changed: another mode, another drain, or a stream that was refused. */
export interface ModeChange {
  readonly type: 'mode';
  readonly selection?: Selection;
  /** Undefined at the start. */
  readonly from?: FollowGuarantee;
  readonly to: FollowGuarantee;
  /**
   * `upgraded`, `downgraded`: the server's offer has changed. `refused`: the better mode was tried
   * and did not work; see `error`.
   */
  readonly reason: 'chosen' | 'upgraded' | 'downgraded' | 'refused';
  readonly error?: unknown;
}

/** One value of the iterator. */
export type FollowItem = FollowedEvent | FollowedGap | ModeChange | EpochItem | LostItem;

/** The resource or tool to read where the server does not have the trigger type. */
export interface Otherwise {
  /** The URI of a resource: a change of its content is an event. */
  readonly resource?: string;
  /**
   * A tool: a change of its result is an event. It is called at intervals, so it must change
   * nothing.
   */
  readonly tool?: { readonly name: string; readonly arguments?: Readonly<Record<string, unknown>> };
}

/** Options of `follow`. */
export interface FollowOptions {
  /**
   * 1 to 64 selections. `mcp.resource.updated` with `{ uri }`, `mcp.tools.list_changed`,
   * `mcp.prompts.list_changed` and `mcp.resources.list_changed` work on every MCP server.
   */
  readonly select: readonly Selection[];
  /** By name of a selection: what to read where the server does not have that trigger type. */
  readonly otherwise?: Readonly<Record<string, Otherwise>>;
  /** The modes to use. Default: all. */
  readonly modes?: readonly ModeName[];
  /** Needed for callbacks and webhooks. */
  readonly callback?: CallbackEndpoint;
  /** Remembers positions, cursors and hashes across restarts. Default: memory. */
  readonly ledger?: Ledger;
  /** `auto`: asking for the next item acknowledges the last one. Default `auto`. */
  readonly ack?: 'auto' | 'manual';
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal;
  /** Options of the mode `triggers`. */
  readonly triggers?: TriggersModeOptions;
  /** Called at every change of state. Must not throw. */
  readonly onState?: (state: FollowState, selection: Selection | undefined) => void;
  readonly tuning?: FollowTuning;
}

/** As in `SubscribeOptions`, for a server that has the extension. */
export interface TriggersModeOptions {
  readonly key?: string;
  readonly ttlMs?: number | null;
  readonly since?: string;
  readonly onFailure?: OnFailure;
  readonly drain?: 'auto' | Drain;
  readonly window?: StreamWindow;
}

/** The state of a selection, for a status line or a log. */
export type FollowState =
  /** Nothing has been sent yet. */
  | { readonly phase: 'idle' }
  /** Asking the server what it offers. */
  | { readonly phase: 'choosing' }
  | { readonly phase: 'following'; readonly mode: ModeName; readonly drain?: Drain }
  /** Retrying after `delayMs`. */
  | { readonly phase: 'waiting'; readonly error: unknown; readonly delayMs: number }
  /** Closed by this client when there is no `error`. */
  | { readonly phase: 'ended'; readonly error?: unknown };

/** The status of one selection, or of all of them in one log of `triggers`. */
export interface FollowStatus {
  readonly selection: Selection | undefined;
  /** Undefined until a mode is chosen. */
  readonly guarantee: FollowGuarantee | undefined;
  readonly state: FollowState;
}

/** Times in milliseconds. */
export interface FollowTuning {
  readonly clock?: Clock;
  readonly backoff?: BackoffOptions;
  /**
   * Interval between reads of a resource, or calls of a tool, when the server names none. Default
   * 30,000.
   */
  readonly pollMs?: number;
  /** Shortest interval, whatever the server names. Default 1000. */
  readonly pollFloorMs?: number;
  /**
   * A stream that is silent for this long is dead. Default 60,000. In `listen`, where silence is
   * normal, the interval between reads without a notification. From `listen` down also the timeout
   * of each call.
   */
  readonly silenceMs?: number;
  /** Interval at which the server is asked whether it offers a better mode. Default 300,000. */
  readonly reprobeMs?: number;
}

/** A selection with what belongs to it. */
export interface FollowTarget {
  readonly selection: Selection;
  readonly otherwise: Otherwise | undefined;
  readonly callback: CallbackEndpoint | undefined;
}

/**
 * An event as a mode yields it. The item sequencer adds mode, selection, `ack`, and the number
 * where the client counts.
 */
export interface EventYield {
  readonly type: 'event';
  readonly event: FollowedEvent['event'];
  /** Absent = the client counts. */
  readonly number?: ServerNumber;
  /** Stored in the ledger once the item is finished: the cursor, or the hash of the state. */
  readonly mark?: string;
  /** Called once the item is finished and saved, in modes whose server waits for an answer. */
  readonly done?: () => void | Promise<void>;
}

/** A gap as a mode yields it. */
export interface GapYield {
  readonly type: 'gap';
  readonly reason: FollowedGap['reason'];
  readonly numbers?: FollowedGap['numbers'];
  /**
   * The numbers of the events that follow at once. Where they show what is missing, this gap is not
   * reported.
   */
  readonly shown?: readonly ServerNumber[];
  readonly mark?: string;
  readonly done?: () => void | Promise<void>;
}

/** One value that a mode yields. */
export type ModeYield =
  | EventYield
  | GapYield
  /** A loss that the mode itself has recognized. */
  | { readonly type: 'loss'; readonly item: EpochItem | LostItem }
  /** Nothing happened, but the cursor has moved on. */
  | { readonly type: 'mark'; readonly mark: string }
  /**
   * The guarantee of the mode from here on, for example once a cursor was seen. `error`: why the mode
   * could not keep the guarantee before it.
   */
  | {
      readonly type: 'guarantee';
      readonly guarantee: FollowGuarantee;
      readonly error?: unknown;
    };

/** The context of a mode during one run, that is until its first error. */
export interface ModeContext {
  readonly connection: Connection;
  readonly clock: Clock;
  /** Ends the run. */
  readonly signal: AbortSignal;
  /**
   * The last mark that the ledger has for this selection in this mode; undefined = start with what
   * happens from now on.
   */
  readonly mark: string | undefined;
  readonly tuning: Required<Pick<FollowTuning, 'pollMs' | 'pollFloorMs' | 'silenceMs'>>;
}

/** A mode that works on this server for this target. */
export interface Offer {
  readonly guarantee: FollowGuarantee;
  /**
   * The mode acknowledges by itself when the next item is asked for; the ledger need not remember a
   * mark.
   */
  readonly acknowledgesItself?: boolean;
  /**
   * Yields until it cannot continue. Returns when the server ended it in good order; throws
   * `WireError`, `RemoteError`, `LocalError` (`unreachable`, `timeout`, `peer_misbehaved`,
   * `not_supported`, `terminated`), or the signal's reason.
   */
  run(context: ModeContext): AsyncGenerator<ModeYield, void>;
  /** Removes what the last {@link run} has made on the server. */
  release?(): Promise<void>;
}

/** One way to follow something. */
export interface Mode {
  readonly name: ModeName;
  /**
   * The offer of this server for the target; null = the server does not have the mode. May ask the
   * server.
   */
  offer(connection: Connection, target: FollowTarget, signal: AbortSignal): Promise<Offer | null>;
}
