/**
 * Key material that development may generate: each in its own file, readable by the owner only, made once and then kept, so
 * that a restart changes no key. Production gives its keys in the environment and never comes here.
 */
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exportJWK, generateKeyPair } from 'jose';
import type { PrivateJwk } from './config.ts';

/** Creates the data directory if it is missing. It holds keys and other people's URLs: nobody else may look inside. */
export async function prepareDataDir(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
}

/** The 32 bytes that seal secrets in the store. */
export async function storeKeyFile(dataDir: string): Promise<Uint8Array> {
  const text = await keep(join(dataDir, 'store.key'), async () =>
    randomBytes(32).toString('base64'),
  );
  const key = new Uint8Array(Buffer.from(text.trim(), 'base64'));
  if (key.length !== 32)
    throw new Error(
      `${join(dataDir, 'store.key')} is damaged: expected base64 of 32 bytes. Restore it; without it the store cannot be read.`,
    );
  return key;
}

/** An Ed25519 private key in `<name>.jwk`. */
export async function signingKeyFile(dataDir: string, name: string): Promise<PrivateJwk> {
  const file = join(dataDir, `${name}.jwk`);
  const text = await keep(file, async () => {
    const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    return JSON.stringify(await exportJWK(privateKey));
  });
  try {
    return JSON.parse(text) as PrivateJwk;
  } catch (cause) {
    throw new Error(`${file} is damaged: expected a JWK. Delete it to have a new key made.`, {
      cause,
    });
  }
}

/** Writes a secret for another program of the same user, replacing what was there. */
export async function writeSecretFile(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, text, { mode: 0o600 });
  // The mode above applies to a new file only.
  await chmod(file, 0o600);
}

/** The file's text; made first if there is none. A link is atomic, so of two processes that start together one wins. */
async function keep(file: string, make: () => Promise<string>): Promise<string> {
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
