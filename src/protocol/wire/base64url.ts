/**
 * Strict base64url for the segments of a JWS, in callback URLs and delivery signatures alike.
 * `Buffer` decodes leniently, so that many texts would be the same signature (RFC 4648 section 3.5).
 */

/** Decodes base64url; null if the text is not the exact encoding of the bytes. */
export function decodeBase64url(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : null;
}

/** Decodes the JSON object in a base64url segment; null if the segment does not contain one. */
export function decodeJsonSegment(segment: string): Record<string, unknown> | null {
  const bytes = decodeBase64url(segment);
  if (!bytes) return null;
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
