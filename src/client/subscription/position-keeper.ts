/**
 * Keeps the position of one subscription: how far its log was read, what the application has
 * finished, and what the ledger and the server know of that (SEP: Positions, Acknowledgement).
 */
import type { Position, Subscription } from '../../../spec-schema/draft/schema.ts';
import type { Cursor } from '../../protocol/core/apply.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Ledger, PositionRecord } from '../../protocol/ledger/ledger.ts';
import { WireError } from '../../protocol/wire/errors.ts';
import { STREAM_EVENTS_DEFAULT } from '../../protocol/wire/limits.ts';
import { AckTracker } from '../ack-tracker.ts';
import type { SubscribeOptions } from '../options.ts';
import { Backoff, isTransient } from '../recovery.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import { misbehaved } from '../sdk/peer-error.ts';
import { LogReader } from './reader.ts';

const ACK_DELAY_MS = 50;

export interface PositionKeeperOptions {
  readonly api: TriggersApi;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly key: string;
  readonly tuning: SubscribeOptions['tuning'];
  readonly window: SubscribeOptions['window'];
  readonly signal: AbortSignal;
  /** Called when an acknowledgement failed and a retry cannot help. */
  readonly onFailure: (error: unknown) => void;
}

export class PositionKeeper {
  readonly #o: PositionKeeperOptions;
  #record: PositionRecord | undefined;
  #reader!: LogReader;
  #acks: AckTracker | undefined;
  #acknowledgesByCall = true;
  /** The subscription and position that the ledger has, as one text. */
  #saved = '';

  constructor(options: PositionKeeperOptions) {
    this.#o = options;
  }

  get reader(): LogReader {
    return this.#reader;
  }
  /** Undefined until {@link open}. */
  get acks(): AckTracker | undefined {
    return this.#acks;
  }
  get #server(): string {
    return this.#o.api.connection.server;
  }

  /** Loads the position from the ledger. */
  async load(): Promise<void> {
    this.#record = await this.#o.ledger.load('position', this.#server, this.#o.key);
  }

  /** Starts at the position from the ledger, or without one after the last acknowledged event. */
  async open(subscription: Subscription): Promise<void> {
    this.#reader = new LogReader(this.#record, subscription, (cursor) =>
      this.#acks?.restart(cursor),
    );
    await this.adopt(subscription);
    this.#acks = this.#tracker(subscription.acked);
  }

  /**
   * Continues with this subscription. If it replaces another one, asks the server how that one
   * ended.
   */
  async adopt(subscription: Subscription): Promise<void> {
    if (this.#reader.isReplacedBy(subscription)) {
      const { subscriptionId } = this.#reader.cursor;
      const answer = await this.#o.api
        .get({ subscriptionId }, { signal: this.#o.signal })
        .catch((error: unknown) => error);
      const ended = answer instanceof WireError && answer.is('NotFound') ? answer.data : undefined;
      this.#reader.lose(ended?.reason ?? 'replaced', ended?.final);
    }
    this.#reader.adopt(subscription);
  }

  /** Acknowledges with a call (true), or with the response to a callback (false), from now on. */
  acknowledgeByCall(byCall: boolean): void {
    this.#acknowledgesByCall = byCall;
  }

  /** Saves the position that was read. */
  async saveRead(): Promise<void> {
    await this.#save(this.#reader.cursor);
  }

  /** Removes the position from the ledger. */
  async forget(): Promise<void> {
    await this.#o.ledger.remove('position', this.#server, this.#o.key);
  }

  #tracker(acked: number): AckTracker {
    const { clock, tuning, window, onFailure } = this.#o;
    const backoff = new Backoff(tuning?.backoff);
    return new AckTracker(this.#reader.position, acked, {
      clock,
      delayMs: tuning?.ackDelayMs ?? ACK_DELAY_MS,
      batch: Math.ceil((window?.events ?? STREAM_EVENTS_DEFAULT) / 4),
      save: ({ epoch, sequence }) => this.#save({ ...this.#reader.cursor, epoch, sequence }),
      send: async (position) => {
        if (this.#acknowledgesByCall) await this.#acknowledge(position);
        backoff.reset();
      },
      onFailure: (error) => {
        if (isTransient(error)) return backoff.next(error);
        onFailure(error);
        return null;
      },
    });
  }

  async #acknowledge(position: Position): Promise<void> {
    const { epoch, acked } = await this.#o.api.ack(
      { subscriptionId: this.#reader.cursor.subscriptionId, position },
      { signal: this.#o.signal },
    );
    if (epoch !== position.epoch || acked < position.sequence)
      throw misbehaved('ack', 'it lost an acknowledgement');
  }

  async #save({ subscriptionId, epoch, sequence, past }: Cursor): Promise<void> {
    const name = `${subscriptionId} ${epoch} ${sequence}`;
    if (name === this.#saved) return;
    await this.#o.ledger.save({
      kind: 'position',
      server: this.#server,
      key: this.#o.key,
      subscriptionId,
      epoch,
      sequence,
      past,
    });
    this.#saved = name;
  }
}
