/**
 * A notification says that something has changed, never what: it is a doorbell. However often it rings before somebody looks, one
 * look answers it.
 */
import type { Clock } from '../../../../protocol/lib/clock.ts';

/** `quiet`: nobody rang within the time. `ended`: nobody will ring any more, and the server said so. */
export type Heard = 'ring' | 'quiet' | 'ended';

export class ChangeWaiter {
  #hasRung = false;
  #end: 'ended' | { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Whether the server may still ring. */
  get isHung(): boolean {
    return this.#end === undefined;
  }

  ring(): void {
    this.#hasRung = true;
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

  /** What is rung from now on asks for another look. */
  answer(): void {
    this.#hasRung = false;
  }

  /** Waits for a ring, at most so long, or until `signal` fires. Rejects with the error that the bell failed with. */
  async heard(clock: Clock, withinMs: number, signal: AbortSignal): Promise<Heard> {
    if (!this.#hasRung && this.isHung && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(withinMs, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
        signal.addEventListener('abort', this.#wake, { once: true });
      });
      signal.removeEventListener('abort', this.#wake!);
    }
    if (typeof this.#end === 'object') throw this.#end.error;
    if (this.#hasRung) return 'ring';
    return this.#end ?? 'quiet';
  }
}
