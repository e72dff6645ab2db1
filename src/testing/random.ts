/** A reproducible random source for tests. Do not use it for secrets. */
import type { Random } from '../server/engine/ports.ts';

/** Creates a random source (mulberry32) whose values depend on `seed` alone. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const bits = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    uniform: () => bits() / 2 ** 32,
    token: (bytes) =>
      Buffer.from(Array.from({ length: bytes }, () => bits() & 0xff)).toString('base64url'),
  };
}
