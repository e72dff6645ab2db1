/**
 * Tracks how far the application has come through the items of one track: finishing an item
 * finishes all items before it. The progress is saved before the server gets its response.
 */
import { systemClock } from '../../protocol/lib/clock.ts';
import type { MarkRecord } from '../../protocol/ledger/ledger.ts';
import { AckTracker } from '../ack-tracker.ts';

/** The members of the ledger's record that change. */
export type Progress = Pick<MarkRecord, 'mark' | 'number'> & { readonly mode: string | undefined };

/** The change of the progress when an item is finished; absent members do not change it. */
export interface ProgressStep extends Partial<Pick<MarkRecord, 'mark' | 'number' | 'mode'>> {
  /** Called once the progress is saved. */
  readonly done?: () => void | Promise<void>;
}

/** The acknowledgement tracker takes positions. Here they count items from 1, without epochs. */
const positionOf = (sequence: number) => ({ epoch: '', sequence });

export class ProgressTracker {
  readonly #acks: AckTracker;
  /** The steps of the unfinished items, in order. */
  readonly #steps: ProgressStep[] = [];
  #count = 0;
  #finished = 0;
  #progress: Progress;
  #isSaved = true;
  /** The `done` calls of finished items that wait for the next save. */
  readonly #unsaved: (() => void | Promise<void>)[] = [];
  /** The `done` calls of finished items that are saved. */
  readonly #answers: (() => void | Promise<void>)[] = [];

  constructor(start: Progress, save: (progress: Progress) => Promise<void>) {
    this.#progress = start;
    this.#acks = new AckTracker(positionOf(0), 0, {
      clock: systemClock,
      delayMs: 0,
      batch: 1,
      save: () => this.#save(save),
      send: () => this.#answer(),
      onFailure: () => null,
    });
  }

  /** The progress up to the last finished item. */
  get progress(): Progress {
    this.#advance();
    return this.#progress;
  }

  /** Adds a step without an item: it is finished as soon as every item before it is. */
  skip(step: ProgressStep): void {
    this.#steps.push(step);
    this.#acks.skip(++this.#count);
  }

  /**
   * Adds an item. Returns the function that finishes it and all before it; the function resolves
   * when that is saved and answered.
   */
  add(step: ProgressStep): () => Promise<void> {
    this.#steps.push(step);
    const position = positionOf(++this.#count);
    return () => this.#acks.acknowledge(position);
  }

  /** Resolves when everything that is finished is saved and answered. */
  flush(): Promise<void> {
    return this.#acks.flush();
  }

  /** Applies the steps of the items that were finished since. */
  #advance(): void {
    const { sequence } = this.#acks.done;
    const finished = this.#steps.splice(0, sequence - this.#finished);
    this.#finished = sequence;
    for (const { done, ...change } of finished) {
      const { mode, mark, number } = this.#progress;
      this.#progress = { ...this.#progress, ...change };
      const after = this.#progress;
      if (after.mode !== mode || after.mark !== mark || after.number !== number)
        this.#isSaved = false;
      if (done) this.#unsaved.push(done);
    }
  }

  async #save(save: (progress: Progress) => Promise<void>): Promise<void> {
    this.#advance();
    this.#answers.push(...this.#unsaved.splice(0));
    if (this.#isSaved) return;
    this.#isSaved = true;
    try {
      await save(this.#progress);
    } catch (error) {
      this.#isSaved = false;
      throw error;
    }
  }

  async #answer(): Promise<void> {
    for (let answer = this.#answers.shift(); answer; answer = this.#answers.shift()) await answer();
  }
}
