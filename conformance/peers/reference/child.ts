/**
 * The reference server as a child process, with trigger types for the conformance kit. It runs the
 * verbs of the control interface that its parent process sends over IPC.
 */
import {
  defineTrigger,
  type DeclaredTrigger,
  type Engine,
  type NewEvent,
} from 'mcp-triggers-experimental/server';
import { decodeJwt } from 'jose';
import { createAuth, type Auth } from '../../../reference-server/auth.ts';
import { loadConfig, secretsOf } from '../../../reference-server/config.ts';
import { createLog } from '../../../reference-server/log.ts';
import { runHttp } from '../../../reference-server/run-http.ts';
import type { Emit } from '../../../reference-server/sources/source.ts';
import { LeadingClock, resolveName } from './environment.ts';

const text = { type: 'string' } as const;
interface Item {
  readonly topic: string;
  readonly n: number;
  readonly pad?: string;
}
const PAYLOAD = {
  type: 'object',
  required: ['topic', 'n'],
  properties: { topic: text, n: { type: 'integer' }, pad: text },
};
/** The data of the last event of each topic of `conformance.initial`. */
const states = new Map<string, Item>();

/** All types have the same shape and differ in the features that the kit needs. */
function itemType(
  name: string,
  more: Partial<Pick<Parameters<typeof defineTrigger>[0], 'history' | 'retention' | 'drains'>> = {},
): DeclaredTrigger {
  return defineTrigger<{ topic?: string }, Item>({
    name,
    description: 'Something happened to a topic.',
    input: { type: 'object', properties: { topic: text }, additionalProperties: false },
    payload: PAYLOAD,
    ...more,
  });
}

const HOUR_MS = 3_600_000;
const TRIGGERS: readonly DeclaredTrigger[] = [
  itemType('conformance.plain'),
  itemType('conformance.history', { history: { maxAgeMs: HOUR_MS } }),
  itemType('conformance.short', {
    retention: { maxAgeMs: HOUR_MS, maxEvents: 20, maxBytes: 524_288 },
    history: { maxAgeMs: HOUR_MS },
  }),
  itemType('conformance.pull_only', { drains: ['pull'] }),
  defineTrigger<{ topic: string }, Item>({
    name: 'conformance.initial',
    description: 'The state of a topic changed.',
    input: {
      type: 'object',
      properties: { topic: text },
      required: ['topic'],
      additionalProperties: false,
    },
    payload: PAYLOAD,
    initial: ({ topic }) => ({ data: states.get(topic) ?? { topic, n: 0 } }),
  }),
];

const { CONFORMANCE_LEAD_MS = '0', ...environment } = process.env;
const config = loadConfig(environment);
/** Authenticates the tokens of two issuers, which have the same keys. */
async function twoIssuers(): Promise<Auth> {
  const [first, second] = await Promise.all([
    createAuth(config),
    createAuth({ ...config, AUTH_ISSUER: new URL('/second', config.AUTH_ISSUER) }),
  ]);
  return {
    ...first,
    authenticate: (request) =>
      (issuerIn(request)?.endsWith('/second') === true ? second : first).authenticate(request),
  };
}

function issuerIn({ headers }: Request): string | undefined {
  try {
    return decodeJwt((headers.get('authorization') ?? '').replace(/^Bearer /, '')).iss;
  } catch {
    return undefined;
  }
}

const clock = new LeadingClock(Number(CONFORMANCE_LEAD_MS));
const forbidden = new Set<string>();
const refusalOf = (principal: string, name: string): string => JSON.stringify([principal, name]);
/** Whether a principal may follow a type; `stranger` may follow none. */
const permitted = (principal: string, name: string): boolean =>
  !principal.includes('"stranger"') && !forbidden.has(refusalOf(principal, name));
const stop = new AbortController();
let emit: Emit;
let engine: Engine;

type Order = Readonly<Record<string, unknown>> & { readonly do: string };
const verbs: Readonly<Record<string, (request: any) => Promise<unknown>>> = {
  async emit({ events }: { events: NewEvent[] }) {
    for (const { name, data } of events)
      if (name === 'conformance.initial') states.set((data as Item).topic, data as Item);
    await Promise.all(events.map((event) => emit(event)));
    await engine.settled();
  },
  unwatch: (gap: { name: string; arguments?: Record<string, unknown> }) =>
    emit({ ...gap, gap: 'unwatched' }).then(() => engine.settled()),
  async advance({ ms }: { ms: number }) {
    clock.advance(ms);
  },
  async permit({
    principal,
    name,
    allowed,
    told = true,
  }: {
    principal: string;
    name: string;
    allowed: boolean;
    told?: boolean;
  }) {
    if (allowed) forbidden.delete(refusalOf(principal, name));
    else forbidden.add(refusalOf(principal, name));
    if (allowed || !told) return;
    for (let cursor: string | undefined; ;) {
      const page = await engine.subscriptions(
        { principal },
        cursor === undefined ? {} : { cursor },
      );
      for (const { subscriptionId, select } of page.subscriptions)
        if (select.some((selection) => selection.name === name))
          await engine.terminate({ principal, subscriptionId }, 'revoked');
      cursor = page.nextCursor;
      if (cursor === undefined) return;
    }
  },
  redact: (event: { name: string; eventId: string }) => engine.redact(event),
  remove: ({ name, reason }: { name: string; reason: 'trigger_removed' | 'schema_changed' }) =>
    engine.remove(name, reason),
  async declare({ name }: { name: string }) {
    engine.declare(itemType(name));
  },
};

process.on('message', (request: Order & { readonly id: number }) => {
  const { id, do: verb, ...params } = request;
  void Promise.resolve()
    .then(() => verbs[verb]!(params))
    .then(
      () => process.send!({ id }),
      (error: unknown) => process.send!({ id, error: String((error as Error).message) }),
    );
});
process.on('disconnect', () => stop.abort());
process.on('SIGTERM', () => stop.abort());

const log = createLog({
  level: config.LOG_LEVEL,
  format: 'text',
  secrets: () => secretsOf(config),
  out: process.stderr,
});
await runHttp({
  config,
  log,
  sources: {
    github: null,
    sources: [
      {
        triggers: TRIGGERS,
        start: (given) => {
          emit = given;
        },
        stop: () => undefined,
      },
    ],
  },
  stop: stop.signal,
  addSecret: () => undefined,
  print: () => process.send!({ ready: true }),
  engine: {
    clock,
    lookup: resolveName,
    authorize: ({ principal }, { name }) => permitted(principal, name),
    reauthorize: (principal, { name }) => permitted(principal, name),
  },
  auth: await twoIssuers(),
  onService: (service) => {
    engine = service.engine;
  },
});
process.disconnect?.();
