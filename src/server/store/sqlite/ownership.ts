/** Taking a store over: whose it is, whether the key fits, and whether anything was lost since the last owner. */
import { randomBytes } from 'node:crypto';
import type { Continuity } from '../../engine/ports.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { judge, type Witness } from './continuity.ts';
import { keyMissing } from './errors.ts';
import { saveMarks, type Marks } from './store-meta.ts';
import type { Queries } from './queries.ts';
import { meta } from './reads.ts';
import type { Sealer } from './cipher.ts';

const KEY_CHECK = 'meta/key_check/1';

/** Runs in a transaction. `before` is what the witness file said. */
export function takeOver(queries: Queries, seal: Sealer | null, before: Witness | null): { continuity: Continuity; marks: Marks } {
  queries.found.run(newInstance());
  const { marks: found, keyCheck } = meta(queries);
  checkKey(queries, seal, keyCheck);
  const verdict = judge(found, before);
  // Epochs that a process died before rotating are still to be rotated, however sound the store looks since.
  const continuity = verdict === 'continued' && queries.rotationDue.get() !== undefined ? 'maybe_lost' : verdict;
  if (verdict === 'maybe_lost') queries.markRotationDue.run();
  const marks = {
    ...found,
    // A new life of the database gets a new name, so that the file it was copied from is recognised as another one.
    instance: verdict === 'maybe_lost' ? newInstance() : found.instance,
    generation: Math.max(found.generation, before?.generation ?? 0) + 1,
  };
  saveMarks(queries, marks);
  return { continuity, marks };
}

const newInstance = (): string => randomBytes(16).toString('base64url');

/** A value sealed when the store got its key tells a wrong key at once, not at the first callback. */
function checkKey(queries: Queries, seal: Sealer | null, stored: Uint8Array | null): void {
  if (stored === null) {
    if (seal !== null) queries.setKeyCheck.run(seal.seal(KEY_CHECK, KEY_CHECK));
    return;
  }
  if (seal === null) throw keyMissing();
  try {
    seal.unseal(KEY_CHECK, stored);
  } catch (cause) {
    throw new LocalError('key_unknown', 'This key does not open the store. Give sqliteStore the key that the store was made with.', { cause });
  }
}
