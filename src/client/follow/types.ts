/**
 * The types of `follow`: its options, its items and states, and the interface of a mode. The list
 * of modes is in `mode-table.ts` (SEP: When a peer lacks the extension).
 */
import type {
  CallbackLimits,
  DataRef,
  Drain,
  GapReason,
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
  /** The drain in use, in the mode `triggers` only. */
  readonly drain?: Drain;
  /**
   * `total`: as numbered by the server. `sent`: as sent by the server; webhooks may still reorder.
   * `observed`: as read by the client.
   */
  readonly order: 'total' | 'sent' | 'observed';
  /**
   * `none silent`: every loss is reported. `flagged`: the server reports that something is missing,
   * but not what. `undetected`: events lost while the connection is down are not reported.
   * `latest state only`: every state between two reads is lost.
   */
  readonly loss: 'none silent' | 'flagged' | 'undetected' | 'latest state only';
  /**
   * `exact`: each gap names its numbers. `flag`: a gap says that something is missing before this
   * point. `none`: gaps are not reported.
   */
  readonly gaps: 'exact' | 'flag' | 'none';
  /** The side that numbers the events. */
  readonly numbers: 'server' | 'client';
}

/**
 * The number of an event. A number by the client only counts the events of one selection. It is not
 * a sequence of this extension and means nothing to a server. The count starts again with the
 * process, and when `follow` joins or separates its selections.
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

/** An event, from any mode. */
export interface FollowedEvent {
  readonly type: 'event';
  readonly mode: ModeName;
  /** The selection that it belongs to; undefined if one log of `triggers` has all selections. */
  readonly selection?: Selection;
  readonly number: ItemNumber;
  readonly event: {
    /**
     * The server's identifier; in `listen`, `read` and `tool` a hash of the state that was read.
     */
    readonly eventId: string;
    /**
     * The trigger type; in `listen`, `read` and `tool` `mcp.resource.updated`,
     * `mcp.tools.list_changed`, … or `mcp.tool.result`.
     */
    readonly name: string;
    /**
     * The time at which it happened; in `listen`, `read` and `tool` the time at which it was read.
     */
    readonly timestamp: string;
    /**
     * The time at which the server accepted it; absent when the server does not say, and in
     * `listen`, `read` and `tool`.
     */
    readonly acceptedAt?: string;
    /**
     * The data of the event. In `listen` and `read`: `{ uri, contents }` of a resource, or
     * `{ items }` of a list. In `tool`: `{ tool, result }`.
     */
    readonly data: unknown;
    /** In `triggers`: instead of `data`, which `TriggersClient.data` reads from there. */
    readonly dataRef?: DataRef;
  };
  /**
   * Finishes this item and every item before it. Resolves once that is saved, and acknowledged to a
   * server that keeps acknowledgements. For any other server the ledger keeps the cursor, or the
   * hash of the state.
   */
  ack(): Promise<void>;
}

/** A gap: something is missing before the next item. */
export interface FollowedGap {
  readonly type: 'gap';
  readonly mode: ModeName;
  readonly selection?: Selection;
  /**
   * The server's reason, or one of four others. `truncated`: the server reports that something is
   * missing. `missing`: the server's numbers show it. `unwatched`: the client was not watching for
   * a while. `elsewhere`: another reader of the subscription has acknowledged the numbers.
   */
  readonly reason: GapReason | 'truncated' | 'missing' | 'unwatched' | 'elsewhere';
  /** The missing numbers of the server, if they are known. */
  readonly numbers?: {
    readonly subscriptionId: string;
    readonly epoch: string;
    readonly from: number;
    readonly to: number;
  };
  /** Finishes the gap, as {@link FollowedEvent.ack} finishes an event. */
  ack(): Promise<void>;
}

/**
 * The guarantee has changed: another mode or drain, or the server has shown that it guarantees more
 * or less in the same mode.
 */
