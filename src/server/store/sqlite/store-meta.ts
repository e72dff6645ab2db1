/**
 * How far the store has come: the one row of `meta`. Every commit writes it, whole, so that numbers and offsets which were
 * given once are never given again, whatever has been deleted since.
 */
import { crc32 } from 'node:zlib';
import type { Checkpoint } from '../../store/port.ts';
import type { Witness } from './continuity.ts';
import type { Queries } from './queries.ts';

export interface StoreMeta extends Witness {
  readonly lastOffset: number;
  readonly nextRow: number;
  readonly checkpoint: Checkpoint;
}

type Values = [instance: string, ...numbers: number[]];

const values = ({
  instance,
  generation,
  commits,
  lastOffset,
  nextRow,
  checkpoint,
}: StoreMeta): Values => [
  instance,
  generation,
  commits,
  lastOffset,
  nextRow,
  checkpoint.offset,
  checkpoint.row,
];

export const storeMetaChecksum = (meta: StoreMeta): number => crc32(values(meta).join(' '));

export function saveStoreMeta(queries: Queries, meta: StoreMeta): void {
  queries.setMarks.run(...values(meta), storeMetaChecksum(meta));
}
