/** The request before anybody is trusted: what may be read of it, and no more of its body than a delivery can have. */
import type { Clock } from '../protocol/lib/clock.ts';
import { CALLBACK_CONTENT_TYPE, CONTENT_TYPE } from '../protocol/wire/headers.ts';
import { CALLBACK_BODY_BYTES_MAX } from '../protocol/wire/limits.ts';
import { ReceiverRefusal } from './refusal.ts';

/** Method, media type and announced size. */
export function checkEnvelope(request: Request): void {
  if (request.method !== 'POST') throw new ReceiverRefusal('method');
  const media = request.headers.get(CONTENT_TYPE)?.split(';')[0]?.trim().toLowerCase();
  if (media !== CALLBACK_CONTENT_TYPE) throw new ReceiverRefusal('content_type');
  const encoding = request.headers.get('content-encoding');
  // Nothing is ever unpacked here, so nothing can be a bomb.
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity')
    throw new ReceiverRefusal('content_encoding');
  if (Number(request.headers.get('content-length') ?? 0) > CALLBACK_BODY_BYTES_MAX)
    throw new ReceiverRefusal('too_large');
}

/** The raw body. Reading stops at the first byte too many, and when the time is over. */
export async function readBody(
  request: Request,
  clock: Clock,
  withinMs: number,
): Promise<Uint8Array> {
  const reader = request.body?.getReader();
  if (!reader) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let late = false;
  const giveUp = (): void => void reader.cancel().catch(() => undefined);
  const cancelTimer = clock.after(withinMs, () => {
    late = true;
    giveUp();
  });
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes += part.value.byteLength;
      if (bytes > CALLBACK_BODY_BYTES_MAX) throw new ReceiverRefusal('too_large');
      chunks.push(part.value);
    }
  } catch (error) {
    giveUp();
    throw error instanceof ReceiverRefusal ? error : new ReceiverRefusal('incomplete', error);
  } finally {
    cancelTimer();
  }
  if (late) throw new ReceiverRefusal('incomplete');
  return Buffer.concat(chunks);
}
