/**
 * References to the data of events that are too large for a delivery (SEP: Data by reference). The
 * URI names the log and the number, so that nothing but the log decides who may read the data, and
 * for how long.
 */
import type { DataRef } from '../../../spec-schema/draft/schema.ts';
import type { Subscription } from '../../protocol/core/types.ts';
import { WireError } from '../../protocol/wire/errors.ts';
import type { ReadEntry, Store } from '../store/port.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { Caller } from './verbs.ts';

const PREFIX = 'triggers-data://log/';
const PATH = /^(sub_[A-Za-z0-9_-]{22,128})\/([A-Za-z0-9_-]{8,64})\/([1-9][0-9]{0,15})$/;

/** Whether a URI has the scheme of these references, even if it is malformed. */
export const isDataUri = (uri: string): boolean => uri.startsWith('triggers-data:');

/** The reference of an entry; undefined = the entry has its data, or is a gap. */
export const dataRefOf = (
  { subscriptionId, epoch }: Pick<Subscription, 'subscriptionId' | 'epoch'>,
  { sequence, dataBytes }: Pick<ReadEntry, 'sequence' | 'dataBytes'>,
): DataRef | undefined =>
  dataBytes === undefined
    ? undefined
    : { uri: `${PREFIX}${subscriptionId}/${epoch}/${sequence}`, bytes: dataBytes };

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
    const [, subscriptionId, epoch, number] =
      (uri.startsWith(PREFIX) ? PATH.exec(uri.slice(PREFIX.length)) : null) ?? [];
    if (subscriptionId === undefined) return null;
    const { store, subscriptions, unitOfWork } = this.#o;
    const loaded = await subscriptions.permitted(caller, subscriptionId).catch((error: unknown) => {
      if (error instanceof WireError && error.is('NotFound')) return null;
      throw error;
    });
    if (loaded === null || loaded.state.epoch !== epoch) return null;
    // A number can have become a gap that is not on disk yet.
    await unitOfWork.commit();
    const sequence = Number(number);
    const [entry] = await store.read(loaded.row, sequence - 1, 1, 1);
    return entry?.sequence === sequence && entry.dataBytes !== undefined
      ? store.data(entry.offset)
      : null;
  }
}
