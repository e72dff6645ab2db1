/**
 * Records everything a server sends, on every drain and across all its processes, and every
 * violation: a number that names another event, a number sent for the first time after a higher
 * one, the same message id with other events, an `acked` that moves back. It only records; the test
 * fails at the end.
 */
import type { Delivery, TriggerEvent } from 'mcp-triggers-experimental';

/** The count of a number on one drain, and the first and last run of the server that sent it. */
interface Sightings {
  times: number;
  firstRun: number;
  lastRun: number;
  failures: number;
}

export class DeliveryRecorder {
  readonly broken: string[] = [];
  /** By epoch and number. */
  readonly #meaning = new Map<string, string>();
  readonly #byMessage = new Map<string, string>();
  readonly #positions = new Map<string, number>();
  readonly #drains = new Map<
    string,
    { highest: number; acked: number; seen: Map<number, Sightings> }
  >();
  /** Counts the runs of the server. */
  run = 0;

  /** Records what came on a drain. `failed`: the reader failed, or behaved as if it had. */
  delivery(
    drain: string,
    delivery: Delivery,
    { messageId, failed = false }: { readonly messageId?: string; readonly failed?: boolean } = {},
  ): void {
    const { epoch, afterSequence: after, events, gaps = [], head, acked } = delivery;
    const state = this.#drains.get(drain) ?? {
      highest: 0,
      acked: 0,
      seen: new Map<number, Sightings>(),
    };
    this.#drains.set(drain, state);
    if (gaps.length > 0) this.broken.push(`${drain}: an unexpected gap`);
    if (acked < state.acked)
      this.broken.push(`${drain}: acked moved back from ${state.acked} to ${acked}`);
    state.acked = Math.max(state.acked, acked);
    for (const [at, event] of events.entries()) {
      if (event.sequence !== after + 1 + at)
        this.broken.push(`${drain}: ${event.sequence} where ${after + 1 + at} was due`);
      if (event.sequence > head)
        this.broken.push(`${drain}: ${event.sequence} beyond head ${head}`);
      this.#number(drain, epoch, event, state, failed);
    }
    if (messageId !== undefined && events.length > 0)
      this.#message(drain, messageId, JSON.stringify([epoch, after, events]));
  }

  /**
   * Records results of `triggers/get`: a result may overtake a delivery, so each subscription has
   * an order of its own.
   */
  position(subscription: string, acked: number): void {
    const before = this.#positions.get(subscription) ?? 0;
    if (acked < before)
      this.broken.push(`${subscription}: triggers/get returned acked ${acked} after ${before}`);
    this.#positions.set(subscription, acked);
  }

  /** Every number that came on a drain more often than failures and kills explain. */
  unexplained(drain: string): string[] {
    return [...(this.#drains.get(drain)?.seen ?? [])]
      .filter(
        ([, { times, firstRun, lastRun, failures }]) => times > 1 + failures + (lastRun - firstRun),
      )
      .map(([sequence, { times }]) => `${drain}: ${sequence} came ${times} times`);
  }

  duplicates(drain: string): number {
    return [...(this.#drains.get(drain)?.seen.values() ?? [])].reduce(
      (sum, { times }) => sum + times - 1,
      0,
    );
  }

  #number(
    drain: string,
    epoch: string,
    event: TriggerEvent,
    state: { highest: number; seen: Map<number, Sightings> },
    failed: boolean,
  ): void {
    const { sequence } = event;
    const meaning = JSON.stringify(event);
    const known = this.#meaning.get(`${drain}:${epoch}:${sequence}`);
    if (known !== undefined && known !== meaning)
      this.broken.push(`${drain}: ${sequence} names another event than before`);
    this.#meaning.set(`${drain}:${epoch}:${sequence}`, meaning);
    const seen = state.seen.get(sequence);
    if (!seen && sequence < state.highest)
      this.broken.push(`${drain}: ${sequence} came for the first time after ${state.highest}`);
    state.highest = Math.max(state.highest, sequence);
    const sightings = seen ?? { times: 0, firstRun: this.run, lastRun: this.run, failures: 0 };
    sightings.times += 1;
    sightings.lastRun = this.run;
    sightings.failures += failed ? 1 : 0;
    state.seen.set(sequence, sightings);
  }

  #message(drain: string, id: string, content: string): void {
    const known = this.#byMessage.get(id);
    if (known !== undefined && known !== content)
      this.broken.push(`${drain}: message ${id} came with other events before`);
    this.#byMessage.set(id, content);
  }
}
