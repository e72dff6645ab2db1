/** Reads the data behind a reference, for the owner of the log (SEP: Data by reference). */
import { WireError } from '../../protocol/wire/errors.ts';
import type { Store } from '../store/port.ts';
import { parseDataUri } from './data-ref.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { Caller } from './verbs.ts';

export interface DataReaderOptions {
  readonly store: Store;
  readonly subscriptions: Subscriptions;
  readonly unitOfWork: UnitOfWork;
}

/** Reads the data behind a reference. */
export class DataReader {
  readonly #o: DataReaderOptions;

  constructor(options: DataReaderOptions) {
    this.#o = options;
  }

  /**
   * The JSON of the data; null = there is no such reference, or not for this caller. Rejects with
   * `Forbidden` when the owner may no longer follow its log.
   */
  async read(caller: Caller, uri: string): Promise<string | null> {
    const named = parseDataUri(uri);
    if (named === null) return null;
    const { subscriptionId, epoch, sequence } = named;
    const { store, subscriptions, unitOfWork } = this.#o;
    const loaded = await subscriptions.permitted(caller, subscriptionId).catch((error: unknown) => {
      if (error instanceof WireError && error.is('NotFound')) return null;
      throw error;
    });
    if (loaded === null || loaded.state.epoch !== epoch) return null;
    // A number can have become a gap that is not on disk yet.
    await unitOfWork.commit();
    const [entry] = await store.read(loaded.row, sequence - 1, 1, 1);
    return entry?.sequence === sequence && entry.dataBytes !== undefined
      ? store.data(entry.offset)
      : null;
  }
}
