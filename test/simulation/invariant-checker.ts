/**
 * The invariants that every run must keep, checked during the run against the reference model of
 * the disk. They are numbered, and a violation begins with its number: H1 contiguous, H2 stable, H3
 * ordered, H4 nothing lost, H5 acknowledgements, H6 duplicates, H7 message ids, H8 gaps, H9
 * everything drains in the end.
 */
import { createHash } from 'node:crypto';
import { receive, type Cursor } from '../../src/protocol/core/apply.ts';
import type { Retention, Selection, Subscription } from '../../src/protocol/core/types.ts';
import type { ModelEvent, ModelLog, ModelWatch } from './reference-model.ts';
import { ReferenceModel } from './reference-model.ts';

/** A delivery as a peer reads it. */
export interface SeenDelivery {
  readonly subscriptionId: string;
  readonly key: string;
  readonly epoch: string;
  readonly afterSequence: number;
  readonly events: readonly { readonly sequence: number; readonly eventId: string }[];
  readonly gaps?: readonly {
    readonly from: number;
    readonly to: number;
    readonly reason: string;
  }[];
  readonly head: number;
  readonly acked: number;
  readonly terminated?: { readonly reason: string };
}

/** The position of one drain. */
interface Drain {
  max: number;
  readonly sent: Set<number>;
  after: number | null;
}

/** One number's callback attempts. */
interface Attempts {
  count: number;
  excused: number;
}

export class InvariantChecker implements ModelWatch {
  readonly model = new ReferenceModel(this);
  readonly violations: string[] = [];
  readonly counts = { deliveries: 0, events: 0, gaps: 0, acks: 0, notices: 0 };
  readonly #now: () => number;
  readonly #bodies = new Map<string, string>();
  readonly #messages = new Map<string, string>();
  readonly #drains = new Map<string, Drain>();
  readonly #stated = new Map<string, Set<number>>();
  readonly #attempts = new Map<string, Attempts>();
  readonly #flying = new Map<string, Set<string>>();
  readonly #rejected = new Set<string>();
  readonly #failed = new Set<string>();
  /** Subscriptions whose callback answered the termination notice with 2xx or 410. */
  readonly #noticed = new Set<string>();
  readonly #gapsTold = new Set<string>();
  /** Events that were confirmed to a source. */
  readonly #promised: { readonly eventId: string; readonly duplicate: boolean }[] = [];
  readonly #matches: (selection: Selection, event: ModelEvent) => boolean;

  constructor(now: () => number, matches: (selection: Selection, event: ModelEvent) => boolean) {
    this.#now = now;
    this.#matches = matches;
  }

  blame(rule: string, what: string): void {
    if (this.violations.length < 50) this.violations.push(`${rule} ${what}`);
  }

  promised(eventId: string, duplicate: boolean): void {
    this.#promised.push({ eventId, duplicate });
  }

  /**
   * Checks a delivery that left the server. `drain` names the stream or the callback; null for a
   * pull, whose client may request any position.
   */
  told(delivery: SeenDelivery, drain: string | null): number {
    const { subscriptionId, epoch, afterSequence: after, events, head, acked } = delivery;
    const log = this.model.logs.get(subscriptionId);
    if (log === undefined) {
      this.blame('H4', `${subscriptionId} is not on disk, but a delivery of it was sent`);
      return after;
    }
    this.counts.deliveries += 1;
    this.counts.events += events.length;
    const received = receive<{ readonly sequence: number }>(
      { subscriptionId, epoch, sequence: after, past: [] },
      delivery,
    );
    if (received.kind !== 'apply') {
      this.blame('H1', `a delivery of ${subscriptionId} after ${after} is ${received.kind}`);
      return after;
    }
    const last = received.entries.at(-1)?.position.sequence ?? after;
    if (last > head) this.blame('H1', `${subscriptionId} covers ${last}, beyond its head ${head}`);
    if (epoch === log.state.epoch && log.endedAt === null) {
      if (head > log.state.head)
        this.blame(
          'durable',
          `${subscriptionId} sent head ${head}, on disk it is ${log.state.head}`,
        );
      if (acked > log.state.acked)
        this.blame(
          'durable',
          `${subscriptionId} sent acked ${acked}, on disk it is ${log.state.acked}`,
        );
      // A range that starts above `sent` leaves it as it is.
      if (last > log.state.sent && last > after && after <= log.state.sent)
        this.blame(
          'durable',
          `${subscriptionId} sent ${last}, on disk sent is only ${log.state.sent}`,
        );
      for (const event of events) this.#stable(log, epoch, event);
      for (const gap of delivery.gaps ?? []) this.#gap(log, epoch, gap);
    }
    if (drain !== null) this.#ordered(drain, delivery, last);
    return last;
  }

