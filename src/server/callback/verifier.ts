/**
 * Verifies consent: a callback receives only a challenge until its endpoint has proved that it
 * knows the secret. The store keeps each proof by principal, URL and secret. Limits failed challenges per
 * host, so that nobody can use the server to flood a third party (SEP: Verification).
 */
import { needsVerification } from '../../protocol/core/index.ts';
import type { Callback, Subscription } from '../../protocol/core/types.ts';
import { sha256 } from '../../protocol/wire/canonical.ts';
import { callbackEndpointError, resourceExhausted } from '../../protocol/wire/errors.ts';
import { CALLBACK_DEADLINE_MS } from '../../protocol/wire/limits.ts';
import { Secret } from '../../protocol/wire/secret.ts';
import { challengeFailure } from './answer.ts';
import type { Dialects } from './dialects.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Log, Meter, Random } from '../engine/ports.ts';
import type { Store } from '../store/port.ts';
import type { MessageSigner } from './message-signer.ts';

/** Most failed challenges to one host within `WINDOW_MS`. */
const FAILURES_MAX = 3;
const WINDOW_MS = 60_000;
/**
 * Most failed challenges to one host within `WINDOW_MS` after which it is still probed. Lower than
 * `FAILURES_MAX`, so that probes of a host that is down leave room for the calls of clients.
 */
const PROBE_FAILURES_MAX = 1;
/** Most challenges in flight or waiting for one host. */
const PENDING_MAX = 256;
/** Most hosts tracked at once. */
const HOSTS_MAX = 10_000;

interface Host {
  /** Failed challenges since `since`. */
  failures: number;
  /** Start of the window, in epoch milliseconds. */
  since: number;
  /** Challenges in flight or waiting. */
  pending: number;
  /** Whether a callback of this host has proved consent; challenges may then run concurrently. */
  proven: boolean;
  /**
   * Serializes challenges to an unproven host, so that a host that never consents receives at most
   * `FAILURES_MAX` per window.
   */
  turn: Promise<void>;
}

/** Dependencies of a {@link Verifier}. */
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

/** Challenges callbacks and looks up proofs. */
export class Verifier {
  readonly #o: VerifierOptions;
  readonly #hosts = new Map<string, Host>();

  constructor(options: VerifierOptions) {
    this.#o = options;
  }

  /**
   * When this principal's callback last proved its consent, in epoch milliseconds; null = never, or
   * too long ago.
   */
  async consent(
    principal: string,
    callback: Pick<Callback, 'url' | 'secret' | 'dialect'>,
  ): Promise<number | null> {
    // A native proof counts for every dialect. The reverse is not true: in other dialects, an echo
    // may suffice as a proof.
    const { url, secret } = callback;
    const names = new Set([consentName(callback), consentName({ url, secret })]);
    for (const name of names) {
      const at = await this.#o.store.verification(principal, name);
      if (!needsVerification(at, this.#o.clock.now())) return at;
    }
    return null;
  }

  /**
   * Challenges the callback. Resolves with the time of the proof, in epoch milliseconds. Rejects
   * with `CallbackEndpointError` and the category, or with `ResourceExhausted` after too many
   * recent failures of this host. A probe, which no call waits for, is rejected earlier.
   */
  async challenge(
    state: Subscription,
    callback: Pick<Callback, 'url' | 'secret' | 'dialect'>,
    { isProbe = false }: { readonly isProbe?: boolean } = {},
  ): Promise<number> {
    const { clock, random, dialects, egress, signer, log, meter } = this.#o;
    const dialect = dialects.of(callback);
    const name = new URL(callback.url).host;
    const most = isProbe ? PROBE_FAILURES_MAX : FAILURES_MAX;
    const host = this.#admit(name, most);
    const release = await this.#waitForTurn(host);
    try {
      this.#rejectFailing(host, most);
      const challenge = random.token(32);
      const message = dialect.challenge({ state, callback, random }, challenge);
      const signed = await signer.sign(
        message,
        { ...callback, previousSecret: null, previousUntil: null },
        state.subscriptionId,
        dialect.serverSignature,
      );
      const result = await egress.post({
        url: callback.url,
        headers: signed.headers,
        body: signed.body,
        deadlineMs: CALLBACK_DEADLINE_MS,
      });
      const reason = challengeFailure(
        dialect,
        result,
        challenge,
        Secret.parse(callback.secret),
        clock.now(),
      );
      meter.count('triggers_verifications_total', 1, { result: reason ?? 'ok' });
      if (reason === null) {
        host.proven = true;
        return clock.now();
      }
      log.info({ reason }, 'verification failed; the callback receives no events');
      this.#recordFailure(host);
      throw callbackEndpointError(reason);
    } finally {
      host.pending -= 1;
      release();
    }
  }

  /**
   * Waits until this host may be challenged; the returned function lets the next challenge start.
   */
  async #waitForTurn(host: Host): Promise<() => void> {
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

  #admit(name: string, failuresMax: number): Host {
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
    this.#rejectFailing(host, failuresMax);
    if (host.pending >= PENDING_MAX)
      throw resourceExhausted({ limit: 'verifications', max: PENDING_MAX, retryAfterMs: 1000 });
    return host;
  }

  #rejectFailing(host: Host, max: number): void {
    if (host.failures < max) return;
    throw resourceExhausted({
      limit: 'verifications',
      max,
      retryAfterMs: Math.max(0, host.since + WINDOW_MS - this.#o.clock.now()),
    });
  }

  #recordFailure(host: Host): void {
    if (host.failures === 0) host.since = this.#o.clock.now();
    host.failures += 1;
    host.proven = false;
  }
}

/**
 * The name under which the store keeps a proof: a hash, because URL and secret are secrets. A native
 * proof shows that the endpoint knows the secret, and an echo in another dialect does not, so that
 * it counts for every secret. Dialects whose names are equal before the dot share proofs.
 */
export const consentName = ({
  url,
  secret,
  dialect,
}: Pick<Callback, 'url' | 'secret' | 'dialect'>): string =>
  sha256(dialect === undefined ? `${secret} ${url}` : `${dialect.split('.')[0]} ${url}`);
