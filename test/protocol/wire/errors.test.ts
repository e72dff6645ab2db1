/**
 * Tests errors on the wire in both directions: registry texts, complete names, no trace of the
 * cause, and unknown errors kept as they are.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ErrorObject } from '../../../spec-schema/draft/schema.ts';
import {
  callbackEndpointError,
  conflict,
  forbidden,
  internalError,
  invalidParams,
  LocalError,
  notFound,
  resourceExhausted,
  unsupported,
  WireError,
} from '../../../src/protocol/wire/errors.ts';
import { fromErrorObject, RemoteError } from '../../../src/protocol/wire/remote-error.ts';
import { check } from '../../../src/protocol/wire/validate.ts';

const ID = 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU';
const ALL: readonly WireError[] = [
  invalidParams('/select', 'an array'),
  conflict({ kind: 'etag', etag: 'e-1' }),
  conflict({ kind: 'key', subscriptionId: ID, etag: 'e-1' }),
  conflict({ kind: 'epoch', epoch: 'epoch-01', head: 1, acked: 0 }),
  conflict({ kind: 'position', epoch: 'epoch-01', head: 1, acked: 0, sent: 1 }),
  notFound({ kind: 'subscription' }),
  notFound({
    kind: 'subscription',
    reason: 'expired',
    final: { epoch: 'epoch-01', head: 1, acked: 0 },
  }),
  notFound({ kind: 'trigger' }),
  forbidden({ kind: 'authentication' }),
  forbidden({ kind: 'permission' }),
  resourceExhausted({ limit: 'subscriptions', max: 1 }),
  unsupported('since'),
  callbackEndpointError('timeout'),
  internalError(new Error('CANARY')),
];

describe('[err-codes] every error', () => {
  for (const error of ALL) {
    test(`${error.name}: ${error.message}`, () => {
      const object = error.toErrorObject();
      assert.deepEqual(check('ErrorObject', object), { ok: true, value: object });
      assert.equal(
        /[{}]|undefined/.test(object.message),
        false,
        'every placeholder of the template is filled',
      );

      const sent = JSON.parse(JSON.stringify(object)) as ErrorObject;
      const back = fromErrorObject(sent.code, sent.message, sent.data);
      assert.ok(back instanceof WireError);
      assert.equal(back.name, error.name);
      assert.deepEqual(back.data, error.data);
      assert.ok(back.is(error.name));
    });
  }

  test('has its name in the registry', () => {
    assert.deepEqual(
      [...new Set(ALL.map(({ name }) => name))],
      [
        'InvalidParams',
        'Conflict',
        'NotFound',
        'Forbidden',
        'ResourceExhausted',
        'Unsupported',
        'CallbackEndpointError',
        'InternalError',
      ],
    );
  });
});

test('[err-internal] turns an unexpected failure into one fixed text and keeps its cause internal', () => {
  const cause = new Error('CANARY: connection to db-7 refused');
  const error = internalError(cause);
  assert.deepEqual(error.toErrorObject(), { code: -32603, message: 'Internal error.' });
  assert.equal(JSON.stringify(error.toErrorObject()).includes('CANARY'), false);
  assert.equal(error.cause, cause);
});

test('gives exactly one answer for an unknown subscription', () => {
  assert.equal(
    JSON.stringify(notFound({ kind: 'subscription' }).toErrorObject()),
    '{"code":-32023,"message":"Subscription not found. Call triggers/subscribe to create it.","data":{"kind":"subscription"}}',
  );
});

describe('[err-client-unknown] an error of a peer', () => {
  const strangers: readonly [title: string, code: number, data: unknown][] = [
    ['of the base protocol', -32601, undefined],
    ['with a shared code and no data', -32602, undefined],
    ['with a shared code and other data', -32602, { uri: 'x' }],
    ['with a known code and data of another shape', -32023, { kind: 'resource' }],
    ['with an unknown code', -32099, { kind: 'subscription' }],
  ];
  for (const [title, code, data] of strangers) {
    test(`${title} keeps its code`, () => {
      const error = fromErrorObject(code, 'x', data);
      assert.ok(error instanceof RemoteError);
      assert.deepEqual([error.code, error.data, error.message], [code, data, 'x']);
    });
  }

  test('never throws, and gives a short printable message', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.constantFrom(-32602, -32603, -32023, -32024, -32025, -32026, -32027),
          fc.integer(),
        ),
        fc.anything(),
        fc.anything(),
        (code, message, data) => {
          const error = fromErrorObject(code, message, data);
          assert.equal(error.code, code);
          assert.ok(error.message.length <= 1024);
          assert.equal(/[\p{Cc}\p{Cf}]/u.test(error.message), false);
        },
      ),
    );
    assert.equal(fromErrorObject(-1, '\u001b[31mred\u202e\n', null).message, ' [31mred  ');
  });

  test('decides by code and data, not by message', () => {
    const error = fromErrorObject(-32023, 'anything', { kind: 'subscription', reason: 'expired' });
    assert.ok(
      error instanceof WireError && error.is('NotFound') && error.data.reason === 'expired',
    );
  });
});

test('a local error keeps code, reason and cause, and is not a wire error', () => {
  const cause = new Error('inner');
  const error = new LocalError('store_full', 'The store is full: free space.', {
    reason: 'quota',
    cause,
  });
  assert.deepEqual(
    [error.code, error.reason, error.cause, error.name, error instanceof WireError],
    ['store_full', 'quota', cause, 'LocalError', false],
  );
});
