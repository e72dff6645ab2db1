/**
 * The words of the ladder: what an application follows, what it gets whatever the server can do, and what a rung is. A rung is
 * one way of learning that something happened; the table of rungs is in `rungs.ts` (SEP: When a peer lacks the extension).
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
import type { BackoffOptions } from '../backoff.ts';
import type { Connection } from '../sdk/connection.ts';
import type { CallbackEndpoint } from '../options.ts';

/** Best first. */
export type ModeName =
  /** `triggers/*`, by callback, stream or pull. */
  | 'triggers'
  /** SEP-3415 `events/*`. */
  | 'events.webhook'
  | 'events.push'
  | 'events.poll'
  /** `subscriptions/listen`, or `resources/subscribe` and `list_changed` before 2026-07-28, and reading again. */
  | 'listen'
  /** Reading a resource, or a list, again and again. */
  | 'read'
  /** Calling a tool again and again. */
  | 'tool';

/** What can be relied on for one selection, in words that are true of the connection as it is (SEP: When a peer lacks the extension). */
export interface FollowGuarantee {
  readonly mode: ModeName;
  /** On the rung `triggers`. */
  readonly drain?: Drain;
  /** `total`: as numbered by the server. `sent`: as the server sent it; a webhook may still reorder. `observed`: as looked at from here. */
  readonly order: 'total' | 'sent' | 'observed';
  /**
   * `none silent`: whatever is lost is told. `flagged`: the server tells that something is missing, not what. `undetected`: what is lost while the
   * connection is down, is never known. `latest state only`: every state between two looks is lost.
   */
  readonly loss: 'none silent' | 'flagged' | 'undetected' | 'latest state only';
  /** `exact`: each gap names its numbers. `flag`: there is a gap somewhere before here. */
  readonly gaps: 'exact' | 'flag' | 'none';
  /** Who counted the numbers of the events. */
  readonly numbers: 'server' | 'client';
}

/**
 * The number of an event. One that the client counted says only how many it has seen since the loop began: it is no sequence of this extension,
 * means nothing to any server, and starts again with the process.
 */
export type ItemNumber =
  | {
      readonly by: 'server';
      readonly subscriptionId: string;
      readonly epoch: string;
      readonly sequence: number;
    }
  | { readonly by: 'client'; readonly count: number };

/** A number of the server's. */
export type ServerNumber = Extract<ItemNumber, { by: 'server' }>;

/** An occurrence, by whichever rung it came. */
export interface FollowedEvent {
  readonly type: 'event';
  readonly mode: ModeName;
  /** What of `FollowOptions.select` it belongs to; undefined where one log of `triggers` has them all. */
  readonly selection?: Selection;
  readonly number: ItemNumber;
  readonly event: {
    /** The server's identifier; on the rungs below `events/*` a hash of what was observed. */
    readonly eventId: string;
    /** The trigger type; below `events/*` `mcp.resource.updated`, `mcp.tools.list_changed`, … or `mcp.tool.result`. */
    readonly name: string;
    /** When it happened; below `events/*` when it was observed. */
    readonly timestamp: string;
    /** Below `events/*`: `{ uri, contents }` of a resource, `{ items }` of a list, or `{ tool, result }`. */
    readonly data: unknown;
  };
  /** Done with it. On rungs without acknowledgement the cursor, or the hash of the state, is saved in the ledger. */
  ack(): Promise<void>;
}

/** Something is missing here. */
export interface FollowedGap {
  readonly type: 'gap';
  readonly mode: ModeName;
  readonly selection?: Selection;
  /** The reason the server gave, or: `truncated` it said that something is missing; `missing` its numbers show it; `unwatched` nobody was looking for a while. */
  readonly reason: GapReason | 'truncated' | 'missing' | 'unwatched';
  /** Of the server's numbers, where they are known. */
  readonly numbers?: {
    readonly subscriptionId: string;
    readonly epoch: string;
    readonly from: number;
    readonly to: number;
  };
  /** Taken note of; as with an event. */
  ack(): Promise<void>;
}

/** What can be relied on has changed while running: another rung, another drain, or a stream that was refused. */
export interface ModeChange {
  readonly type: 'mode';
  readonly selection?: Selection;
  /** Undefined at the start. */
  readonly from?: FollowGuarantee;
  readonly to: FollowGuarantee;
  /** `upgraded`, `downgraded`: the server offers other things now. `refused`: the better rung was tried and did not work; see `error`. */
  readonly reason: 'chosen' | 'upgraded' | 'downgraded' | 'refused';
  readonly error?: unknown;
}

/** What the iterator yields. */
export type FollowItem = FollowedEvent | FollowedGap | ModeChange | EpochItem | LostItem;

/** What to look at where the server has no trigger type of the name. */
export interface Otherwise {
  /** A resource whose content tells. */
  readonly resource?: string;
  /** A tool whose result tells. It is called again and again, so it must change nothing. */
  readonly tool?: { readonly name: string; readonly arguments?: Readonly<Record<string, unknown>> };
}

