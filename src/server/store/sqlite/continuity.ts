/**
 * Did this store lose anything since it was last open? A small file beside the database, `<path>.instance`, remembers which
 * database it belongs to and how many commits it has seen. It is written after every commit without a sync, which survives
 * the death of the process; the database is synced before it, so it never runs ahead of an honest disk. A database behind
 * its witness was restored from a backup, or lost commits it had confirmed (SEP: Epochs).
 *
 * Back up the database, never this file.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Continuity } from '../../store/port.ts';
import { createPrivate } from './files.ts';

export interface Witness {
  /** Random name of one life of the database; a new one whenever something may have been lost. */
  readonly instance: string;
  readonly generation: number;
  readonly commits: number;
}

/** `fresh` = nothing was ever committed to this database. */
export function continuityOf(database: Witness, witness: Witness | null): Continuity {
  if (witness === null) return database.commits === 0 ? 'new' : 'maybe_lost';
  if (witness.instance !== database.instance || witness.commits > database.commits)
    return 'maybe_lost';
  return 'continued';
}

/** The file's content, or null when it is missing, torn or not ours. */
export function readWitness(path: string): Witness | null {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch {
    // Missing and unreadable mean the same: nobody can vouch for the database.
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

/** Keeps the file up to date. */
export class WitnessFile {
  readonly #path: string;
  readonly #file: number;

  constructor(path: string) {
    this.#path = path;
    createPrivate(path);
    this.#file = openSync(path, 'r+');
  }

  /** One write of fewer bytes than a disk sector, always the same length for one instance. */
  write(witness: Witness): void {
    const { instance, generation, commits } = witness;
    const line = `${instance} ${pad(generation)} ${pad(commits)} ${checksum(witness)}\n`;
    writeSync(this.#file, line, 0, 'latin1');
  }

  /** To the disk, its directory entry included. */
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
