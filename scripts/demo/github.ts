/**
 * Imitates GitHub: posts the example payloads of GitHub's documentation over HTTP, signed as GitHub
 * signs them. A webhook without a response is posted again with the same delivery id, as GitHub
 * redelivers it.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sign } from '@octokit/webhooks-methods';
import examples from '@octokit/webhooks-examples' with { type: 'json' };

/** A webhook to post. */
export interface Webhook {
  /** The value of `X-GitHub-Delivery`, which becomes the event's id. */
  readonly id: string;
  readonly event: string;
  readonly body: string;
}

/** A webhook with the response to its last attempt. */
export interface Posted {
  readonly webhook: Webhook;
  readonly status: number;
  /** Whether the server had already accepted an earlier attempt, whose response was lost. */
  readonly duplicate: boolean;
  readonly attempts: number;
  /** The time at which the first attempt started, by `performance.now()`. */
  readonly firstAt: number;
}

interface Example {
  readonly name: string;
  readonly examples: readonly object[];
}

/** Yields webhooks of these events in turn, without end, each with a new delivery id. */
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

  /** Posts once. Rejects if there is no response. `tamper` changes the body after it was signed. */
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

  /**
   * Posts until there is a response other than 503. Calls `onNoResponse` before each further
   * attempt. Rejects when `signal` fires.
   */
  async post(webhook: Webhook, signal: AbortSignal, onNoResponse?: () => void): Promise<Posted> {
    const firstAt = performance.now();
    for (let attempts = 1; ; attempts++) {
      signal.throwIfAborted();
      const response = await this.attempt(webhook).catch(() => undefined);
      if (response !== undefined && response.status !== 503)
        return {
          webhook,
          status: response.status,
          duplicate: response.text === 'duplicate',
          attempts,
          firstAt,
        };
      onNoResponse?.();
      await sleep(this.#retryMs, undefined, { signal });
    }
  }
}
