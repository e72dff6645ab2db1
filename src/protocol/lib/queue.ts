/** A queue between something that pushes and one loop that reads: it ends or fails after what was pushed before. */
import type { Clock } from './clock.ts';

export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #end: { readonly error: unknown } | 'ended' | undefined;
  #wake: (() => void) | undefined;

  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    if (this.#end !== undefined) return;
    this.#items.push(item);
    this.#wake?.();
  }

  end(): void {
    this.#end ??= 'ended';
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** The next item, or undefined when none came within the time or `signal` has fired. Rejects when the queue has failed. */
  async next(clock: Clock, withinMs: number, signal: AbortSignal): Promise<T | undefined> {
    if (this.#items.length === 0 && this.#end === undefined && !signal.aborted) {
      const news = this.#news();
      const cancel = clock.after(withinMs, () => this.#wake?.());
      const wake = (): void => this.#wake?.();
      signal.addEventListener('abort', wake, { once: true });
      await news;
      cancel();
      signal.removeEventListener('abort', wake);
    }
    if (this.#items.length > 0) return this.#items.shift();
    if (typeof this.#end === 'object') throw this.#end.error;
    return undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift()!;
      if (this.#end === 'ended') return;
      if (this.#end !== undefined) throw this.#end.error;
      await this.#news();
    }
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
