/** Reads deliveries, waits for values, and makes secrets, for the requirement tests and their peers. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** Parsed JSON. */
export type Json = Record<string, any>;

const PATIENCE_MS = 90_000;

/** Waits, in real time and far longer than it takes, until there is a value. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`Not within ${PATIENCE_MS} ms: ${what}`);
    await sleep(2);
  }
}

/** The highest number that a delivery covers. */
export const lastOf = (delivery: Json): number =>
  Math.max(
    delivery['afterSequence'],
    ...delivery['events'].map((event: Json) => event['sequence']),
    ...(delivery['gaps'] ?? []).map((gap: Json) => gap['to']),
  );

export const sequencesOf = (delivery: Json): number[] =>
  delivery['events'].map((event: Json) => event['sequence']);

export const secretOf = (bytes = 32): string => `whsec_${randomBytes(bytes).toString('base64')}`;
