/** Taking a store over: whose it is, whether the key fits, and whether anything was lost since the last owner. */
import { randomBytes } from 'node:crypto';
import type { Continuity } from '../../store/port.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { continuityOf, type Witness } from './continuity.ts';
import { keyMissing } from './errors.ts';
import { saveStoreMeta, type StoreMeta } from './store-meta.ts';
import type { Queries } from './queries.ts';
import { meta as readMeta } from './reads.ts';
import type { Cipher } from './cipher.ts';

const KEY_CHECK = 'meta/key_check/1';

/** Runs in a transaction. `before` is what the witness file said. */
export function takeOver(
  queries: Queries,
  cipher: Cipher | null,
  before: Witness | null,
): { continuity: Continuity; meta: StoreMeta } {
  queries.found.run(newInstance());
  const { meta: found, keyCheck } = readMeta(queries);
  checkKey(queries, cipher, keyCheck);
  const verdict = continuityOf(found, before);
  // Epochs that a process died before rotating are still to be rotated, however sound the store looks since.
  const continuity =
    verdict === 'continued' && queries.rotationDue.get() !== undefined ? 'maybe_lost' : verdict;
  if (verdict === 'maybe_lost') queries.markRotationDue.run();
  const meta = {
    ...found,
    // A new life of the database gets a new name, so that the file it was copied from is recognised as another one.
    instance: verdict === 'maybe_lost' ? newInstance() : found.instance,
    generation: Math.max(found.generation, before?.generation ?? 0) + 1,
  };
  saveStoreMeta(queries, meta);
  return { continuity, meta };
}

const newInstance = (): string => randomBytes(16).toString('base64url');

/** A value sealed when the store got its key tells a wrong key at once, not at the first callback. */
function checkKey(queries: Queries, cipher: Cipher | null, stored: Uint8Array | null): void {
  if (stored === null) {
    if (cipher !== null) queries.setKeyCheck.run(cipher.encrypt(KEY_CHECK, KEY_CHECK));
    return;
  }
  if (cipher === null) throw keyMissing();
  try {
    cipher.decrypt(KEY_CHECK, stored);
  } catch (cause) {
    throw new LocalError(
      'key_unknown',
      'This key does not open the store. Give sqliteStore the key that the store was made with.',
      { cause },
    );
  }
}
