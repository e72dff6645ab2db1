/**
 * A scenario of SEP-3415 against a server, with helpers that follow a topic in one of the three
 * modes.
 */
import type { ControlTypes, Verb } from '../control.ts';
import { NotApplicable } from '../observations.ts';
import type { ServerScenario, ServerTest } from '../server/scenario.ts';
import { StreamReader } from '../server/stream-reader.ts';
import { RpcError, type Asking, type Json, type Session } from '../wire/session.ts';
import { Webhook } from './webhook.ts';

export type Mode = 'poll' | 'push' | 'webhook';

/** The event type and arguments to follow. */
export interface Followed {
  readonly name: string;
  readonly arguments: { readonly topic?: string };
}

/** One scenario, which decides one or more checks. */
export interface EventsScenario {
  readonly name: string;
  /** Summary of the scenario, in one sentence. */
  readonly about: string;
  /** The requirements that the scenario decides, by name without prefix: `log-contiguous`. */
  readonly checks: readonly string[];
  /** Modes that the plain type has to offer; without one of them the checks are `not applicable`. */
  readonly modes?: readonly Mode[];
  readonly verbs?: readonly Verb[];
  readonly types?: readonly (keyof ControlTypes)[];
  /** Runs while no other scenario runs, for example because it advances the clock. */
  readonly alone?: boolean;
  run(t: ServerTest, events: Events): Promise<void>;
}

/** Declares a scenario. It runs in the first revision that defines the extension. */
export const eventsScenario = ({
  name,
  about,
  checks,
  modes = [],
  verbs = [],
  types = verbs.includes('emit') ? ['plain'] : [],
  alone = false,
  run,
}: EventsScenario): ServerScenario => ({
  name,
  about,
  checks,
  alone,
  eras: '2026-07-28',
  needs: { verbs, types },
  async run(t) {
    const events = new Events(t);
    await events.require(modes);
    await run(t, events);
  },
});

/** The two sets of error codes in use: of the SEP and of the earlier design sketch. */
const CODES = {
  sep: {
    NotFound: -32023,
    Forbidden: -32024,
    ResourceExhausted: -32025,
    Unsupported: -32026,
    CallbackEndpointError: -32027,
  },
  sketch: {
    NotFound: -32011,
    Forbidden: -32012,
    ResourceExhausted: -32013,
    Unsupported: -32014,
    CallbackEndpointError: -32015,
  },
} as const;
export type ErrorName = keyof typeof CODES.sep;
export const INVALID_PARAMS = -32602;

/** Whether a code has this meaning in one of the sets. */
export const means = (code: unknown, name: ErrorName): boolean =>
  code === CODES.sep[name] || code === CODES.sketch[name];

/** `params` of the received notifications of this kind. */
export const notes = ({ messages }: Pick<StreamReader, 'messages'>, kind: string): Json[] =>
  messages
    .filter(({ method }) => method === `notifications/events/${kind}`)
    .map(({ params }) => params ?? {});

/** `data.n` of occurrences. */
export const numbersOf = (occurrences: readonly Json[]): number[] =>
  occurrences.map(({ data }) => data?.n);

export class Events {
  readonly #t: ServerTest;
  #name: string | undefined;

  constructor(t: ServerTest) {
    this.#t = t;
    this.#name = t.control.offer?.types.plain;
  }

  /**
   * The name of the plain type. Without a control interface: of a type that offers the required
   * modes.
   */
  get name(): string {
    return this.#name ?? this.#t.control.type('plain');
  }

  /** The descriptors of all pages. */
  async list(mcp: Session = this.#t.mcp): Promise<Json[]> {
    return (await mcp.pages('events/list')).flatMap(({ events }) => events);
  }

