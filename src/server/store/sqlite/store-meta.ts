/**
 * The state of the store as a whole: the single row of table `meta`. Every commit writes it, so
 * that row numbers and offsets are never reused, even after deletions.
 */
import { crc32 } from 'node:zlib';
import type { Checkpoint } from '../../store/port.ts';
import type { Witness } from './continuity.ts';
import { storeCorrupt } from './errors.ts';
import type { Queries } from './queries.ts';

/** The row of `meta`, without `key_check`. */
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

const storeMetaChecksum = (meta: StoreMeta): number => crc32(values(meta).join(' '));

/** Writes the row. */
export function saveStoreMeta(queries: Queries, meta: StoreMeta): void {
  queries.saveMeta.run(...values(meta), storeMetaChecksum(meta));
}

/**
 * Reads the row, and the value that checks the key. Throws `LocalError` `store_corrupt` if the row
 * is missing or damaged.
 */
export function readStoreMeta(queries: Queries): {
  meta: StoreMeta;
  keyCheck: Uint8Array | null;
} {
  const row = queries.meta.get();
  if (row === undefined) throw storeCorrupt('table meta has no row');
  const meta: StoreMeta = {
    instance: row['instance'] as string,
    generation: row['generation'] as number,
    commits: row['commits'] as number,
    lastOffset: row['last_offset'] as number,
    nextRow: row['next_row'] as number,
    checkpoint: {
      offset: row['checkpoint_offset'] as number,
      row: row['checkpoint_row'] as number,
    },
  };
  // A new row has no checksum yet.
  if (meta.generation > 0 && storeMetaChecksum(meta) !== row['checksum'])
    throw storeCorrupt('the row of table meta fails its checksum');
  return { meta, keyCheck: row['key_check'] as Uint8Array | null };
}