export interface ModeChange {
  readonly type: 'mode';
  readonly selection?: Selection;
  /** Undefined at the start. */
  readonly from?: FollowGuarantee;
  readonly to: FollowGuarantee;
  /**
   * `chosen`: the first mode. `upgraded`, `downgraded`: the server's offer has changed. `refused`:
   * the better mode was tried and did not work; see `error`.
   */
  readonly reason: 'chosen' | 'upgraded' | 'downgraded' | 'refused';
  readonly error?: unknown;
}

/** One value of the iterator. */
export type FollowItem = FollowedEvent | FollowedGap | ModeChange | EpochItem | LostItem;

/** The resource or tool to read if the server does not have the trigger type. */
export interface Otherwise {
  /** The URI of a resource: a change of its content is an event. */
  readonly resource?: string;
  /**
   * A tool: a change of its result is an event. It is called at intervals, so it must not change
   * anything.
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
  /** By trigger type: what to read if the server does not have that type. */
  readonly otherwise?: Readonly<Record<string, Otherwise>>;
  /** The modes to use. Default: all. */
  readonly modes?: readonly ModeName[];
  /** The endpoint for callbacks and webhooks, which are not used without one. */
  readonly callback?: CallbackEndpoint;
  /**
   * Stores positions, cursors and hashes across restarts. Default: a ledger in memory, which does
   * not outlive the process.
   */
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

/** Options of the mode `triggers`. Each has the meaning that it has in `SubscribeOptions`. */
export interface TriggersModeOptions {
  readonly key?: string;
  readonly ttlMs?: number;
  readonly noExpiry?: true;
  readonly since?: string;
  readonly skipAfterMs?: number;
  readonly callbackLimits?: CallbackLimits;
  readonly drain?: 'auto' | Drain;
  readonly acknowledgedElsewhere?: 'read' | 'skip';
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
  /** Without an `error`, this client has stopped following. */
  | { readonly phase: 'ended'; readonly error?: unknown };

/** The status of one selection, or of all of them in one log of `triggers`. */
export interface FollowStatus {
  readonly selection: Selection | undefined;
  /** Undefined until a mode is chosen. */
  readonly guarantee: FollowGuarantee | undefined;
  readonly state: FollowState;
}

/** Timing options. All times are in milliseconds. */
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
   * A stream without a message for this long counts as broken. Default 60,000; in the mode
   * `triggers` 30,000. In `listen`, where silence is normal, it is the longest time between two
   * reads. In `listen`, `read` and `tool` it is also the timeout of each call.
   */
  readonly silenceMs?: number;
  /** Interval at which the server is asked whether it offers a better mode. Default 300,000. */
  readonly reprobeMs?: number;
}

/** A selection with the options that apply to it. */
export interface FollowTarget {
  readonly selection: Selection;
  readonly otherwise: Otherwise | undefined;
  readonly callback: CallbackEndpoint | undefined;
}

/**
 * An event as a mode yields it. The item sequencer adds mode, selection, `ack`, and the number if
 * the client counts.
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
   * The numbers of the events right after the gap. If they show what is missing, the gap is not
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
  /** A loss that the mode itself has detected. */
  | { readonly type: 'loss'; readonly item: EpochItem | LostItem }
  /** Nothing happened, but the server has sent a newer cursor, or the first state was read. */
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
   * The mode acknowledges an item by itself when the next one is requested, so the ledger needs no
   * mark.
   */
  readonly acknowledgesItself?: boolean;
  /**
   * Yields until it cannot continue. Returns when the server ended it without an error; throws
   * `WireError`, `RemoteError`, `LocalError` (`unreachable`, `timeout`, `peer_misbehaved`,
   * `not_supported`, `terminated`), or the signal's reason.
   */
  run(context: ModeContext): AsyncGenerator<ModeYield, void>;
  /** Removes everything that the last {@link run} created on the server. */
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
