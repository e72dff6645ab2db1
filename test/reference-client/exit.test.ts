/** Tests the exit code of each kind of error. */
import { describe, expect, test } from 'vitest';
import { LocalError, WireError } from 'mcp-triggers-experimental/client';
import { EXIT, failureOf } from '../../reference-client/exit.ts';

describe('exit codes', () => {
  test.each([
    [new LocalError('unreachable', 'gone'), EXIT.unreachable],
    [new LocalError('timeout', 'late'), EXIT.unreachable],
    [new LocalError('closed', 'closed'), EXIT.unreachable],
    [new LocalError('unauthorized', 'no token'), EXIT.unreachable],
    [new LocalError('not_supported', 'older'), EXIT.unsupported],
    [new LocalError('terminated', 'ended'), EXIT.ended],
    [new LocalError('peer_misbehaved', 'hole'), EXIT.misbehaved],
    [new LocalError('ledger_corrupt', 'damaged'), EXIT.usage],
    [new LocalError('config_invalid', 'wrong'), EXIT.usage],
    [new LocalError('store_full', 'full'), EXIT.failure],
    [new WireError('Unsupported', { feature: 'since' }), EXIT.rejected],
    [Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' }), EXIT.usage],
    [new TypeError('undefined is not a function'), EXIT.failure],
  ])('%s → %i', (error, code) => {
    expect(failureOf(error).code).toBe(code);
  });
});
