/**
 * The mode `events.webhook`: the server calls back with one event at a time, and the response waits
 * until the application has finished it. The subscription is soft state and is renewed whether or
 * not the application is reading (SEP-3415).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import { canonicalJson, sha256 } from '../../../../protocol/wire/canonical.ts';
import { AsyncQueue } from '../../../../protocol/lib/queue.ts';
import type { WebhookMessage, WebhookResult } from '../../../../protocol/lib/sinks.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import { Backoff, isTransient } from '../../../recovery.ts';
import type { CallbackEndpoint } from '../../../options.ts';
import { misbehaved } from '../../../sdk/peer-error.ts';
import type {
  EventYield,
  FollowGuarantee,
  FollowTarget,
  GapYield,
  ModeContext,
  ModeYield,
  Offer,
} from '../../types.ts';
import { terminated } from './errors.ts';
import {
  callEvents,
  cursorOf,
  eventKey,
  eventOf,
  isCursorRefused,
  isTruncated,
  markOf,
  type Raw,
} from './messages.ts';

/** Events that may wait for the application; each of them keeps a request of the server open. */
const WAITING_MAX = 256;
/** Finished messages that are remembered because the server may not have got the response. */
const FINISHED_MAX = 1000;
/**
 * A subscription is renewed after a random part of its lifetime between these, so that renewals
 * spread out.
 */
const RENEW_FROM = 0.5;
const RENEW_TO = 0.8;
/**
 * Shortest time until a renewal, however short the lifetime is and however wrong the clocks are.
 */
const RENEW_MS_MIN = 500;
/** Longest time until a renewal, also of a subscription that never expires. */
const RENEW_MS_MAX = 3_600_000;
/**
 * Longest timer. A timer does not run while the machine sleeps, so the wall clock is read at least
 * this often.
 */
const SLICE_MS = 60_000;
/** Time after which a secret is replaced. */
const SECRET_MS = 86_400_000;
/** Longest wait for `events/unsubscribe`, which the server can do without. */
const RELEASE_MS = 5000;

/**
 * A server does not report an event that it gives up after the last attempt. Only sequence numbers
 * would show that.
 */
const GUARANTEE: FollowGuarantee = {
  mode: 'events.webhook',
  order: 'sent',
  loss: 'undetected',
  gaps: 'flag',
  numbers: 'client',
};

/** Whether the application has an endpoint for these webhooks. */
export const canCallBack = ({ callback }: FollowTarget): boolean =>
  callback?.attachWebhook !== undefined;

export function webhook(target: FollowTarget): Pick<Offer, 'run' | 'release'> {
  let last: Webhook | undefined;
  return {
    async *run(context) {
      const one = new Webhook(target, context);
      last = one;
      try {
        yield* one.items();
      } finally {
        one.close();
      }
    },
    release: async () => last?.release(),
  };
}

type Registration = Awaited<ReturnType<CallbackEndpoint['register']>>;

/** A message of the server. Two messages with the same `subject` are the same message. */
interface Incoming {
  readonly subject: string;
  readonly yielded: EventYield | GapYield;
}

class Webhook {
  readonly #selection: FollowTarget['selection'];
  readonly #callback: CallbackEndpoint;
  readonly #who: { readonly audience: string; readonly key: string };
  readonly #context: ModeContext;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #queue = new AsyncQueue<ModeYield>();
  /**
   * Messages without a response yet, by subject: a server that has timed out sends the same message
   * again.
   */
  readonly #open = new Map<
    string,
    { readonly result: Promise<WebhookResult>; readonly settle: (result: WebhookResult) => void }
  >();
  /** The subjects of the messages that the application has finished most recently. */
  readonly #finished = new Set<string>();
  readonly #detach: () => void;
  /** The server's identifier of the subscription, once it is known. */
  #id: string | undefined;
  #url: string | undefined;
  /** The last cursor that the application has finished. */
  #cursor: string | null;
  #secretSince: number;

