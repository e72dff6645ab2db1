/**
 * `events/stream`: one request whose response carries the events. It has no acknowledgement and no flow control, so what waits here is
 * bounded: a server that is faster than the application is let go, and asked again from the last cursor (SEP-3415).
 */
import { LocalError } from '../../../../protocol/wire/errors.ts';
import { AsyncQueue } from '../../../../protocol/lib/queue.ts';
import type {
  FollowGuarantee,
  ModeContext,
  ModeYield,
  ServerNumber,
  FollowTarget,
} from '../../types.ts';
import { isCursorRefused, keyOf } from './ask.ts';
import { eventsError, terminated } from './errors.ts';
import { STREAM_NOTIFICATIONS } from '../../../../protocol/events/names.ts';
import { cursorOf, isTruncated, members, occurrenceOf, type Raw } from './occurrence.ts';

/** Events that wait for the application. */
const WAITING_MAX = 256;
const { active, event, heartbeat, error: recoverable, terminated: over } = STREAM_NOTIFICATIONS;

/** A stream that breaks off is opened again with the last cursor, if the server has such a thing. */
const WITH_CURSOR: FollowGuarantee = {
  mode: 'events.push',
  order: 'sent',
  loss: 'flagged',
  gaps: 'flag',
  numbers: 'client',
};
const WITHOUT: FollowGuarantee = {
  mode: 'events.push',
  order: 'sent',
  loss: 'undetected',
  gaps: 'none',
  numbers: 'client',
};

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
  const reader = new Reader(selection.name, cursor);
  connection
    .stream(
      'events/stream',
      { ...keyOf(selection), cursor },
      {
        signal: AbortSignal.any([signal, stop.signal]),
        silenceMs: tuning.silenceMs,
        notifications: Object.values(STREAM_NOTIFICATIONS),
        onNotification: (method, params) => {
          try {
            // A heartbeat that nobody has time for says nothing that the next one does not say.
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

/** What one notification says, in the light of those before. */
class Reader {
  readonly #name: string;
  /** What the stream was opened with; undefined once it has begun. */
  #openedWith: string | null | undefined;
  #hasNumbers = false;
  /** The server says that something is missing, and the next number will say what. */
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
      // The server goes on by itself.
      case recoverable:
        return;
    }
  }

  *#active(params: Raw): Generator<ModeYield> {
    const cursor = cursorOf(params['cursor']);
    const mark = markOf(cursor);
    yield { type: 'guarantee', guarantee: cursor === null ? WITHOUT : WITH_CURSOR };
    // Before the first cursor nothing can have been missed, and without replay `truncated` says nothing.
    const isMissing = isTruncated(params) && cursor !== null && this.#openedWith !== null;
    this.#openedWith = undefined;
    if (isMissing && this.#hasNumbers) this.#flag = mark;
    else if (isMissing) yield { type: 'gap', reason: 'truncated', ...mark };
    else if (cursor !== null) yield { type: 'mark', mark: cursor };
  }

  *#event(params: Raw): Generator<ModeYield> {
    const occurrence = occurrenceOf(params, this.#name);
    const { number } = occurrence;
    yield* this.#flagged(number ? [number] : []);
    this.#hasNumbers = number !== undefined;
    yield { type: 'event', ...occurrence, ...markOf(cursorOf(params['cursor'])) };
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

const markOf = (cursor: string | null): { readonly mark?: string } =>
  cursor === null ? {} : { mark: cursor };

const tooFast = (): LocalError =>
  new LocalError(
    'unreachable',
    `More than ${WAITING_MAX} events of the stream are waiting here. It is opened again from the last cursor.`,
    { reason: 'too_fast' },
  );
