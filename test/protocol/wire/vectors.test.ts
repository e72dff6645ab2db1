/**
 * Runs every published vector of the wire layer through the library. The expected results were
 * computed without it.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import type { JSONWebKeySet, JWK } from 'jose';
import { readVectors } from '../../../spec-schema/tools/vectors.ts';
import type { ChallengeAnswer, Delivery, Gap } from '../../../spec-schema/draft/schema.ts';
import { verifyCallbackUrl } from '../../../src/protocol/wire/callback-url.ts';
import { webhookId } from '../../../src/protocol/wire/canonical.ts';
import { verifyDelivery } from '../../../src/protocol/wire/delivery-jws.ts';
import { acceptDelivery, coverage } from '../../../src/protocol/wire/envelope.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';
import { isChallengeProof, verifyWebhook } from '../../../src/protocol/wire/signature.ts';
import { check } from '../../../src/protocol/wire/validate.ts';

interface Case {
  readonly id: number;
  readonly comment: string;
  readonly verdict: 'valid' | 'invalid';
  readonly reason?: string;
}
type File<T, Shared = unknown> = Shared & { readonly cases: readonly (Case & T)[] };

/** Runs each case; `run` throws or returns false for a case that it rejects. */
function replay<T, Shared>(
  family: string,
  titled: string,
  run: (one: Case & T, file: File<T, Shared>) => unknown,
): void {
  const file = JSON.parse(readVectors(`${family}.json`)) as File<T, Shared>;
  describe(titled, () => {
    for (const one of file.cases) {
      test(`${family} ${one.id}: ${one.comment}: ${one.verdict}`, async () => {
        const outcome = await attempt(() => run(one, file));
        assert.equal(outcome.verdict, one.verdict);
        if (one.reason !== undefined) assert.equal(outcome.reason, one.reason);
      });
    }
  });
}

async function attempt(
  run: () => unknown,
): Promise<{ readonly verdict: 'valid' | 'invalid'; readonly reason?: string }> {
  try {
    return { verdict: (await run()) === false ? 'invalid' : 'valid' };
  } catch (error) {
    if (!(error instanceof LocalError)) throw error;
    return { verdict: 'invalid', reason: error.reason ?? error.code };
  }
}

const bytes = (base64: string): Buffer => Buffer.from(base64, 'base64');

replay<
  { secrets: string[]; headers: Record<string, string>; bodyBase64: string; nowMs: number },
  unknown
>(
  'standard-webhooks-signature',
  '[sig-grammar, sig-window, sig-any, sig-raw-bytes, sig-secret-format] webhook signatures',
  ({ secrets, headers, bodyBase64, nowMs }) =>
    verifyWebhook(
      headers,
      bytes(bodyBase64),
      secrets.map((text) => Secret.parse(text)),
      nowMs,
    ),
);

replay<{ secret: string; challenge: string; answer: ChallengeAnswer }, unknown>(
  'challenge-proof',
  '[cbv-proof] proofs',
  ({ secret, challenge, answer }) =>
    check('ChallengeAnswer', answer).ok &&
    answer.challenge === challenge &&
    isChallengeProof(Secret.parse(secret), challenge, answer.proof),
);

replay<
  {
    token: string;
    bodyBase64: string;
    issuer: string;
    url: string;
    subscriptionId: string;
    nowMs: number;
  },
  { jwks: JSONWebKeySet }
>(
  'delivery-jws',
  '[jws-verify, jws-header, jws-no-header-keys] delivery signatures',
  ({ token, bodyBase64, issuer, url, subscriptionId, nowMs }, { jwks }) =>
    verifyDelivery(token, bytes(bodyBase64), {
      issuer,
      url,
      subscriptionId,
      keys: ({ kid }) => jwks.keys.find((jwk) => jwk.kid === kid),
      nowMs,
    }),
);

replay<{ url: string; issuer: string; audience: string; nowMs: number }, { publicJwk: JWK }>(
  'callback-url-token',
  '[curl-alg, curl-claims] signed callback URLs',
  ({ url, issuer, audience, nowMs }, { publicJwk }) =>
    verifyCallbackUrl(url, { publicKeys: publicJwk, issuer, audience, now: nowMs }),
);

replay<
  {
    subscriptionId: string;
    epoch: string;
    afterSequence: number;
    last: number;
    gaps: Gap[];
    webhookId: string;
  },
  unknown
>(
  'webhook-id',
  '[cb-id-range] webhook-id',
  ({ afterSequence: after, ...one }) => webhookId({ ...one, after }) === one.webhookId,
);

replay<{ delivery: Delivery; last: number }, unknown>(
  'delivery-coverage',
  '[dlv-coverage] coverage',
  ({ delivery, last, verdict }) => {
    assert.ok(check('Delivery', delivery).ok);
    acceptDelivery(delivery);
    if (verdict === 'valid') assert.equal(coverage(delivery).last, last);
  },
);
