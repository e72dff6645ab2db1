/**
 * The server of the requirement tests with `events/*` beside `triggers/*`: a real store on disk, a
 * real engine, HTTP over loopback. Only the time is simulated. The declarations in a request decide
 * its profile, as on any server.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'vitest';
import {
  attachEvents,
  defineTrigger,
  eventsDialects,
  type ProfileName,
} from 'mcp-triggers-experimental/server';
import { readInto } from '../../../requirements/stream-reader.ts';
import {
  box,
  eventually,
  mail,
  meter,
  World,
  type Asking,
  type Json,
  type WorldOptions,
} from '../../../requirements/world.ts';
import { Receiver, type Behavior } from './receiver.ts';

export { box, eventually, mail, meter, type Asking, type Json };

export const TRIGGERS = 'io.modelcontextprotocol/triggers';
export const EVENTS = 'io.modelcontextprotocol/events';
export const TAG = 'io.modelcontextprotocol/subscriptionId';

/** A type whose payload is not an object, so `events/*` cannot carry it. */
export const number = defineTrigger<object, number>({
  name: 'number.drawn',
  description: 'A number was drawn.',
  input: { type: 'object', additionalProperties: false },
  payload: { type: 'integer' },
});

/** The declaration of a client that knows SEP-3415. */
export const SEP: Asking = { clientCapabilities: { extensions: { [EVENTS]: {} } } };

export interface EventsWorldOptions extends WorldOptions {
  readonly undeclared?: ProfileName;
  readonly alwaysExpires?: boolean;
}

/** Everything that exists once per server. */
export class EventsWorld extends World {
  readonly #receivers: Receiver[] = [];
  readonly #open: AbortController[] = [];

  constructor({
    undeclared,
    alwaysExpires,
    engine = {},
    triggers = [box, meter, mail, number],
    ...rest
  }: EventsWorldOptions = {}) {
    super({
      ...rest,
      triggers,
      engine: { dialects: eventsDialects(), ...engine },
      install: (mcp, world) =>
        attachEvents(mcp, world.engine, {
          ...(alwaysExpires === undefined ? {} : { alwaysExpires }),
          log: {
            debug: () => undefined,
            info: (fields, message) =>
              void world.log.push(JSON.stringify({ level: 'info', ...fields, message })),
            warn: () => undefined,
            error: (fields, message) =>
              void world.log.push(JSON.stringify({ level: 'error', ...fields, message })),
          },
          ...(undeclared === undefined ? {} : { undeclared }),
        }),
    });
  }

  /** A poll; the first of a series has no cursor. */
  poll(params: object, asking: Asking = SEP): Promise<Json> {
    return this.ok('events/poll', { name: box.type.name, ...params }, asking);
  }

  /** Reads everything from this cursor on, poll by poll, and counts the polls. */
  async drain(
    cursor: string,
    params: object = {},
  ): Promise<{ readonly events: Json[]; readonly polls: number; readonly cursor: string }> {
    const events: Json[] = [];
    for (let polls = 1; ; polls += 1) {
      const result = await this.poll({ cursor, ...params });
      events.push(...result['events']);
      cursor = result['cursor'];
      if (result['hasMore'] !== true) return { events, polls, cursor };
    }
  }

  /** Opens `events/stream`; it is closed when the test is over. */
  async listen(params: object = {}, asking: Asking = SEP): Promise<Frames> {
    const controller = new AbortController();
    this.#open.push(controller);
    const response = await this.request(
      'events/stream',
      { name: box.type.name, ...params },
      { ...asking, signal: controller.signal },
    );
    return new Frames(response, controller);
  }

  /**
   * A webhook receiver on loopback, which echoes challenges and accepts everything unless the test
   * says otherwise.
   */
  async receiver(behave?: Behavior): Promise<Receiver> {
    const receiver = new Receiver(behave);
    await receiver.listen();
    this.#receivers.push(receiver);
    return receiver;
  }

  /** Calls `events/subscribe` for that receiver. */
  hook(receiver: Receiver, params: object = {}, asking: Asking = SEP): Promise<Json> {
    return this.ok(
      'events/subscribe',
      { name: box.type.name, delivery: receiver.delivery, ...params },
      asking,
    );
  }

  override async close(): Promise<void> {
    for (const controller of this.#open) controller.abort();
    for (const receiver of this.#receivers) receiver.close();
    await super.close();
  }
}

export async function eventsWorld(
  t: TestContext,
  options: EventsWorldOptions = {},
): Promise<EventsWorld> {
  const made = new EventsWorld(options);
  await made.start();
  t.onTestFinished(() => made.close());
  return made;
}

/** The frames of one response, as they arrive. */
export class Frames {
  readonly messages: Json[] = [];
  readonly #controller: AbortController;
  #over = false;
  #read = 0;

  constructor(response: Response, controller: AbortController) {
    this.#controller = controller;
    void readInto(this.messages, response)
      .catch(() => undefined)
      .finally(() => {
        this.#over = true;
      });
  }

  get over(): boolean {
    return this.#over;
  }

  /** The next message that was not read yet. */
  async next(): Promise<Json> {
    const at = this.#read++;
    return eventually(
      `message ${at + 1} on the stream`,
      () =>
        this.messages[at] ??
        (this.#over && assert.fail(`the stream is over: ${JSON.stringify(this.messages.at(-1))}`)),
    );
  }

  /** The params of the next notification, which must be of this kind. */
  async expect(kind: string): Promise<Json> {
    const message = await this.next();
    assert.equal(message['method'], `notifications/events/${kind}`, JSON.stringify(message));
    return message['params'] as Json;
  }

  async end(): Promise<Json> {
    await eventually('the end of the stream', () => this.#over);
    return this.messages.at(-1) ?? assert.fail('the stream ended without a word');
  }

  close(): void {
    this.#controller.abort();
  }
}