/** What to follow, and how far down to go for it. */
export interface FollowOptions {
  /**
   * 1 to 64 selections. `mcp.resource.updated` with `{ uri }`, `mcp.tools.list_changed`, `mcp.prompts.list_changed` and
   * `mcp.resources.list_changed` work on every MCP server.
   */
  readonly select: readonly Selection[];
  /** By name of a selection: what to look at where the server does not have that trigger type. */
  readonly otherwise?: Readonly<Record<string, Otherwise>>;
  /** Only these rungs. Default: all. */
  readonly modes?: readonly ModeName[];
  /** Needed for callbacks and webhooks. */
  readonly callback?: CallbackEndpoint;
  /** Remembers positions, cursors and hashes across restarts. Default: memory. */
  readonly ledger?: Ledger;
  /** `auto`: asking for the next item acknowledges the last one. Default `auto`. */
  readonly ack?: 'auto' | 'manual';
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal;
  /** What only the rung `triggers` knows. */
  readonly triggers?: TriggersModeOptions;
  /** Told of every change of state, at once. Must not throw. */
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

/** What is being done for a selection, for a status line or a log. */
export type FollowState =
  /** Nothing has been asked yet. */
  | { readonly phase: 'idle' }
  /** Finding out what the server offers. */
  | { readonly phase: 'choosing' }
  | { readonly phase: 'following'; readonly mode: ModeName; readonly drain?: Drain }
  /** Trying again after `delayMs`. */
  | { readonly phase: 'waiting'; readonly error: unknown; readonly delayMs: number }
  /** Closed here when there is no `error`. */
  | { readonly phase: 'ended'; readonly error?: unknown };

/** One selection, or all of them in one log of `triggers`, as it stands. */
export interface FollowStatus {
  readonly selection: Selection | undefined;
  /** Undefined until a rung is chosen. */
  readonly guarantee: FollowGuarantee | undefined;
  readonly state: FollowState;
}

/** Times in milliseconds. */
export interface FollowTuning {
  readonly clock?: Clock;
  readonly backoff?: BackoffOptions;
  /** How often a resource or a tool is looked at when the server does not say. Default 30,000. */
  readonly pollMs?: number;
  /** Never more often than this, whatever the server says. Default 1000. */
  readonly pollFloorMs?: number;
  /**
   * A stream silent for this long is dead. Default 60,000. On `listen` silence is nothing unusual: there it is how often is looked without a
   * notification. From `listen` down it is also the time that each call may take.
   */
  readonly silenceMs?: number;
  /** How often a server is asked again whether it offers a better rung. Default 300,000. */
  readonly reprobeMs?: number;
}

/** A selection with what belongs to it. */
export interface FollowTarget {
  readonly selection: Selection;
  readonly otherwise: Otherwise | undefined;
  readonly callback: CallbackEndpoint | undefined;
}

/** What a rung yields: the ladder adds rung, selection, number where the client counts, and `ack`. */
export type ModeYield =
  | {
      readonly type: 'event';
      readonly event: FollowedEvent['event'];
      /** Absent = the client counts. */
      readonly number?: ServerNumber;
      /** What the ledger remembers once the item is done: the cursor, or the hash of the state. Absent = nothing to remember. */
      readonly mark?: string;
      /** Awaited once the item is done, for rungs that answer somebody. */
      readonly done?: () => void | Promise<void>;
    }
  | {
      readonly type: 'gap';
      readonly reason: FollowedGap['reason'];
      readonly numbers?: FollowedGap['numbers'];
      /** The numbers of the events that follow at once: where they show what is missing, the flag is not told besides. */
      readonly shown?: readonly ServerNumber[];
      readonly mark?: string;
      readonly done?: () => void | Promise<void>;
    }
  /** The rung itself knows what became of its log. */
  | { readonly type: 'loss'; readonly item: EpochItem | LostItem }
  /** Nothing happened, but the position moved on. */
  | { readonly type: 'mark'; readonly mark: string }
  /** It guarantees something else from here on, for example since the server's numbers were seen. */
  | { readonly type: 'guarantee'; readonly guarantee: FollowGuarantee };

/** What a rung works with from its start to its first error. */
export interface ModeContext {
  readonly connection: Connection;
  readonly clock: Clock;
  /** Fires when the rung is to stop. */
  readonly signal: AbortSignal;
  /** The last mark that was saved for this selection on this rung; undefined = none: begin with what happens from now on. */
  readonly mark: string | undefined;
  readonly tuning: Required<Pick<FollowTuning, 'pollMs' | 'pollFloorMs' | 'silenceMs'>>;
}

/** A rung that can be used on this server for this wish. */
export interface Offer {
  readonly guarantee: FollowGuarantee;
  /** Asking for the next item acknowledges the last one, and nothing is to be saved for it. */
  readonly acknowledgesItself?: boolean;
  /**
   * Yields until it cannot go on. Returns when the server ended it in good order; throws `WireError`, `RemoteError` or `LocalError` (`unreachable`,
   * `timeout`, `peer_misbehaved`, `not_supported`, `terminated`), or the signal's reason.
   */
  run(context: ModeContext): AsyncGenerator<ModeYield, void>;
  /** Takes back what the last {@link run} has made on the server. */
  release?(): Promise<void>;
}

/** One row of the table. */
export interface Mode {
  readonly name: ModeName;
  /** Whether this server, as it presents itself now, has it for this wish; may ask the server. Null = no. */
  offer(connection: Connection, target: FollowTarget, signal: AbortSignal): Promise<Offer | null>;
}
