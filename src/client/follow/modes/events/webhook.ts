/**
 * `events/subscribe`: the server calls back, one event at a time, and is answered when the application is done with it. The subscription
 * is soft state, so it is made again before it runs out, whether or not anybody is reading (SEP-3415).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import { canonicalJson, sha256 } from '../../../../protocol/wire/canonical.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import { Backoff, isTransient } from '../../../backoff.ts';
import type { WebhookMessage, WebhookResult } from '../../../../protocol/lib/sinks.ts';
import type { CallbackEndpoint } from '../../../options.ts';
import { AsyncQueue } from '../../../../protocol/lib/queue.ts';
import type { FollowGuarantee, Offer, ModeContext, ModeYield, FollowTarget } from '../../types.ts';
import { ask, isCursorRefused, keyOf } from './ask.ts';
import { misbehaved, terminated } from './errors.ts';
import { cursorOf, isTruncated, occurrenceOf, type Raw } from './occurrence.ts';

/** Events that wait for the application; each of them keeps a request of the server waiting. */
const WAITING_MAX = 256;
/** How many are remembered whose answer may not have arrived. */
const TAKEN_MAX = 1000;
/** A grant is renewed after a part of it that is uniform between these, so that many do not come at once. */
const RENEW_FROM = 0.5;
const RENEW_TO = 0.8;
/** However short a grant is, and however wrong the clocks. */
const RENEW_MS_MIN = 500;
/** One that never runs out is looked at all the same. */
const RENEW_MS_MAX = 3_600_000;
/** A timer does not run while a machine sleeps. */
const LOOK_MS = 60_000;
/** How long a secret is used. */
const SECRET_MS = 86_400_000;
/** Taking the subscription back is a courtesy. */
const RELEASE_MS = 5000;

/** What a server gives up after its last attempt, it does not tell: only its numbers would. */
const GUARANTEE: FollowGuarantee = {
  mode: 'events.webhook',
  order: 'sent',
  loss: 'undetected',
  gaps: 'flag',
  numbers: 'client',
};

/** Whether there is an endpoint that takes such webhooks. */
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

class Webhook {
  readonly #selection: FollowTarget['selection'];
  readonly #callback: CallbackEndpoint;
  readonly #who: { readonly audience: string; readonly key: string };
  readonly #context: ModeContext;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #queue = new AsyncQueue<ModeYield>();
  /** What is to be answered, by what it is about: a server that has lost patience sends the same again. */
  readonly #open = new Map<
    string,
    { readonly verdict: Promise<WebhookResult>; readonly settle: (verdict: WebhookResult) => void }
  >();
  /** What the application is done with; the last of it. */
  readonly #taken = new Set<string>();
  readonly #detach: () => void;
  /** The server's name of the subscription, once it is known. */
  #id: string | undefined;
  #url: string | undefined;
  /** The last watermark that the application has got to. */
  #cursor: string | null;
  #secretSince: number;

  constructor({ selection, callback }: FollowTarget, context: ModeContext) {
    this.#selection = selection;
    this.#callback = callback!;
    this.#context = context;
    this.#cursor = context.mark ?? null;
    this.#secretSince = context.clock.now();
    this.#signal = AbortSignal.any([context.signal, this.#stop.signal]);
    const { name, arguments: args } = keyOf(selection);
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
    this.#keep(renewAt).catch((error: unknown) => this.#queue.fail(error));
    yield { type: 'guarantee', guarantee: GUARANTEE };
    const { clock } = this.#context;
    while (!this.#signal.aborted) {
      const next = await this.#queue.next(clock, LOOK_MS, this.#signal);
      if (next) yield next;
    }
    this.#signal.throwIfAborted();
  }

