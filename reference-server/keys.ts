/**
 * Generated keys, for development. Each is in a file of its own that only its owner can read, and
 * stays the same after a restart. In production the keys come from the environment.
 */
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exportJWK, generateKeyPair, importJWK } from 'jose';
import { LocalError } from 'mcp-triggers-experimental';
import type { PrivateJwk } from './config.ts';

/**
 * Creates the data directory if it is missing. Only its owner has access, because it contains keys
 * and callback URLs.
 */
export async function prepareDataDir(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
}

/** Reads the 32-byte key that encrypts secrets in the store, or creates it. */
export async function storeKeyFile(dataDir: string): Promise<Uint8Array> {
  const text = await readOrMake(join(dataDir, 'store.key'), async () =>
    randomBytes(32).toString('base64'),
  );
  const key = new Uint8Array(Buffer.from(text.trim(), 'base64'));
  if (key.length !== 32)
    throw new LocalError(
      'key_unknown',
      `${join(dataDir, 'store.key')} is damaged: expected base64 of 32 bytes. Restore the file; without it the store cannot be read.`,
    );
  return key;
}

/** Reads an Ed25519 private key from `<name>.jwk`, or creates it. */
export async function signingKeyFile(dataDir: string, name: string): Promise<PrivateJwk> {
  const file = join(dataDir, `${name}.jwk`);
  const text = await readOrMake(file, async () => {
    const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    return JSON.stringify(await exportJWK(privateKey));
  });
  try {
    const jwk = JSON.parse(text) as PrivateJwk;
    await importJWK(jwk, 'EdDSA');
    if (typeof jwk.d !== 'string') throw new TypeError('The key is not private.');
    return jwk;
  } catch (cause) {
    throw new LocalError(
      'key_unknown',
      `${file} is damaged: expected a private Ed25519 key as JWK. Restore the file, or delete it to get a new key.`,
      { cause },
    );
  }
}

/** Writes or replaces a file that only its owner can read. */
export async function writeSecretFile(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, text, { mode: 0o600 });
  // The mode of `writeFile` applies to new files only.
  await chmod(file, 0o600);
}

/**
 * Reads a file, and creates it first if it is missing. Two processes that start together read the
 * same content, because `link` is atomic and fails if the file exists.
 */
async function readOrMake(file: string, make: () => Promise<string>): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  await writeFile(draft, await make(), { mode: 0o600, flush: true });
  try {
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft);
  }
  return readFile(file, 'utf8');
}
