/** Tests how error codes map to three categories (SEP: Answers). */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import {
  OutboundError,
  attemptFailureOf,
  type AttemptPhase,
} from '../../../../src/server/callback/egress/failure.ts';

const ROWS: readonly (readonly [
  code: string | undefined,
  phase: AttemptPhase,
  category: string,
  detail: string,
])[] = [
  ['ECONNREFUSED', 'connect', 'connection_refused', 'ECONNREFUSED'],
  ['EHOSTUNREACH', 'connect', 'connection_refused', 'EHOSTUNREACH'],
  ['ENOTFOUND', 'connect', 'connection_refused', 'ENOTFOUND'],
  ['EAI_AGAIN', 'connect', 'connection_refused', 'EAI_AGAIN'],
  ['ERR_IP_BLOCKED', 'connect', 'connection_refused', 'blocked'],
  ['ETIMEDOUT', 'connect', 'timeout', 'ETIMEDOUT'],
  ['UND_ERR_CONNECT_TIMEOUT', 'connect', 'timeout', 'UND_ERR_CONNECT_TIMEOUT'],
  ['UND_ERR_CONNECT_TIMEOUT', 'tls', 'timeout', 'UND_ERR_CONNECT_TIMEOUT'],
  ['CERT_HAS_EXPIRED', 'tls', 'tls_error', 'CERT_HAS_EXPIRED'],
  ['ECONNRESET', 'tls', 'tls_error', 'ECONNRESET'],
  [
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    'exchange',
    'tls_error',
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  ],
  ['ECONNRESET', 'exchange', 'connection_refused', 'ECONNRESET'],
  ['UND_ERR_SOCKET', 'exchange', 'connection_refused', 'UND_ERR_SOCKET'],
  ['HPE_INVALID_CONSTANT', 'exchange', 'connection_refused', 'HPE_INVALID_CONSTANT'],
  ['https://secret.example/', 'exchange', 'connection_refused', 'unknown'],
  [undefined, 'exchange', 'connection_refused', 'unknown'],
];

test('every code has one category, and only codes are passed on', () => {
  for (const [code, phase, category, detail] of ROWS) {
    const refusal = attemptFailureOf(Object.assign(new Error('secret'), { code }), phase);
    assert.deepEqual([refusal.category, refusal.detail], [category, detail], `${code} ${phase}`);
    assert.equal(attemptFailureOf(refusal, 'exchange'), refusal, 'classified once');
  }
  for (const thrown of [null, undefined, 'text', 7])
    assert.equal(attemptFailureOf(thrown, 'exchange').detail, 'unknown');
});

test('the error that a caller sees has one fixed sentence per category', () => {
  for (const category of ['connection_refused', 'timeout', 'tls_error'] as const) {
    const error = new OutboundError(category);
    assert.equal(error.code, category);
    assert.match(error.message, /^[A-Z].*\.$/);
    assert.equal(error.cause, undefined);
  }
});
