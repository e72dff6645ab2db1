/**
 * A source of GitHub webhooks. Verifies the signature over the raw bytes and returns 2xx only when
 * the event is durable. GitHub does not retry by itself, but shows each response to a person, who
 * can redeliver the event. So every error text says what to change, or when to redeliver. A
 * redelivery has the same id and is not emitted twice. Ids are compared per webhook, which the
 * header X-GitHub-Hook-ID names.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  defineTrigger,
  type DeclaredTrigger,
  type Log,
  type NewEvent,
  type Trigger,
} from 'mcp-triggers-experimental/server';
import type { WebhookAnswer, WebhookRequest } from '../app.ts';
import { emitFailure, type Emit, type Source } from './source.ts';
import { GITHUB_EVENTS, type GithubEvent } from './github-events.ts';

/** The payload of a webhook: a JSON object, which becomes the event's data unchanged. */
type Payload = Readonly<Record<string, unknown>>;

export interface GithubSource extends Source {
  /** Handles one webhook. Resolves with 202 once its event is durable. */
  readonly handle: (request: WebhookRequest) => Promise<WebhookAnswer>;
}

export interface GithubSourceOptions {
  /** The secret that GitHub signs the webhook with. */
  readonly secret: string;
  readonly log: Log;
}

const MAX_BYTES = 25 * 2 ** 20;
const RETRY_AFTER_SECONDS = 60;
const RETENTION = { maxAgeMs: 7 * 86_400_000, maxEvents: 10_000 };
const HISTORY = { maxAgeMs: 3 * 86_400_000 };

/** Creates the source. */
export function githubSource({ secret, log }: GithubSourceOptions): GithubSource {
  const triggers = new Map(GITHUB_EVENTS.map((event) => [event.name, triggerOf(event)]));
  let emit: Emit | null = null;

  return {
    triggers: [...triggers.values()] as DeclaredTrigger[],
    start: (to) => void (emit = to),
    stop: () => void (emit = null),

    async handle({ headers, rawBody }) {
      if (rawBody.byteLength > MAX_BYTES)
        return say(413, `The request body is too large. Send at most ${MAX_BYTES} bytes.`);
      if (!/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? ''))
        return say(
          415,
          'Unsupported media type. Set the content type of the webhook to application/json.',
        );
      if (!signed(rawBody, headers['x-hub-signature-256'], secret))
        return say(
          401,
          'The signature is not valid. Set the secret of the webhook to the secret of this server.',
        );

      // The signature is valid, so error texts may be specific from here on, and every rejection is
      // logged: GitHub has sent this event and may never send it again.
      const name = headers['x-github-event'];
      const delivery = headers['x-github-delivery'];
      const reject = (status: number, text: string): WebhookAnswer => {
        log.warn(
          { source: 'github', delivery: short(delivery), event: short(name), status },
          'authentic webhook rejected; its event was not emitted',
        );
        return say(status, text);
      };
      if (name === undefined || !/^[a-z][a-z0-9_]{0,63}$/.test(name))
        return reject(
          400,
          'The header X-GitHub-Event is missing or malformed. Let proxies forward the headers unchanged.',
        );
      if (delivery === undefined || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(delivery))
        return reject(
          400,
          'The header X-GitHub-Delivery is missing or not a GUID. Let proxies forward the headers unchanged.',
        );
      const data = objectIn(rawBody);
      if (data === null)
        return reject(400, 'The body is not a JSON object in UTF-8. Send the payload as JSON.');
      if (name === 'ping') return say(200, 'pong');
      if (!triggers.has(name))
        return reject(
          422,
          `There is no trigger type github.${name}. Remove this event from the webhook, or update the server.`,
        );
      if (emit === null) return later();

      try {
        const { duplicate, gap } = await emit({
          scope: scopeOf(headers),
          name: `github.${name}`,
          eventId: delivery.toLowerCase(),
          data,
          ...traceOf(headers),
        });
        return say(202, duplicate ? 'duplicate' : gap === null ? 'accepted' : 'accepted as a gap');
      } catch (error) {
        const { kind, code } = emitFailure(error);
        if (kind === 'unknown') throw error;
        log.warn(
          { source: 'github', delivery, event: name, code, err: error },
          'webhook not accepted; its event was not emitted',
        );
        return kind === 'transient'
          ? later()
          : say(422, 'The payload does not fit the trigger type. Do not redeliver it.');
      }
    },
  };
}

/** A header for the log. It comes from the sender and can have any length. */
const short = (header: string | undefined): string | null => header?.slice(0, 100) ?? null;

/** The webhook that sent the request. A proxy may remove the header, which is not signed. */
function scopeOf(headers: WebhookRequest['headers']): string {
  const hook = headers['x-github-hook-id'] ?? '';
  return /^\d{1,20}$/.test(hook) ? `github/hook/${hook}` : 'github';
}

/** The trace context that a proxy in front of the server added to the request. */
const traceOf = ({
  traceparent,
  tracestate,
}: WebhookRequest['headers']): Pick<NewEvent, '_meta'> =>
  traceparent === undefined
    ? {}
    : { _meta: { traceparent, ...(tracestate === undefined ? {} : { tracestate }) } };

const say = (status: number, body: string): WebhookAnswer => ({ status, body });
const later = (): WebhookAnswer => ({
  status: 503,
  body: 'The event was not accepted. Redeliver it later.',
  headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
});

/**
 * Verifies the HMAC-SHA256 of the raw bytes. Decoding them to text first could change them.
 */
function signed(body: Uint8Array, header: string | undefined, secret: string): boolean {
  const received = /^sha256=([0-9a-f]{64})$/.exec(header ?? '')?.[1];
  const expected = createHmac('sha256', secret).update(body).digest();
  return received !== undefined && timingSafeEqual(Buffer.from(received, 'hex'), expected);
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
              action: oneOrMore("One or several values of the payload's `action`.", {
                maxLength: 100,
              }),
            }
          : {}),
        ...(repository
          ? {
              repository: oneOrMore('One or several repositories, as `owner/name`.', {
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
