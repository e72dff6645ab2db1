/**
 * A client that has only tools, reduced to its behavior: it makes the call that the last answer
 * named, and applies what comes. It rejects a missing number, so order and completeness need no
 * other check.
 */
import assert from 'node:assert/strict';
import type { Gap } from '../../../../spec-schema/draft/schema.ts';

/** A tool call as every SDK makes it. */
export type CallTool = (call: {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
}) => Promise<Record<string, unknown>>;

/** Whether it reads the structure of an answer or, as a model does, only the text. */
export type Reading = 'structure' | 'words';

interface Next {
  readonly tool: string;
  readonly arguments: Record<string, unknown>;
}

interface Read {
  readonly events: readonly { readonly sequence: number; readonly eventId: string }[];
  readonly gaps: readonly Gap[];
  readonly reset: boolean;
  readonly next: Next;
}

export class Follower {
  /** The applied items, in order: event ids, and gaps as `gap <reason>`. */
  readonly taken: string[] = [];
  /** Numbers that came again. */
  repeated = 0;
  /** Number of times the log was renumbered. */
  resets = 0;
  readonly #reading: Reading;
  #last = 0;
  #next: Next | null = null;

  constructor(reading: Reading) {
    this.#reading = reading;
  }

  async begin(call: CallTool, trigger: string, args: object = {}): Promise<void> {
    this.#next = this.#read(
      await call({ name: 'watch', arguments: { trigger, arguments: args } }),
    ).next;
  }

  /** Makes the next call and applies its answer. Nothing changes if the call fails. */
  async step(call: CallTool): Promise<void> {
    const answer = await this.#ask(call, this.#next!.arguments);
    this.#take(answer);
    this.#next = answer.next;
  }

  /**
   * Reads without acknowledging and discards the answer, like a client that dies while it handles
   * one.
   */
  async peek(call: CallTool): Promise<string[]> {
    const { watchId } = this.#next!.arguments;
    return (await this.#ask(call, { watchId })).events.map(({ eventId }) => eventId);
  }

  async #ask(call: CallTool, args: Record<string, unknown>): Promise<Read> {
    return this.#read(await call({ name: this.#next!.tool, arguments: args }));
  }

  #take({ events, gaps, reset }: Read): void {
    if (reset) {
      this.resets += 1;
      this.#last = 0;
    }
    const items = [
      ...events.map(({ sequence, eventId }) => ({ from: sequence, to: sequence, what: eventId })),
      ...gaps.map(({ from, to, reason }) => ({ from, to, what: `gap ${reason}` })),
    ].sort((a, b) => a.from - b.from);
    for (const { from, to, what } of items) {
      if (to <= this.#last) {
        this.repeated += 1;
        continue;
      }
      assert.equal(from, this.#last + 1, 'a number is missing');
      this.#last = to;
      this.taken.push(what);
    }
  }

  #read(result: Record<string, unknown>): Read {
    const [block] = result['content'] as { readonly text: string }[];
    assert.notEqual(result['isError'], true, block?.text);
    if (this.#reading === 'words') return readWords(block!.text);
    const {
      events = [],
      gaps = [],
      reset,
      next,
    } = result['structuredContent'] as Partial<Omit<Read, 'reset'>> & { reset?: object };
    return { events, gaps, reset: reset !== undefined, next: next! };
  }
}

function readWords(text: string): Read {
  const lines = text.split('\n');
  const [, tool, args] =
    /^Next: .*?\bcall (\S+) with (\{.*\})/.exec(lines.at(-1) ?? '') ??
    assert.fail(`the text does not name the next call: ${text}`);
  return {
    events: lines
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as { sequence: number; eventId: string }),
    gaps: lines.flatMap((line) => {
      const [, from, to = from, reason] =
        /^Gap: numbers? (\d+)(?: to (\d+))? will never come \((\w+)\)/.exec(line) ?? [];
      return from === undefined
        ? []
        : [{ from: Number(from), to: Number(to), reason: reason as Gap['reason'] }];
    }),
    reset: text.startsWith('Attention'),
    next: { tool: tool!, arguments: JSON.parse(args!) as Record<string, unknown> },
  };
}
