/**
 * Detects whether a store lost commits since it was last open. The witness, a small file
 * `<path>.instance` beside the database, records to which database it belongs and the number of
 * commits. It is written after every commit, when the database is synced already, so that it is
 * ahead of the database only if the database lost commits: a backup was restored, or the disk lost
 * data that it had confirmed. The witness itself is not synced at every commit, since its content
 * survives the end of the process without a sync (SEP: Epochs).
 *
 * Back up the database, never this file.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Continuity } from '../../store/port.ts';
import { createPrivate } from './files.ts';

/** The content of the witness file. */
export interface Witness {
  /** Random name of the database; replaced whenever commits may have been lost. */
  readonly instance: string;
  readonly generation: number;
  readonly commits: number;
}

/** Compares a database with its witness. `new` = no commits and no witness. */
export function continuityOf(database: Witness, witness: Witness | null): Continuity {
  if (witness === null) return database.commits === 0 ? 'new' : 'maybe_lost';
  if (witness.instance !== database.instance || witness.commits > database.commits)
    return 'maybe_lost';
  return 'continued';
}

/** Reads the file; null if it is missing, damaged or not a witness. */
export function readWitness(path: string): Witness | null {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch {
    // An unreadable witness counts as a missing one.
    return null;
  }
  const [instance, generation, commits, check] = text.trimEnd().split(' ');
  const witness = {
    instance: instance ?? '',
    generation: Number(generation),
    commits: Number(commits),
  };
  return Number.isSafeInteger(witness.commits) && checksum(witness) === check ? witness : null;
}

const checksum = ({ instance, generation, commits }: Witness): string =>
  crc32(`${instance} ${generation} ${commits}`).toString(16).padStart(8, '0');

/** The open witness file. */
export class WitnessFile {
  readonly #path: string;
  readonly #file: number;

  constructor(path: string) {
    this.#path = path;
    createPrivate(path);
    this.#file = openSync(path, 'r+');
  }

  /**
   * Overwrites the witness. A line has a fixed length, shorter than a disk sector, so that a write
   * replaces the former one completely.
   */
  write(witness: Witness): void {
    const { instance, generation, commits } = witness;
    const line = `${instance} ${pad(generation)} ${pad(commits)} ${checksum(witness)}\n`;
    writeSync(this.#file, line, 0, 'latin1');
  }

  /** Syncs the file and its directory entry to disk. */
  sync(): void {
    fsyncSync(this.#file);
    const directory = openSync(dirname(this.#path), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

const pad = (count: number): string => String(count).padStart(16, '0');
