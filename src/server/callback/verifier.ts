/**
 * Consent: a callback is sent nothing but a challenge until its owner has proved to hold the secret. The proof is cached for
 * (principal, URL); failed challenges to one host are limited, so that nobody can be flooded through us (SEP: Verification).
 */
import { classifyAnswer, needsVerification } from '../../protocol/core/index.ts';
import type { Callback, FailureCategory, Subscription } from '../../protocol/core/types.ts';
import { sha256 } from '../../protocol/wire/canonical.ts';
import { callbackEndpointError, resourceExhausted } from '../../protocol/wire/errors.ts';
import { CALLBACK_DEADLINE_MS } from '../../protocol/wire/limits.ts';
import { Secret } from '../../protocol/wire/secret.ts';
import type { CallbackDialect } from './dialect.ts';
import type { Dialects } from './dialects.ts';
import { parse } from './dispatcher.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Log, Meter, Random } from '../engine/ports.ts';
import type { Store } from '../store/port.ts';
import type { MessageSigner } from './message-signer.ts';

/** Failed challenges that one host may see in a window. */
const FAILURES_MAX = 3;
const WINDOW_MS = 60_000;
/** Challenges under way or waiting for one host. */
const PENDING_MAX = 256;
/** Hosts remembered at once. */
const HOSTS_MAX = 10_000;

interface Host {
  failures: number;
  since: number;
  pending: number;
  /** Somebody there has proved consent: challenges may go out side by side. */
  proven: boolean;
  /** Until then they go out one after the other, so that a victim sees no more than `FAILURES_MAX`. */
  turn: Promise<void>;
}

export interface VerifierOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: Egress;
  readonly signer: MessageSigner;
  readonly dialects: Dialects;
  readonly log: Log;
  readonly meter: Meter;
}

export class Verifier {
  readonly #o: VerifierOptions;
  readonly #hosts = new Map<string, Host>();

  constructor(options: VerifierOptions) {
    this.#o = options;
  }

  /** When this principal last proved to own this callback, if that still counts. */
  async consent(
    principal: string,
    callback: Pick<Callback, 'url' | 'dialect'>,
  ): Promise<number | null> {
    // A proof of this protocol says more than the consent of another one, and so counts for it as well. The reverse would let an echo pass for a proof.
    const names = new Set([consentName(callback), consentName({ url: callback.url })]);
    for (const name of names) {
      const at = await this.#o.store.verification(principal, name);
      if (!needsVerification(at, this.#o.clock.now())) return at;
    }
    return null;
  }

  /**
   * Challenges the callback. Resolves with the instant of the proof; throws `CallbackEndpointError` with the category, or
   * `ResourceExhausted` when this host has failed too often just now.
   */
  async challenge(
    state: Subscription,
    callback: Pick<Callback, 'url' | 'secret' | 'dialect'>,
  ): Promise<number> {
    const { clock, random, dialects, egress, signer, log, meter } = this.#o;
    const dialect = dialects.of(callback);
    const name = new URL(callback.url).host;
    const host = this.#admit(name);
    const release = await this.#turn(host);
    try {
      this.#refuseFailing(host);
      const challenge = random.token(32);
      const message = dialect.challenge({ state, callback, random }, challenge);
      const sealed = await signer.sign(
        message,
        { ...callback, previousSecret: null, previousUntil: null },
        state.subscriptionId,
        dialect.serverSignature,
      );
      const result = await egress.post({
        url: callback.url,
        headers: sealed.headers,
        body: sealed.body,
        deadlineMs: CALLBACK_DEADLINE_MS,
      });
      const reason = this.#verdict(dialect, result, challenge, Secret.parse(callback.secret));
      meter.count('triggers_verifications_total', 1, { result: reason ?? 'ok' });
      if (reason === null) {
        host.proven = true;
        return clock.now();
      }
      log.info({ reason }, 'a callback failed its verification');
      this.#fail(host);
      throw callbackEndpointError(reason);
    } finally {
      host.pending -= 1;
      release();
    }
  }

  /** Waits until this host may be challenged; the returned function lets the next one go. */
  async #turn(host: Host): Promise<() => void> {
    host.pending += 1;
    if (host.proven) return () => undefined;
    let release = (): void => undefined;
    const before = host.turn;
    host.turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    return release;
  }

  #verdict(
    dialect: CallbackDialect,
    result: Awaited<ReturnType<Egress['post']>>,
    challenge: string,
    secret: Secret,
  ): FailureCategory | null {
    if (result.kind === 'failure') return result.category;
    if (result.status < 200 || result.status > 299) {
      const outcome = classifyAnswer(
        {
          status: result.status,
          retryAfter: result.retryAfter,
          body: undefined,
          now: this.#o.clock.now(),
        },
        { after: 0, to: 0 },
      );
      return 'category' in outcome ? outcome.category : 'http_4xx';
    }
    return dialect.consents(parse(result.body), challenge, secret) ? null : 'challenge_failed';
  }

  #admit(name: string): Host {
    const now = this.#o.clock.now();
    let host = this.#hosts.get(name);
    if (host === undefined) {
      if (this.#hosts.size >= HOSTS_MAX)
        for (const [other, one] of this.#hosts)
          if (one.pending === 0 && now - one.since >= WINDOW_MS) this.#hosts.delete(other);
      if (this.#hosts.size >= HOSTS_MAX)
        throw resourceExhausted({ limit: 'verifications', retryAfterMs: WINDOW_MS });
      host = { failures: 0, since: now, pending: 0, proven: false, turn: Promise.resolve() };
      this.#hosts.set(name, host);
    }
    if (now - host.since >= WINDOW_MS) {
      host.failures = 0;
      host.since = now;
    }
    this.#refuseFailing(host);
    if (host.pending >= PENDING_MAX)
      throw resourceExhausted({ limit: 'verifications', max: PENDING_MAX, retryAfterMs: 1000 });
    return host;
  }

  #refuseFailing(host: Host): void {
    if (host.failures < FAILURES_MAX) return;
    throw resourceExhausted({
      limit: 'verifications',
      max: FAILURES_MAX,
      retryAfterMs: Math.max(0, host.since + WINDOW_MS - this.#o.clock.now()),
    });
  }

  #fail(host: Host): void {
    if (host.failures === 0) host.since = this.#o.clock.now();
    host.failures += 1;
    host.proven = false;
  }
}

/** How a consent is named in the store: the URL itself is a secret. Dialects of one family, which is what stands before the dot, ask for it in the same way. */
export const consentName = ({ url, dialect }: Pick<Callback, 'url' | 'dialect'>): string =>
  sha256(dialect === undefined ? url : `${dialect.split('.')[0]} ${url}`);
