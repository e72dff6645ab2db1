/**
 * GitHub's side: real payloads of its documentation, signed as GitHub signs them and posted over HTTP. What is not answered is
 * posted again with the same delivery id until it is, as a redelivery would be.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sign } from '@octokit/webhooks-methods';
import examples from '@octokit/webhooks-examples' with { type: 'json' };

/** One webhook before it is posted. */
export interface Webhook {
  /** `X-GitHub-Delivery`, which becomes the event's id. */
  readonly id: string;
  readonly event: string;
  readonly body: string;
}

/** The answer that counts, and what it took to get it. */
export interface Posted {
  readonly webhook: Webhook;
  readonly status: number;
  /** The source had it already: an earlier attempt was accepted, its answer got lost. */
  readonly duplicate: boolean;
  readonly attempts: number;
  /** When the first attempt began, by `performance.now()`. */
  readonly firstAt: number;
}

interface Example {
  readonly name: string;
  readonly examples: readonly object[];
}

/** Payloads of these events in turn, each with a new delivery id, without end. */
export function* webhooks(events: readonly string[]): Generator<Webhook, never> {
  const all = (examples as unknown as readonly Example[]).filter(({ name }) =>
    events.includes(name),
  );
  for (let at = 0; ; at++) {
    const { name, examples: payloads } = all[at % all.length]!;
    yield {
      id: randomUUID(),
      event: name,
      body: JSON.stringify(payloads[Math.floor(at / all.length) % payloads.length]),
    };
  }
}

export class GitHub {
  readonly #url: string;
  readonly #secret: string;
  readonly #retryMs: number;

  constructor(origin: string, secret: string, retryMs = 100) {
    this.#url = `${origin}/sources/github`;
    this.#secret = secret;
    this.#retryMs = retryMs;
  }

  /** Posts once; rejects when there is no answer. `tamper` changes the body after it was signed. */
  async attempt(
    { id, event, body }: Webhook,
    tamper = (signed: string) => signed,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'GitHub-Hookshot/demo',
        'x-github-event': event,
        'x-github-delivery': id,
        'x-hub-signature-256': await sign(this.#secret, body),
      },
      body: tamper(body),
    });
    return { status: response.status, text: await response.text() };
  }

  /** Posts until it is answered by anything but "later". Rejects once `signal` fires. */
  async post(webhook: Webhook, signal: AbortSignal, onUnanswered?: () => void): Promise<Posted> {
    const firstAt = performance.now();
    for (let attempts = 1; ; attempts++) {
      signal.throwIfAborted();
      const answer = await this.attempt(webhook).catch(() => undefined);
      if (answer !== undefined && answer.status !== 503)
        return {
          webhook,
          status: answer.status,
          duplicate: answer.text === 'duplicate',
          attempts,
          firstAt,
        };
      onUnanswered?.();
      await sleep(this.#retryMs, undefined, { signal });
    }
  }
}
