/**
 * Events of GitHub: a webhook comes in, its signature is checked over the raw bytes, and it is answered with 2xx only after it
 * is on disk. GitHub does not retry by itself, so every refusal says in its text what to change or when to redeliver; a
 * redelivery has the same id and appends nothing.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  defineTrigger,
  type DeclaredTrigger,
  type Log,
  type Trigger,
} from 'mcp-triggers-experimental/server';
import type { WebhookAnswer, WebhookRequest } from '../app.ts';
import type { Emit, Source } from '../source.ts';
import { GITHUB_EVENTS, type GithubEvent } from './github-events.ts';
import { readRefusal } from './refusals.ts';

/** What GitHub posts: a JSON object, delivered as it is. */
type Payload = Readonly<Record<string, unknown>>;

export interface GithubSource extends Source {
  /** Takes one webhook. Resolves with 202 once its event is durable (or was before). */
  readonly handle: (request: WebhookRequest) => Promise<WebhookAnswer>;
}

export interface GithubSourceOptions {
  /** The webhook's secret. */
  readonly secret: string;
  readonly log: Log;
}

const MAX_BYTES = 25 * 2 ** 20;
const RETRY_AFTER_SECONDS = 60;
const RETENTION = { maxAgeMs: 7 * 86_400_000, maxEvents: 10_000 };
const HISTORY = { maxAgeMs: 3 * 86_400_000 };

/** The source behind `POST /sources/github`. */
export function githubSource({ secret, log }: GithubSourceOptions): GithubSource {
  const triggers = new Map(GITHUB_EVENTS.map((event) => [event.name, triggerOf(event)]));
  let emit: Emit | null = null;

  return {
    triggers: [...triggers.values()] as DeclaredTrigger[],
    start: (to) => void (emit = to),
    stop: () => void (emit = null),

    async handle({ headers, rawBody }) {
      if (rawBody.byteLength > MAX_BYTES) return say(413, `At most ${MAX_BYTES} bytes are read.`);
      if (!/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? ''))
        return say(415, 'Set the content type of the webhook to application/json.');
      if (!signed(rawBody, headers['x-hub-signature-256'], secret))
        return say(
          401,
          'The signature does not fit. Set the secret of the webhook to that of this server.',
        );

      // From here on the sender knows the secret.
      const name = headers['x-github-event'];
      const eventId = headers['x-github-delivery'];
      if (name === undefined || !/^[a-z][a-z0-9_]{0,63}$/.test(name))
        return say(400, 'The header X-GitHub-Event is missing or malformed.');
      if (eventId === undefined || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(eventId))
        return say(400, 'The header X-GitHub-Delivery is missing or no GUID.');
      const data = objectIn(rawBody);
      if (data === null) return say(400, 'The body is not a JSON object in UTF-8.');
      if (name === 'ping') return say(200, 'pong');
      const trigger = triggers.get(name);
      if (trigger === undefined)
        return say(
          422,
          `There is no trigger type github.${name}. Take this event off the webhook, or update the server.`,
        );
      if (emit === null) return later();

      try {
        const { duplicate } = await emit(trigger.event({ eventId: eventId.toLowerCase(), data }));
        return say(202, duplicate ? 'duplicate' : 'accepted');
      } catch (error) {
        const { verdict, code } = readRefusal(error);
        if (verdict === 'unknown') throw error;
        log.warn(
          { source: 'github', delivery: eventId, event: name, code },
          'a webhook was not accepted',
        );
        return verdict === 'later' ? later() : say(422, 'The payload cannot be an event.');
      }
    },
  };
}

const say = (status: number, body: string): WebhookAnswer => ({ status, body });
const later = (): WebhookAnswer => ({
  status: 503,
  body: 'Not accepted. Redeliver it later.',
  headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
});

/** HMAC-SHA256 over the bytes as they came: a decoded string has lost what made them differ. */
function signed(body: Uint8Array, header: string | undefined, secret: string): boolean {
  const given = /^sha256=([0-9a-f]{64})$/.exec(header ?? '')?.[1];
  const due = createHmac('sha256', secret).update(body).digest();
  return given !== undefined && timingSafeEqual(Buffer.from(given, 'hex'), due);
}

function objectIn(body: Uint8Array): Payload | null {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body),
    );
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Payload)
      : null;
  } catch {
    return null;
  }
}

function triggerOf({ name, about, action, repository }: GithubEvent): Trigger<Payload> {
  return defineTrigger<Record<string, unknown>, Payload>({
    name: `github.${name}`,
    description: `${about} \`data\` is GitHub's payload of the webhook event \`${name}\`.`,
    input: {
      type: 'object',
      properties: {
        ...(action
          ? {
              action: oneOrMore("What happened, as in the payload's `action`: one or several.", {
                maxLength: 100,
              }),
            }
          : {}),
        ...(repository
          ? {
              repository: oneOrMore('Where, as `owner/name`: one or several.', {
                maxLength: 140,
                pattern: '^[^/]+/[^/]+$',
              }),
            }
          : {}),
      },
      additionalProperties: false,
    },
    payload: { type: 'object' },
    attributes: {
      action: (data) => data['action'],
      repository: (data) =>
        (data['repository'] as { readonly full_name?: unknown } | undefined)?.full_name,
    },
    retention: RETENTION,
    history: HISTORY,
    ordering: 'arrival',
  });
}

function oneOrMore(
  description: string,
  rules: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const one = { type: 'string', minLength: 1, ...rules };
  return {
    description,
    anyOf: [one, { type: 'array', items: one, minItems: 1, maxItems: 64, uniqueItems: true }],
  };
}
