/**
 * References to the data of events that are too large for a delivery (SEP: Data by reference). The
 * URI names the log and the number, so that nothing but the log decides who may read the data, and
 * for how long.
 */
import type { DataRef } from '../../../spec-schema/draft/schema.ts';
import type { Subscription } from '../../protocol/core/types.ts';
import type { ReadEntry } from '../store/port.ts';

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

/** The place in a log that a URI names; null = it does not lead to one. */
export function parseDataUri(
  uri: string,
): (Pick<Subscription, 'subscriptionId' | 'epoch'> & { readonly sequence: number }) | null {
  const [, subscriptionId, epoch, number] =
    (uri.startsWith(PREFIX) ? PATH.exec(uri.slice(PREFIX.length)) : null) ?? [];
  return subscriptionId === undefined || epoch === undefined
    ? null
    : { subscriptionId, epoch, sequence: Number(number) };
}