  /** Throws `NotApplicable` unless the plain type offers all of these modes. */
  async require(modes: readonly Mode[]): Promise<void> {
    if (modes.length === 0 && this.#name !== undefined) return;
    const list = await this.list();
    this.#name ??= list.find(({ delivery }) => modes.every((mode) => delivery?.includes(mode)))
      ?.name as string | undefined;
    const descriptor = list.find(({ name }) => name === this.name);
    if (descriptor === undefined)
      throw new Error(
        `events/list does not contain the type "${this.name}" of the control interface`,
      );
    for (const mode of modes)
      if (!descriptor.delivery?.includes(mode))
        throw new NotApplicable(`The server does not offer "${mode}" for "${this.name}".`);
  }

  /** The type with a new topic; without a control interface, with no arguments. */
  topic(name: string = this.name): Followed {
    return {
      name,
      arguments: this.#t.control.offer === undefined ? {} : { topic: this.#t.unique('topic') },
    };
  }

  /** Emits this many events for the topic; their `n` counts from `options.from`. */
  emit(
    { name, arguments: { topic } }: Followed,
    count: number,
    options: { readonly from?: number; readonly data?: object } = {},
  ): Promise<void> {
    return this.#t.emit(topic!, count, { name, ...options });
  }

  poll(followed: object, params: object = {}, mcp: Session = this.#t.mcp): Promise<Json> {
    return mcp.request('events/poll', { ...followed, ...params });
  }

  /** Polls once without a cursor, as a new client does, and returns the cursor. */
  async begin(followed: object, mcp: Session = this.#t.mcp): Promise<Json> {
    return (await this.poll(followed, { cursor: null }, mcp)).cursor;
  }

  /** Polls from a cursor until it has this many events, and returns them. */
  async pollAll(followed: object, cursor: Json, count: number): Promise<Json[]> {
    const found: Json[] = [];
    await this.#t.until(`${count} polled events`, async () => {
      const { events, cursor: next } = await this.poll(followed, { cursor });
      found.push(...events);
      cursor = next;
      return found.length >= count;
    });
    return found;
  }

  /** Opens a stream and waits for its first message or its end. */
  async stream(
    followed: object,
    params: object = {},
    mcp: Session = this.#t.mcp,
    asking: Asking = {},
  ): Promise<StreamReader> {
    const reader = new StreamReader(
      await mcp.open('events/stream', { ...followed, ...params }, asking),
    );
    this.#t.defer(async () => reader.close());
    await this.#t.until(
      'a first message on the stream',
      () => reader.messages.length > 0 || reader.ended !== undefined,
    );
    return reader;
  }

  /** The error that rejects a stream. Throws when the stream opens. */
  async streamRefusal(followed: object, mcp: Session = this.#t.mcp): Promise<RpcError> {
    const { ended, messages } = await this.stream(followed, {}, mcp);
    if (ended?.error === undefined)
      throw new Error(
        `events/stream was not rejected; its first message is ${JSON.stringify(messages[0])?.slice(0, 200)}`,
      );
    return new RpcError(ended.error, 200);
  }

  /**
   * Resolves with the events of a stream when it has this many. Throws when the stream ends early.
   */
  streamed(stream: StreamReader, count: number): Promise<Json[]> {
    return this.#t.until<Json[] | undefined>(`${count} events on the stream`, () => {
      const events = notes(stream, 'event');
      if (events.length < count && stream.ended !== undefined)
        throw new Error(`the stream ended after ${events.length} of ${count} events`);
      return events.length >= count ? events : undefined;
    });
  }

  async webhook(): Promise<Webhook> {
    const hook = await Webhook.listen(this.#t.subject.callbackBase);
    this.#t.defer(() => hook.close());
    return hook;
  }

  /** Subscribes; unsubscribes when the scenario ends. */
  async subscribe(
    hook: Webhook,
    followed: object,
    params: object = {},
    mcp: Session = this.#t.mcp,
  ): Promise<Json> {
    const { url } = hook;
    this.#t.defer(() => mcp.ask('events/unsubscribe', { ...followed, delivery: { url } }));
    return this.refresh(hook, followed, params, mcp);
  }

  /** Sends the same subscribe request again. */
  refresh(
    hook: Webhook,
    followed: object,
    params: object = {},
    mcp: Session = this.#t.mcp,
  ): Promise<Json> {
    return mcp.request('events/subscribe', { ...followed, delivery: hook.delivery, ...params });
  }

  /** Resolves when the webhook has received this many events. */
  hooked(hook: Webhook, count: number): Promise<true> {
    return this.#t.until(
      `${count} events at the webhook`,
      () => hook.events.length >= count,
    ) as Promise<true>;
  }

  /**
   * Declares a new event type and returns its name; removes it when the scenario ends. Throws
   * `NotShown` without the verb `declare`.
   */
  async ownType(): Promise<string> {
    const name = this.#t
      .unique('conformance.own')
      .replaceAll(/[^a-z0-9._]/gi, '_')
      .toLowerCase();
    await this.#t.control.do('declare', { name });
    this.#t.defer(() => this.#t.control.do('remove', { name, reason: 'trigger_removed' }));
    return name;
  }
}
