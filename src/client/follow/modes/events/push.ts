/**
 * The mode `events.push`: one `events/stream` request whose response carries the events. There is
 * no flow control, so the queue is bounded: when the server outruns the application, the stream
 * ends and is opened again from the last cursor (SEP-3415).
 */
import { STREAM_NOTIFICATIONS } from '../../../../protocol/events/names.ts';
import { AsyncQueue } from '../../../../protocol/lib/queue.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import { withCursor, withoutCursor } from '../../guarantee.ts';
import type { FollowTarget, ModeContext, ModeYield, ServerNumber } from '../../types.ts';
import { eventsError, terminated } from './errors.ts';
import {
  cursorOf,
  eventKey,
  eventOf,
  isCursorRefused,
  isTruncated,
  markOf,
  members,
  type Raw,
} from './messages.ts';

/** Events that may wait for the application. */
const WAITING_MAX = 256;
const { active, event, heartbeat, error: recoverable, terminated: over } = STREAM_NOTIFICATIONS;

export async function* push(
  target: FollowTarget,
  context: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const cursor = context.mark ?? null;
  let hasBegun = false;
  try {
    for await (const one of opened(target, context, cursor)) {
      hasBegun = true;
      yield one;
    }
  } catch (error) {
    if (hasBegun || !isCursorRefused(error, cursor)) throw error;
    for await (const one of opened(target, context, null)) {
      if (!hasBegun) yield { type: 'gap', reason: 'truncated' };
      hasBegun = true;
      yield one;
    }
  }
}

async function* opened(
  { selection }: FollowTarget,
  { connection, signal, tuning }: ModeContext,
  cursor: string | null,
): AsyncGenerator<ModeYield, void> {
  const queue = new AsyncQueue<ModeYield>();
  const stop = new AbortController();
  const fail = (error: unknown): void => {
    queue.fail(error);
    stop.abort();
  };
  const reader = new NotificationReader(selection.name, cursor);
  connection
    .stream(
      'events/stream',
      { ...eventKey(selection), cursor },
      {
        signal: AbortSignal.any([signal, stop.signal]),
        silenceMs: tuning.silenceMs,
        notifications: Object.values(STREAM_NOTIFICATIONS),
        onNotification: (method, params) => {
          try {
            // A heartbeat behind other values is dropped: the next one says the same.
            for (const one of reader.read(method, members(params))) {
              if (method !== heartbeat || one.type !== 'mark' || queue.size === 0) queue.push(one);
            }
            if (queue.size > WAITING_MAX) fail(tooFast());
          } catch (error) {
            fail(error);
          }
        },
      },
    )
    .then(
      () => queue.end(),
      (error: unknown) => queue.fail(eventsError(error)),
    );
  try {
    yield* queue;
    signal.throwIfAborted();
  } finally {
    stop.abort();
  }
}

/** Turns the notifications of one stream into what the mode yields. */
class NotificationReader {
  readonly #name: string;
  /** The cursor that the stream was opened with; undefined once it has begun. */
  #openedWith: string | null | undefined;
  #hasNumbers = false;
  /** Set when the server reports that something is missing and the next number will show what. */
  #flag: { readonly mark?: string } | undefined;

  constructor(name: string, cursor: string | null) {
    this.#name = name;
    this.#openedWith = cursor;
  }

  *read(method: string, params: Raw): Generator<ModeYield> {
    switch (method) {
      case active:
        return yield* this.#active(params);
      case event:
        return yield* this.#event(params);
      case heartbeat:
        return yield* this.#heartbeat(params);
      case over:
        throw terminated(params['error']);
      // The server continues the stream by itself.
      case recoverable:
        return;
    }
  }

  *#active(params: Raw): Generator<ModeYield> {
    const cursor = cursorOf(params['cursor']);
    const mark = markOf(cursor);
    yield {
      type: 'guarantee',
      guarantee: (cursor === null ? withoutCursor : withCursor)('events.push'),
    };
    // A stream that was opened without a cursor cannot have missed anything, and without a cursor
    // in the answer the server replays nothing.
    const isMissing = isTruncated(params) && cursor !== null && this.#openedWith !== null;
    this.#openedWith = undefined;
    if (isMissing && this.#hasNumbers) this.#flag = mark;
    else if (isMissing) yield { type: 'gap', reason: 'truncated', ...mark };
    else if (cursor !== null) yield { type: 'mark', mark: cursor };
  }

  *#event(params: Raw): Generator<ModeYield> {
    const event = eventOf(params, this.#name);
    const { number } = event;
    yield* this.#flagged(number ? [number] : []);
    this.#hasNumbers = number !== undefined;
    yield { ...event, ...markOf(cursorOf(params['cursor'])) };
  }

  *#heartbeat(params: Raw): Generator<ModeYield> {
    yield* this.#flagged([]);
    const cursor = cursorOf(params['cursor']);
    if (cursor !== null) yield { type: 'mark', mark: cursor };
  }

  *#flagged(shown: readonly ServerNumber[]): Generator<ModeYield> {
    if (this.#flag) yield { type: 'gap', reason: 'truncated', shown, ...this.#flag };
    this.#flag = undefined;
  }
}

const tooFast = (): LocalError =>
  new LocalError(
    'unreachable',
    `More than ${WAITING_MAX} events of the stream wait for the application. The stream is opened again from the last cursor.`,
    { reason: 'too_fast' },
  );
