/**
 * What the application has finished of what one selection has yielded, in order: being done with an item means being done with all
 * before it. The mark is saved first, then whoever waits for an answer gets it, so that a crash in between repeats and never loses.
 */
import type { MarkRecord } from '../../protocol/ledger/ledger.ts';

/** What the ledger is to remember. */
export type Progress = Pick<MarkRecord, 'mark' | 'number'> & { readonly mode: string | undefined };

/** What is settled together with an item; what is undefined stays as it is. */
export interface Entry extends Partial<Pick<MarkRecord, 'mark' | 'number' | 'mode'>> {
  readonly done?: () => void | Promise<void>;
}

interface Held extends Entry {
  readonly at: number;
  readonly isSilent: boolean;
}

export class AckTracker {
  readonly #save: (progress: Progress) => Promise<void>;
  /** Not settled yet, in order. */
  #held: Held[] = [];
  #count = 0;
  #finished = 0;
  #progress: Progress;
  #isDirty = false;
  /** Whom to answer, and whom to tell, after the next save. */
  #answers: (() => void | Promise<void>)[] = [];
  #waiters: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  #isRunning = false;

  constructor(progress: Progress, save: (progress: Progress) => Promise<void>) {
    this.#progress = progress;
    this.#save = save;
  }

  /** As far as it is settled. */
  get progress(): Progress {
    return this.#progress;
  }

  /** Settled as soon as everything before it is. */
  skip(entry: Entry): void {
    this.#held.push({ ...entry, at: ++this.#count, isSilent: true });
    // What fails here is told by the next item that is finished.
    this.#settle().catch(() => undefined);
  }

  /** Returns what finishes this item and all before it: resolves when that is saved and whoever waits for it was answered. */
  hand(entry: Entry): () => Promise<void> {
    const at = ++this.#count;
    this.#held.push({ ...entry, at, isSilent: false });
    return () => {
      this.#finished = Math.max(this.#finished, at);
      return this.#settle();
    };
  }

  /** Resolves when everything that was settled is saved. */
  flush(): Promise<void> {
    return this.#settle();
  }

  #settle(): Promise<void> {
    for (
      let first = this.#held[0];
      first && (first.isSilent || first.at <= this.#finished);
      first = this.#held[0]
    ) {
      this.#held.shift();
      const {
        mode = this.#progress.mode,
        mark = this.#progress.mark,
        number = this.#progress.number,
        done,
      } = first;
      if (
        mode !== this.#progress.mode ||
        mark !== this.#progress.mark ||
        number !== this.#progress.number
      )
        this.#isDirty = true;
      this.#progress = { mode, mark, number };
      if (done) this.#answers.push(done);
    }
    const settled = new Promise<void>((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
    if (!this.#isRunning) void this.#run();
    return settled;
  }

  /** One save at a time; what is settled during one shares the next. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiters.length > 0) {
      const waiters = this.#waiters.splice(0);
      const answers = this.#answers.splice(0);
      try {
        await this.#saveIfNew();
        for (let answer = answers.shift(); answer; answer = answers.shift()) await answer();
        for (const { resolve } of waiters) resolve();
      } catch (error) {
        // Whoever was not answered is answered after the next save that succeeds.
        this.#answers.unshift(...answers);
        for (const { reject } of waiters) reject(error);
      }
    }
    this.#isRunning = false;
  }

  async #saveIfNew(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    try {
      await this.#save(this.#progress);
    } catch (error) {
      this.#isDirty = true;
      throw error;
    }
  }
}
