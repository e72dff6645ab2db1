/**
 * How far the store has come: the one row of `meta`. Every commit writes it, whole, so that numbers and offsets which were
 * given once are never given again, whatever has been deleted since.
 */
import { crc32 } from 'node:zlib';
import type { Checkpoint } from '../../engine/ports.ts';
import type { Witness } from './continuity.ts';
import type { Queries } from './queries.ts';

export interface Marks extends Witness {
  readonly lastOffset: number;
  readonly nextRow: number;
  readonly checkpoint: Checkpoint;
}

type Values = [instance: string, ...numbers: number[]];

const values = ({ instance, generation, commits, lastOffset, nextRow, checkpoint }: Marks): Values =>
  [instance, generation, commits, lastOffset, nextRow, checkpoint.offset, checkpoint.row];

export const marksChecksum = (marks: Marks): number => crc32(values(marks).join(' '));

export function saveMarks(queries: Queries, marks: Marks): void {
  queries.setMarks.run(...values(marks), marksChecksum(marks));
}