  close(): void {
    this.#stop.abort();
    this.#detach();
    for (const { settle } of this.#open.values()) settle('later');
  }

  /** Takes it back from the server. */
  async release(): Promise<void> {
    if (this.#url !== undefined) await this.#release(this.#url);
  }

  /* -------------------------------------------------- the subscription -------------------------------------------------- */

  /** Makes it, or makes it again. Resolves with when that is due next. */
  async #subscribe(): Promise<number> {
    const registration = await this.#registration();
    const { url } = registration;
    if (!isAllowed(url))
      throw new LocalError(
        'not_supported',
        'The callback endpoint is not reached by https, as SEP-3415 asks.',
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
    // The URL is a part of its name: under the new one it is another subscription.
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
    return ask(
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
    // The URL may be due too; the secret stays with the key.
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

  /** Until it is closed; rejects with what cannot be helped by trying again. */
  async #keep(firstAt: number): Promise<void> {
    const { clock } = this.#context;
    const backoff = new Backoff();
    let dueAt = firstAt;
    for (;;) {
      while (dueAt > clock.now() && !this.#signal.aborted)
        await sleep(clock, Math.min(dueAt - clock.now(), LOOK_MS), this.#signal);
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
    await ask(
      this.#context.connection,
      'events/unsubscribe',
      this.#selection,
      { delivery: { url } },
      AbortSignal.timeout(RELEASE_MS),
    ).catch(() => undefined);
  }

  /* -------------------------------------------------- what arrives ------------------------------------------------------ */

  async #take(
    { subscriptionId, body }: WebhookMessage,
    deadline: AbortSignal,
  ): Promise<WebhookResult> {
    // Before the first answer has come, whoever signs with the secret is right.
    if (this.#id !== undefined && subscriptionId !== this.#id) return 'later';
    if (body['type'] === undefined) return this.#answer(deadline, () => this.#event(body));
    if (body['type'] === 'gap') return this.#answer(deadline, () => this.#gap(body));
    if (body['type'] !== 'terminated') return 'unacceptable';
    this.#queue.fail(terminated(body['error']));
    return 'taken';
  }

  #event(body: Raw): { readonly about: string; readonly one: ModeYield } {
    const occurrence = occurrenceOf(body, this.#selection.name);
    const cursor = cursorOf(body['cursor']);
    return {
      about: `event ${occurrence.event.eventId}`,
      one: { type: 'event', ...occurrence, ...(cursor === null ? {} : { mark: cursor }) },
    };
  }

  #gap(body: Raw): { readonly about: string; readonly one: ModeYield } {
    const cursor = cursorOf(body['cursor']);
    return {
      about: `gap ${cursor}`,
      one: { type: 'gap', reason: 'truncated', ...(cursor === null ? {} : { mark: cursor }) },
    };
  }

  async #answer(
    deadline: AbortSignal,
    read: () => { readonly about: string; readonly one: ModeYield },
  ): Promise<WebhookResult> {
    let message: ReturnType<typeof read>;
    try {
      message = read();
    } catch (error) {
      this.#queue.fail(error);
      return 'unacceptable';
    }
    if (this.#taken.has(message.about)) return 'taken';
    const verdict = this.#open.get(message.about)?.verdict ?? this.#enqueue(message);
    return Promise.race([verdict, fired(deadline)]);
  }

  #enqueue({
    about,
    one,
  }: {
    readonly about: string;
    readonly one: ModeYield;
  }): Promise<WebhookResult> {
    if (this.#open.size >= WAITING_MAX || this.#signal.aborted) return Promise.resolve('later');
    let settle!: (verdict: WebhookResult) => void;
    const verdict = new Promise<WebhookResult>((resolve) => {
      settle = resolve;
    });
    this.#open.set(about, { verdict, settle });
    const mark = 'mark' in one ? one.mark : undefined;
    const done = (): void => {
      this.#open.delete(about);
      this.#taken.add(about);
      if (this.#taken.size > TAKEN_MAX) this.#taken.delete(this.#taken.values().next().value!);
      if (mark !== undefined) this.#cursor = mark;
      settle('taken');
    };
    this.#queue.push({ ...one, done } as ModeYield);
    return verdict;
  }
}

/** Milliseconds until it should be made again. */
export function renewalOf(refreshBefore: unknown, now: number, random = Math.random()): number {
  const grantMs = typeof refreshBefore === 'string' ? Date.parse(refreshBefore) - now : NaN;
  const dueMs = Number.isNaN(grantMs)
    ? RENEW_MS_MAX
    : grantMs * (RENEW_FROM + (RENEW_TO - RENEW_FROM) * random);
  return Math.max(RENEW_MS_MIN, Math.min(dueMs, RENEW_MS_MAX));
}

/** By https; on this machine's own loopback also without, for development. */
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