  constructor({ selection, callback }: FollowTarget, context: ModeContext) {
    this.#selection = selection;
    this.#callback = callback!;
    this.#context = context;
    this.#cursor = context.mark ?? null;
    this.#secretSince = context.clock.now();
    this.#signal = AbortSignal.any([context.signal, this.#stop.signal]);
    const { name, arguments: args } = eventKey(selection);
    this.#who = {
      audience: context.connection.server,
      key: `events.${sha256(canonicalJson([name, args]))}`,
    };
    this.#detach = callback!.attachWebhook!(this.#who, (message, deadline) =>
      this.#take(message, deadline),
    );
  }

  async *items(): AsyncGenerator<ModeYield, void> {
    const renewAt = await this.#subscribe();
    this.#keepRenewing(renewAt).catch((error: unknown) => this.#queue.fail(error));
    yield { type: 'guarantee', guarantee: GUARANTEE };
    const { clock } = this.#context;
    while (!this.#signal.aborted) {
      const next = await this.#queue.next(clock, SLICE_MS, this.#signal);
      if (next) yield next;
    }
    this.#signal.throwIfAborted();
  }

  close(): void {
    this.#stop.abort();
    this.#detach();
    for (const { settle } of this.#open.values()) settle('later');
  }

  /** Ends the subscription on the server. */
  async release(): Promise<void> {
    if (this.#url !== undefined) await this.#release(this.#url);
  }

  /* -------------------------------------------------- the subscription -------------------------------------------------- */

  /**
   * Creates or renews the subscription. Resolves with the time of the next renewal (epoch
   * milliseconds).
   */
  async #subscribe(): Promise<number> {
    const registration = await this.#registration();
    const { url } = registration;
    if (!isAllowed(url))
      throw new LocalError(
        'not_supported',
        'The URL of the callback endpoint is not an https URL, but SEP-3415 requires one. Serve the endpoint over https.',
        { reason: 'https' },
      );
    const old = this.#url;
    let isReset = false;
    const result = await this.#ask(registration, this.#cursor).catch((error: unknown) => {
      isReset = isCursorRefused(error, this.#cursor);
      if (!isReset) throw error;
      return this.#ask(registration, null);
    });
    this.#url = url;
    this.#note(result, isReset);
    // The URL identifies the subscription: with a new URL it is another one.
    if (old !== undefined && old !== url) await this.#release(old);
    return (
      this.#context.clock.now() +
      Math.min(
        renewalOf(result['refreshBefore'], this.#context.clock.now()),
        Math.max(RENEW_MS_MIN, registration.renewAt - this.#context.clock.now()),
      )
    );
  }

  #ask({ url, secret }: Registration, cursor: string | null): Promise<Raw> {
    return callEvents(
      this.#context.connection,
      'events/subscribe',
      this.#selection,
      { delivery: { mode: 'webhook', url, secret }, cursor },
      this.#signal,
    );
  }

  async #registration(): Promise<Registration> {
    const isOld =
      this.#url !== undefined && this.#context.clock.now() - this.#secretSince >= SECRET_MS;
    if (!isOld || !this.#callback.rotate) return this.#callback.register(this.#who);
    this.#secretSince = this.#context.clock.now();
    // `rotate` replaces the secret only. `register` also replaces a URL whose token expires soon.
    await this.#callback.rotate(this.#who);
    return this.#callback.register(this.#who);
  }

  #note(result: Raw, isReset: boolean): void {
    const { id } = result;
    if (typeof id !== 'string' || id === '')
      throw misbehaved('subscribe', 'the result of events/subscribe has no id');
    this.#id = id;
    const cursor = cursorOf(result['cursor']);
    const isMissing = isReset || (isTruncated(result) && this.#cursor !== null);
    if (isMissing && cursor !== null)
      this.#queue.push({ type: 'gap', reason: 'truncated', mark: cursor });
    else if (cursor !== null) this.#queue.push({ type: 'mark', mark: cursor });
    if (cursor !== null) this.#cursor = cursor;
  }

  /** Renews until the mode is closed; rejects with an error that another attempt cannot repair. */
  async #keepRenewing(firstAt: number): Promise<void> {
    const { clock } = this.#context;
    const backoff = new Backoff();
    let dueAt = firstAt;
    for (;;) {
      while (dueAt > clock.now() && !this.#signal.aborted)
        await sleep(clock, Math.min(dueAt - clock.now(), SLICE_MS), this.#signal);
      if (this.#signal.aborted) return;
      try {
        dueAt = await this.#subscribe();
        backoff.reset();
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!isTransient(error)) throw error;
        dueAt = clock.now() + backoff.next(error);
      }
    }
  }

  async #release(url: string): Promise<void> {
    await callEvents(
      this.#context.connection,
      'events/unsubscribe',
      this.#selection,
      { delivery: { url } },
      AbortSignal.timeout(RELEASE_MS),
    ).catch(() => undefined);
  }

  /* -------------------------------------------------- the messages ------------------------------------------------------ */

  async #take(
    { subscriptionId, body }: WebhookMessage,
    deadline: AbortSignal,
  ): Promise<WebhookResult> {
    // Before the result of events/subscribe has arrived, only the signature identifies the sender.
    if (this.#id !== undefined && subscriptionId !== this.#id) return 'later';
    if (body['type'] === undefined) return this.#respond(deadline, () => this.#event(body));
    if (body['type'] === 'gap') return this.#respond(deadline, () => this.#gap(body));
    if (body['type'] !== 'terminated') return 'unacceptable';
    this.#queue.fail(terminated(body['error']));
    return 'taken';
  }

  #event(body: Raw): Incoming {
    const event = eventOf(body, this.#selection.name);
    return {
      subject: `event ${event.event.eventId}`,
      yielded: { ...event, ...markOf(cursorOf(body['cursor'])) },
    };
  }

  #gap(body: Raw): Incoming {
    const cursor = cursorOf(body['cursor']);
    return {
      subject: `gap ${cursor}`,
      yielded: { type: 'gap', reason: 'truncated', ...markOf(cursor) },
    };
  }

  async #respond(deadline: AbortSignal, read: () => Incoming): Promise<WebhookResult> {
    let message: Incoming;
    try {
      message = read();
    } catch (error) {
      this.#queue.fail(error);
      return 'unacceptable';
    }
    if (this.#finished.has(message.subject)) return 'taken';
    const result = this.#open.get(message.subject)?.result ?? this.#enqueue(message);
    return Promise.race([result, fired(deadline)]);
  }

  #enqueue({ subject, yielded }: Incoming): Promise<WebhookResult> {
    if (this.#open.size >= WAITING_MAX || this.#signal.aborted) return Promise.resolve('later');
    let settle!: (result: WebhookResult) => void;
    const result = new Promise<WebhookResult>((resolve) => {
      settle = resolve;
    });
    this.#open.set(subject, { result, settle });
    const { mark } = yielded;
    const done = (): void => {
      this.#open.delete(subject);
      this.#finished.add(subject);
      if (this.#finished.size > FINISHED_MAX)
        this.#finished.delete(this.#finished.values().next().value!);
      if (mark !== undefined) this.#cursor = mark;
      settle('taken');
    };
    this.#queue.push({ ...yielded, done });
    return result;
  }
}

/** Milliseconds until a subscription with this `refreshBefore` is renewed. */
export function renewalOf(refreshBefore: unknown, now: number, random = Math.random()): number {
  const lifetimeMs = typeof refreshBefore === 'string' ? Date.parse(refreshBefore) - now : NaN;
  const dueMs = Number.isNaN(lifetimeMs)
    ? RENEW_MS_MAX
    : lifetimeMs * (RENEW_FROM + (RENEW_TO - RENEW_FROM) * random);
  return Math.max(RENEW_MS_MIN, Math.min(dueMs, RENEW_MS_MAX));
}

/** Whether the URL has https, or for development a loopback host. */
function isAllowed(text: string): boolean {
  const { protocol, hostname } = new URL(text);
  return (
    protocol === 'https:' ||
    (protocol === 'http:' && /^(127(\.[0-9]+){3}|\[::1\]|localhost)$/.test(hostname))
  );
}

const fired = (signal: AbortSignal): Promise<'later'> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve('later');
    signal.addEventListener('abort', () => resolve('later'), { once: true });
  });
