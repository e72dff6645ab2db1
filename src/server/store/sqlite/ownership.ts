/**
 * Takes over a store at open: checks the key, detects lost commits, and begins a new generation.
 */
import { randomBytes } from 'node:crypto';
import type { Continuity } from '../../store/port.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { continuityOf, type Witness } from './continuity.ts';
import { keyMissing } from './errors.ts';
import { readStoreMeta, saveStoreMeta, type StoreMeta } from './store-meta.ts';
import type { Queries } from './queries.ts';
import type { Cipher } from './cipher.ts';

const KEY_CHECK = 'meta/key_check/1';

/**
 * Takes over the store; must run within a transaction. `before` is the content of the witness file.
 * Throws `LocalError` `key_unknown` or `store_corrupt`.
 */
export function takeOver(
  queries: Queries,
  cipher: Cipher | null,
  before: Witness | null,
): { continuity: Continuity; meta: StoreMeta } {
  queries.insertMeta.run(newInstance());
  const { meta: found, keyCheck } = readStoreMeta(queries);
  checkKey(queries, cipher, keyCheck);
  const observed = continuityOf(found, before);
  // An earlier process ended before it had rotated all epochs; the others must still rotate.
  const continuity =
    observed === 'continued' && queries.rotationDue.get() !== undefined ? 'maybe_lost' : observed;
  if (observed === 'maybe_lost') queries.markRotationDue.run();
  const meta = {
    ...found,
    // After a possible loss the database gets a new name, which distinguishes it from the database
    // of which it is a copy.
    instance: observed === 'maybe_lost' ? newInstance() : found.instance,
    generation: Math.max(found.generation, before?.generation ?? 0) + 1,
  };
  saveStoreMeta(queries, meta);
  return { continuity, meta };
}

const newInstance = (): string => randomBytes(16).toString('base64url');

/**
 * Detects a wrong key at open by decrypting a value that was encrypted when the store got its key.
 */
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
      'The key does not match the store. Pass sqliteStore the key with which the store was created.',
      { cause },
    );
  }
}