  #stable(log: ModelLog, epoch: string, event: SeenDelivery['events'][number]): void {
    const name = `${log.subscriptionId} ${epoch} ${event.sequence}`;
    const body = createHash('sha256').update(JSON.stringify(event)).digest('base64url');
    const before = this.#bodies.get(name);
    if (before !== undefined && before !== body) this.blame('H2', `${name} names two events`);
    this.#bodies.set(name, body);
    const entry = log.entries.get(event.sequence);
    if (entry?.eventId !== event.eventId)
      this.blame(
        'H2',
        `${name} was sent as ${event.eventId}, on disk it is ${entry?.eventId ?? 'nothing'}`,
      );
    if (this.#gapsTold.has(name))
      this.blame('H8', `${name} was sent as a gap and later as an event`);
  }

  #gap(
    log: ModelLog,
    epoch: string,
    { from, to, reason }: { from: number; to: number; reason: string },
  ): void {
    this.counts.gaps += 1;
    for (let sequence = from; sequence <= to; sequence += 1) {
      const name = `${log.subscriptionId} ${epoch} ${sequence}`;
      this.#gapsTold.add(name);
      const entry = log.entries.get(sequence);
      const caused =
        entry?.old === true
          ? reason === (entry.gap ?? 'retention')
          : reason === 'retention'
            ? sequence <= log.trimmed
            : reason === 'rejected'
              ? this.#rejected.has(name)
              : reason === 'skipped'
                ? this.#failed.has(name)
                : reason === entry?.gap;
      if (!caused && sequence > log.trimmed)
        this.blame('H8', `${name} is a gap of reason ${reason} without a cause`);
    }
  }

  #ordered(name: string, delivery: SeenDelivery, last: number): void {
    const key = `${name} ${delivery.epoch}`;
    const drain = this.#drains.get(key) ?? { max: 0, sent: new Set<number>(), after: null };
    this.#drains.set(key, drain);
    if (name.startsWith('stream') && drain.after !== null && drain.after !== delivery.afterSequence)
      this.blame(
        'H3',
        `${name} continues at ${delivery.afterSequence}, it stopped at ${drain.after}`,
      );
    drain.after = last;
    for (let sequence = delivery.afterSequence + 1; sequence <= last; sequence += 1) {
      if (sequence < drain.max && !drain.sent.has(sequence))
        this.blame('H3', `${key}: ${sequence} is first sent after ${drain.max}`);
      drain.sent.add(sequence);
      drain.max = Math.max(drain.max, sequence);
    }
  }

  /**
   * Checks an attempt that left for `url`. The caller calls the returned function once the attempt
   * is answered or its process has died.
   */
  attempt(
    delivery: SeenDelivery,
    url: string,
    webhookId: string,
    body: string,
  ): (settled: 'acked' | 'failed' | 'lost', statement?: { ack: number; reject?: number }) => void {
    const { subscriptionId, epoch, events } = delivery;
    const last = this.told(delivery, `callback ${subscriptionId}`);
    const isLast = delivery.terminated !== undefined;
    if (isLast) this.#ending(subscriptionId);
    const place = `${subscriptionId} ${url}`;
    const flying = this.#flying.get(place) ?? new Set<string>();
    this.#flying.set(place, flying);
    if (flying.size > 0 && (last > delivery.afterSequence || isLast))
      this.blame('lease', `${subscriptionId} has a second attempt in flight`);
    const token = `${flying.size} ${this.counts.deliveries}`;
    if (last > delivery.afterSequence) {
      flying.add(token);
      const seen = this.#messages.get(webhookId);
      const content = JSON.stringify([
        subscriptionId,
        epoch,
        delivery.afterSequence,
        last,
        (delivery.gaps ?? []).map(({ from, to }) => [from, to]),
        body,
      ]);
      if (seen !== undefined && seen !== content)
        this.blame('H7', `${webhookId} names two messages`);
      this.#messages.set(webhookId, content);
      for (const { sequence } of events) {
        const name = `${subscriptionId} ${epoch} ${sequence}`;
        const sent = this.#attempts.get(name) ?? { count: 0, excused: 0 };
        if (sent.count > sent.excused)
          this.blame('H6', `${name} is sent again although nothing failed`);
        this.#attempts.set(name, { ...sent, count: sent.count + 1 });
      }
    }
    return (settled, statement) => {
      flying.delete(token);
      const ack =
        settled === 'acked' ? (statement?.ack ?? delivery.afterSequence) : delivery.afterSequence;
      for (const { sequence } of events) {
        const name = `${subscriptionId} ${epoch} ${sequence}`;
        if (sequence > ack) this.#attempts.get(name)!.excused += 1;
        if (settled !== 'acked') this.#failed.add(name);
      }
      if (settled === 'acked') this.stated(subscriptionId, epoch, ack);
      if (statement?.reject !== undefined) {
        this.#rejected.add(`${subscriptionId} ${epoch} ${statement.reject}`);
        this.stated(subscriptionId, epoch, statement.reject);
      }
    };
  }

  #ending(subscriptionId: string): void {
    this.counts.notices += 1;
    if (this.model.logs.get(subscriptionId)?.endedAt === null)
      this.blame('durable', `${subscriptionId} sent its end, on disk it is alive`);
    if (!this.model.owed.has(subscriptionId))
      this.blame('H10', `${subscriptionId} sent its end to a callback that gets none`);
  }

  /** An endpoint answered the termination notice with 2xx or 410. */
  noticed(subscriptionId: string): void {
    this.#noticed.add(subscriptionId);
  }

  /** Records an event that permits one more send: a crash, a rejected commit, another callback. */
  excuse(subscriptionId?: string): void {
    for (const [name, attempts] of this.#attempts) {
      if (subscriptionId === undefined || name.startsWith(subscriptionId))
        attempts.excused = Math.max(attempts.excused, attempts.count);
    }
  }

  /** The process died, so these attempts get no answer. */
  crashed(): void {
    this.excuse();
    this.#flying.clear();
    this.#drains.clear();
  }

  /** The client or its receiver acknowledged everything up to here. */
  stated(subscriptionId: string, epoch: string, sequence: number): void {
    const name = `${subscriptionId} ${epoch}`;
    this.#stated.set(name, (this.#stated.get(name) ?? new Set([0])).add(sequence));
  }

  progress(log: ModelLog, before: Subscription, after: Subscription): void {
    const name = `${log.subscriptionId} ${after.epoch}`;
    for (const counter of ['head', 'acked', 'sent', 'floor', 'version', 'attempts'] as const) {
      if (after[counter] < before[counter])
        this.blame(
          'H5',
          `${name}: ${counter} moved back from ${before[counter]} to ${after[counter]}`,
        );
    }
    if (after.acked > after.sent || after.sent > after.head)
      this.blame('H5', `${name}: acked ${after.acked}, sent ${after.sent}, head ${after.head}`);
    if (after.acked !== before.acked) {
      this.counts.acks += 1;
      if (this.#stated.get(name)?.has(after.acked) !== true)
        this.blame('H5', `${name}: acked ${after.acked}, which nobody acknowledged`);
    }
    // Another endpoint may be sent again what the old one got.
    if (before.callback?.url !== after.callback?.url) this.excuse(log.subscriptionId);
    // A process that was slow lost its lease, so its later attempts do not count.
    if (
      before.attempt !== null &&
      before.attempt.id !== after.attempt?.id &&
      before.attempt.leaseUntil <= this.#now()
    ) {
      this.excuse(log.subscriptionId);
      for (const [place, flying] of this.#flying)
        if (place.startsWith(log.subscriptionId)) flying.clear();
    }
    if (after.attempt !== null && after.attempt.id > log.attempts) {
      log.attempts = after.attempt.id;
      if (after.attempt.after > after.acked)
        this.blame(
          'H1',
          `${name}: an attempt after ${after.attempt.after}, but only ${after.acked} is acknowledged`,
        );
    }
    for (let sequence = before.head + 1; sequence <= after.head; sequence += 1) {
      if (!log.entries.has(sequence))
        this.blame('H1', `${name}: number ${sequence} is assigned, but is not in the log`);
    }
    if (after.floor !== log.trimmed && after.floor !== before.floor)
      this.blame('H8', `${name}: trimmed up to ${log.trimmed}, but the floor is ${after.floor}`);
    if (after.floor < log.trimmed)
      this.blame('H8', `${name}: trimmed up to ${log.trimmed}, but the floor is ${after.floor}`);
  }

  trimmed(log: ModelLog, from: number, to: number, retentions: readonly Retention[]): void {
    const { head, acked } = log.state;
    for (let sequence = Math.max(from, acked + 1); sequence <= Math.min(to, head); sequence += 1) {
      const entry = log.entries.get(sequence);
      const acceptedAt = this.model.events.get(entry?.offset ?? 0)?.acceptedAt ?? 0;
      const due = retentions.some(
        ({ maxAgeMs, maxEvents }) =>
          acceptedAt < this.#now() - maxAgeMs || head - sequence >= maxEvents,
      );
      if (!due)
        this.blame(
          'H8',
          `${log.subscriptionId} ${sequence} of ${head} was trimmed too early (${this.#now() - acceptedAt} ms old, ${JSON.stringify(retentions)})`,
        );
    }
  }

  rotated(log: ModelLog): void {
    log.attempts = 0;
  }

  /** Called when nothing has failed for long and every drain had time to finish. */
  finish(cursors: ReadonlyMap<string, Cursor>): void {
    const known = new Map<string, number>();
    for (const event of this.model.events.values())
      known.set(event.eventId, (known.get(event.eventId) ?? 0) + 1);
    for (const { eventId } of this.#promised)
      if (!known.has(eventId)) this.blame('H4', `event ${eventId} was accepted and is not on disk`);
    for (const [eventId, times] of known)
      if (times > 1) this.blame('H4', `event ${eventId} was accepted ${times} times`);
    for (const subscriptionId of this.model.owed)
      if (!this.#noticed.has(subscriptionId))
        this.blame('H10', `the callback of ${subscriptionId} never learned of its end`);
    for (const log of this.model.logs.values()) {
      this.#complete(log);
      if (log.endedAt !== null) continue;
      const { head, acked } = log.state;
      if (acked !== head)
        this.blame(
          'H9',
          `${log.subscriptionId} is acknowledged up to ${acked} of ${head} in the end`,
        );
      const cursor = cursors.get(log.subscriptionId);
      if (head > 0 && cursor?.sequence !== head)
        this.blame(
          'H9',
          `${log.subscriptionId}: its client has ${cursor?.sequence ?? 'nothing'} of ${head}`,
        );
    }
    if (this.model.checkpoint.offset !== this.model.lastOffset)
      this.blame(
        'H9',
        `numbering is at ${this.model.checkpoint.offset} of ${this.model.lastOffset}`,
      );
  }

  /**
   * H4: the log holds exactly the events that its subscription followed when they were accepted, in
   * their order.
   */
  #complete(log: ModelLog): void {
    const found = [
      ...log.before,
      ...[...log.entries].sort(([a], [b]) => a - b).map(([, entry]) => entry),
    ].map(({ offset }) => offset);
    const since = found.filter((offset) => offset <= log.createdOffset);
    const rest = found.slice(since.length);
    if (rest.some((offset, at) => at > 0 && offset <= rest[at - 1]!))
      this.blame('H3', `${log.subscriptionId} is not in the order of acceptance`);
    const present = new Set(rest);
    const endedAt = log.endedAt ?? Number.POSITIVE_INFINITY;
    const lastNumbered = rest.at(-1) ?? 0;
    for (const event of this.model.events.values()) {
      if (event.offset <= log.createdOffset || event.commit >= endedAt) continue;
      if (log.endedAt !== null && event.offset > lastNumbered) continue;
      const then = log.followed.filter(({ commit }) => commit < event.commit).at(-1);
      const meanwhile = log.followed.filter(({ commit }) => commit === event.commit);
      const results = new Set(
        [...(then === undefined ? [] : [then]), ...meanwhile].map(({ select }) =>
          select.some((one) => this.#matches(one, event)),
        ),
      );
      if (results.size !== 1) continue;
      const [due] = results;
      if (due === true && !present.has(event.offset))
        this.blame(
          'H4',
          `${log.subscriptionId} lacks event ${event.eventId} (offset ${event.offset})`,
        );
      if (due === false && present.has(event.offset))
        this.blame(
          'H4',
          `${log.subscriptionId} has event ${event.eventId}, which it did not follow`,
        );
    }
  }
}
