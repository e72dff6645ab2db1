/** An asynchronous queue. */
import type { Clock } from './clock.ts';

/**
 * A queue with any number of writers and one reader. The reader gets all items pushed before
 * {@link end} or {@link fail}, then the end or the error. Later pushes are ignored.
 */
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

  /**
   * Resolves with the next item; with undefined after `withinMs`, at the end, or when `signal` fires.
   * Rejects with the error of {@link fail}.
   */
  async next(clock: Clock, withinMs: number, signal: AbortSignal): Promise<T | undefined> {
    if (this.#items.length === 0 && this.#end === undefined && !signal.aborted) {
      const change = this.#nextChange();
      const cancel = clock.after(withinMs, () => this.#wake?.());
      const wake = (): void => this.#wake?.();
      signal.addEventListener('abort', wake, { once: true });
      await change;
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
      await this.#nextChange();
    }
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
