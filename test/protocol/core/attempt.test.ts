/**
 * Tests how answers, Retry-After, backoff and lifetimes are read, as tables of input and meaning.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  backoffMs,
  classifyAnswer,
  classifyFailure,
  grantTtl,
  needsVerification,
  parseRetryAfter,
  renewAfter,
  reverifyAt,
  type Answer,
  type Outcome,
} from '../../../src/protocol/core/index.ts';
import * as policy from '../../../src/protocol/core/policy.ts';
import type { SuggestedLifetime } from '../../../src/protocol/core/policy.ts';
import { CALLBACK, DAY, HOUR, SECOND, subscription, T0 } from './fixtures.ts';

const classify = (answer: Partial<Answer>): Outcome =>
  classifyAnswer(
    { status: 200, retryAfter: null, body: undefined, now: T0, ...answer },
    { after: 2, to: 6 },
  );
const spell = (outcome: Outcome): string => {
  if (outcome.kind === 'acked')
    return `acked ${outcome.ack}${outcome.reject === null ? '' : ` reject ${outcome.reject}`}`;
  return 'category' in outcome ? `${outcome.kind} ${outcome.category}` : outcome.kind;
};

describe('an answer to the delivery of 3 to 6', () => {
  const bodies: readonly (readonly [body: unknown, reading: string])[] = [
    [{ ackSequence: 6 }, 'acked 6'],
    [{ ackSequence: 3 }, 'acked 3'],
    [{ ackSequence: 6, note: 'more' }, 'acked 6'],
    [{ ackSequence: 2 }, 'transient no_ack'],
    [{ ackSequence: 7 }, 'transient no_ack'],
    [{ ackSequence: 1 }, 'transient no_ack'],
    [{ ackSequence: -1 }, 'transient no_ack'],
    [{ ackSequence: 3.5 }, 'transient no_ack'],
    [{ ackSequence: '6' }, 'transient no_ack'],
    [{ ackSequence: null }, 'transient no_ack'],
    [{ ackSequence: true }, 'transient no_ack'],
    [{}, 'transient no_ack'],
    [[], 'transient no_ack'],
    [[6], 'transient no_ack'],
    [6, 'transient no_ack'],
    ['ok', 'transient no_ack'],
    [null, 'transient no_ack'],
    [undefined, 'transient no_ack'],
    [{ ackSequence: 4, reject: { sequence: 5, reason: 'never' } }, 'acked 4 reject 5'],
    [{ ackSequence: 2, reject: { sequence: 3, reason: 'never' } }, 'acked 2 reject 3'],
    [{ ackSequence: 5, reject: { sequence: 6, reason: 'never' } }, 'acked 5 reject 6'],
    [{ ackSequence: 5, reject: { sequence: 6 } }, 'acked 5 reject 6'],
    [{ ackSequence: 6, reject: { sequence: 7, reason: 'never' } }, 'transient no_ack'],
    [{ ackSequence: 4, reject: { sequence: 4, reason: 'never' } }, 'transient no_ack'],
    [{ ackSequence: 4, reject: { sequence: 6, reason: 'never' } }, 'transient no_ack'],
    [{ ackSequence: 4, reject: {} }, 'transient no_ack'],
    [{ ackSequence: 4, reject: null }, 'transient no_ack'],
    [{ ackSequence: 4, reject: 5 }, 'transient no_ack'],
    [{ reject: { sequence: 3, reason: 'never' } }, 'transient no_ack'],
  ];
  for (const [body, reading] of bodies) {
    test(`[ans-ack ans-no-ack ans-reject ans-reject-other] 200 ${JSON.stringify(body) ?? 'no JSON'} → ${reading}`, () => {
      assert.equal(spell(classify({ body })), reading);
      assert.equal(spell(classify({ status: 202, body })), reading);
    });
  }

  test('[ans-ack] an empty delivery is acknowledged by an answer that repeats `after`', () => {
    const empty = (body: unknown): string =>
      spell(classifyAnswer({ status: 200, retryAfter: null, body, now: T0 }, { after: 2, to: 2 }));
    assert.deepEqual(
      [
        empty({ ackSequence: 2 }),
        empty({ ackSequence: 3 }),
        empty({ ackSequence: 1 }),
        empty(undefined),
      ],
      ['acked 2', 'transient no_ack', 'transient no_ack', 'transient no_ack'],
    );
  });

  const config = 'config http_4xx';
  const statuses: readonly (readonly [statuses: readonly number[], reading: string])[] = [
    [[300, 301, 302, 303, 304, 307, 308, 399], config],
    [[400, 401, 403, 404, 415, 422], config],
    [[410], 'gone'],
    [[413], 'too_large'],
    [
      [402, 405, 406, 408, 409, 411, 412, 414, 416, 418, 425, 429, 431, 451, 499],
      'transient http_4xx',
    ],
    [[500, 502, 503, 504, 599], 'transient http_5xx'],
    [[0, 100, 101, 199, 600, 999], 'transient http_5xx'],
  ];
  for (const [codes, reading] of statuses) {
    test(`[ans-no-redirect ans-gone] ${codes.join(' ')} → ${reading}, even with an acknowledging body`, () => {
      for (const status of codes)
        assert.equal(
          spell(classify({ status, body: { ackSequence: 6 } })),
          reading,
          String(status),
        );
    });
  }

  test('[ans-retry-after] Retry-After counts with 429 and 503 only', () => {
    const requested = (status: number): unknown =>
      (({ ...classify({ status, retryAfter: '120' }) }) as { retryAfterMs?: unknown }).retryAfterMs;
    assert.deepEqual([429, 503, 500, 408, 200].map(requested), [
      120 * SECOND,
      120 * SECOND,
      null,
      null,
      null,
    ]);
  });

  test('[retry-categories] a missing answer is transient, whatever its category', () => {
    for (const category of ['connection_refused', 'timeout', 'tls_error'] as const) {
      assert.deepEqual(classifyFailure(category), {
        kind: 'transient',
        category,
        retryAfterMs: null,
      });
    }
  });
});

describe('Retry-After', () => {
  // T0 is Fri, 15 Jan 2027 08:00:00 GMT.
  const values: readonly (readonly [value: string | null, ms: number | null])[] = [
    ['0', 0],
    ['120', 120 * SECOND],
    [' 120 ', 120 * SECOND],
    ['3600', HOUR],
    ['3601', HOUR],
    ['99999999999999999999999', HOUR],
    ['Fri, 15 Jan 2027 08:02:00 GMT', 120 * SECOND],
    ['Friday, 15-Jan-27 08:02:00 GMT', 120 * SECOND],
    ['Fri Jan 15 08:02:00 2027', 120 * SECOND],
    ['Fri, 15 Jan 2027 07:59:59 GMT', 0],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['Sun Nov  6 08:49:37 1994', 0],
    ['Fri, 31 Dec 9999 23:59:59 GMT', HOUR],
    [null, null],
    ['', null],
    ['soon', null],
    ['-5', null],
    ['1.5', null],
    ['1e3', null],
    ['0x10', null],
    ['120s', null],
    ['2027-01-15T08:02:00Z', null],
    ['Fri, 15 Jan 2027 08:02:00 CET', null],
    ['Fri, 31 Feb 2027 08:02:00 GMT', null],
    ['Fri, 00 Jan 2027 08:02:00 GMT', null],
    ['Fri, 15 Jan 2027 24:00:00 GMT', null],
    ['fri, 15 jan 2027 08:02:00 gmt', null],
  ];
  for (const [value, ms] of values) {
    test(`[ans-retry-after] ${value === null ? 'absent' : `"${value}"`} → ${ms === null ? 'ignored' : `${ms / SECOND} s`}`, () =>
      assert.equal(parseRetryAfter(value, T0), ms));
  }

  test('reads dates correctly over leap years and centuries', () => {
    const seconds: readonly (readonly [date: string, seconds: number])[] = [
      ['Thu, 01 Jan 1970 00:00:10 GMT', 10],
      ['Tue, 29 Feb 2000 00:00:00 GMT', 951_782_400],
      ['Wed, 01 Mar 2000 00:00:00 GMT', 951_868_800],
      ['Thu, 29 Feb 2024 12:00:00 GMT', 1_709_208_000],
      ['Mon, 01 Mar 2100 00:00:00 GMT', 4_107_542_400],
    ];
    for (const [date, at] of seconds)
      assert.equal(parseRetryAfter(date, at * SECOND - 5 * SECOND), 5 * SECOND, date);
    assert.equal(parseRetryAfter('Mon, 29 Feb 2100 00:00:00 GMT', T0), null);
  });

  test('reads a two-digit year as the one within 50 years', () => {
    assert.equal(parseRetryAfter('Friday, 15-Jan-76 08:00:00 GMT', T0), HOUR);
    assert.equal(parseRetryAfter('Saturday, 15-Jan-78 08:00:00 GMT', T0), 0);
  });
});

describe('backoff', () => {
  const rows: readonly (readonly [
    failures: number,
    jitter: number,
    retryAfterMs: number | null,
    ms: number,
  ])[] = [
    [1, 0, null, 0],
    [1, 0.5, null, 500],
    [2, 0.5, null, 1000],
    [9, 0.5, null, 128_000],
    [10, 0.5, null, 150_000],
    [1000, 0.5, null, 150_000],
    [1, 0.5, 100, 500],
    [1, 0.5, 60_000, 60_000],
    [1, 0, HOUR, HOUR],
  ];
  for (const [failures, jitter, retryAfterMs, ms] of rows) {
    test(`[retry-backoff retry-cap] failure ${failures}, jitter ${jitter}, Retry-After ${retryAfterMs ?? 'none'} → ${ms} ms`, () =>
      assert.equal(backoffMs(failures, jitter, retryAfterMs), ms));
  }
});

describe('granted lifetimes', () => {
  const rows: readonly (readonly [
    suggested: SuggestedLifetime,
    min: number,
    max: number,
    fallback: number,
    noExpiry: boolean,
    granted: number | null,
  ])[] = [
    [{ ttlMs: HOUR }, 60 * SECOND, DAY, HOUR, false, HOUR],
    [{ ttlMs: 7 * DAY }, 60 * SECOND, DAY, HOUR, false, DAY],
    [{ ttlMs: 1 }, 60 * SECOND, DAY, HOUR, false, 60 * SECOND],
    [{}, 60 * SECOND, DAY, HOUR, false, HOUR],
    [{}, 2 * HOUR, DAY, HOUR, false, 2 * HOUR],
    [{}, 60 * SECOND, 1800 * SECOND, HOUR, false, 1800 * SECOND],
    [{ noExpiry: true }, 60 * SECOND, DAY, HOUR, false, DAY],
    [{ noExpiry: true }, 60 * SECOND, DAY, HOUR, true, null],
    [{}, 60 * SECOND, DAY, HOUR, true, HOUR],
    [{ ttlMs: Number.MAX_SAFE_INTEGER }, 60 * SECOND, DAY, HOUR, true, DAY],
  ];
  for (const [suggested, minMs, maxMs, defaultMs, allowNoExpiry, granted] of rows) {
    test(`[ttl-clamp ttl-null ttl-default] suggest ${JSON.stringify(suggested)} in ${minMs}..${maxMs}${allowNoExpiry ? '..none' : ''} → ${granted}`, () => {
      assert.equal(grantTtl(suggested, { minMs, maxMs, defaultMs, allowNoExpiry }), granted);
    });
  }

  test('a value that is not a duration is rejected before the grant is computed', () => {
    for (const wrong of [0, -1, 0.5, Number.NaN, Infinity])
      assert.throws(
        () =>
          grantTtl({ ttlMs: wrong }, { minMs: 1, maxMs: 2, defaultMs: 1, allowNoExpiry: false }),
        { code: 'invalid_input' },
      );
  });

  test('[ttl-renew-hint ttl-renew-jitter] the renewal hint is spread over half to four fifths of the grant', () => {
    assert.deepEqual(
      [renewAfter(HOUR, 0), renewAfter(HOUR, 0.5), renewAfter(null, 0.5)],
      [HOUR / 2, HOUR * 0.65, null],
    );
    assert.ok(renewAfter(HOUR, 0.999_999)! < HOUR * 0.8);
    assert.ok(renewAfter(1, 0.999_999)! < 1);
  });
});

describe('consent', () => {
  const rows: readonly (readonly [verifiedAt: number | null, needed: boolean])[] = [
    [null, true],
    [T0, false],
    [T0 - DAY + 1, false],
    [T0 - DAY, true],
    [T0 + 1, true],
  ];
  for (const [verifiedAt, needed] of rows) {
    test(`[cbv-before-events] verified ${verifiedAt === null ? 'never' : `${T0 - verifiedAt} ms ago`} → ${needed ? 'verify' : 'cached'}`, () =>
      assert.equal(needsVerification(verifiedAt, T0), needed));
  }

  test('[cbv-daily] is renewed unasked only for a subscription without expiry that has something to send', () => {
    const forever = { ttlMs: null, expiresAt: null, callback: CALLBACK };
    assert.equal(reverifyAt(subscription(forever)), T0 + DAY);
    for (const state of [
      { ttlMs: HOUR },
      { callback: null },
      { paused: true },
      { suspendedAt: T0 },
    ])
      assert.equal(reverifyAt(subscription({ ...forever, ...state })), null);
  });
});

test('the limits of the core are those of the specification', () => {
  const limits: readonly (readonly [string, number, number])[] = [
    ['backoff base', policy.BACKOFF_BASE_MS, 1000],
    ['backoff cap', policy.BACKOFF_MAX_MS, 300_000],
    ['Retry-After cap', policy.RETRY_AFTER_MAX_MS, HOUR],
    ['configuration failures', policy.CONFIG_FAILURES_MAX, 5],
    ['time of configuration failures', policy.CONFIG_FAILING_MS, HOUR / 6],
    ['failing time', policy.FAILING_MAX_MS, DAY],
    ['batch', policy.BATCH_EVENTS_MAX, 100],
    ['consent', policy.CONSENT_MS, DAY],
    ['renew hint', policy.RENEW_FRACTION_MIN, 0.5],
    ['renew hint', policy.RENEW_FRACTION_MAX, 0.8],
  ];
  for (const [name, actual, expected] of limits) assert.equal(actual, expected, name);
});
