/** Tests of W3C trace context: which values are valid, and the headers of an event that has them. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { readTraceContext, traceHeaders } from '../../../src/protocol/wire/trace-context.ts';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('trace context [trace-kept]', () => {
  const valid: readonly (readonly [what: string, parent: string, state?: string])[] = [
    ['a traceparent of version 00', PARENT],
    ['a later version', `cc${PARENT.slice(2)}`],
    ['a later version with more fields', `cc${PARENT.slice(2)}-what.follows`],
    ['a tracestate of one member', PARENT, 'vendor=00f067aa0ba902b7'],
    [
      'a tracestate of several members',
      PARENT,
      'vendor=1,congo=t61rcWkgMzE, fw529a3039@dt=FfffFFff',
    ],
    ['a tracestate of 512 characters', PARENT, `a=${'x'.repeat(255)},b=${'y'.repeat(252)}`],
    ['a tracestate with empty members', PARENT, 'a=1,,b=2'],
  ];
  for (const [what, traceparent, tracestate] of valid)
    test(`keeps ${what} unchanged`, () => {
      const given = { traceparent, ...(tracestate === undefined ? {} : { tracestate }) };
      assert.deepEqual(readTraceContext(given), { context: given, invalid: [] });
    });

  const invalid: readonly (readonly [what: string, parent: unknown])[] = [
    ['an upper-case traceparent', PARENT.toUpperCase()],
    ['a version ff', `ff${PARENT.slice(2)}`],
    ['an all-zero trace id', PARENT.replace(/[0-9a-f]{32}/, '0'.repeat(32))],
    ['an all-zero parent id', PARENT.replace(/b7ad6b7169203331/, '0'.repeat(16))],
    ['more fields in version 00', `${PARENT}-00`],
    ['a line break', `${PARENT}\r\nx-injected: 1`],
    ['a line break at the end', `${PARENT}\n`],
    ['a later version that is too long', `cc${PARENT.slice(2)}-${'x'.repeat(500)}`],
    ['an empty text', ''],
    ['a number', 7],
    ['null', null],
  ];
  for (const [what, traceparent] of invalid)
    test(`drops ${what}, and its tracestate`, () => {
      assert.deepEqual(readTraceContext({ traceparent, tracestate: 'a=1' } as never), {
        context: {},
        invalid: ['traceparent', 'tracestate'],
      });
    });

  for (const tracestate of [
    '',
    'a',
    'a=',
    'A=1',
    'a=1\r\nx: 1',
    'a=1=é',
    ','.repeat(3),
    `a=${'x'.repeat(257)}`,
    Array.from({ length: 33 }, (_, at) => `k${at}=1`).join(','),
    `a=${'x'.repeat(255)},b=${'y'.repeat(254)}`,
    7,
  ])
    test(`drops the tracestate ${JSON.stringify(tracestate).slice(0, 40)} alone`, () => {
      assert.deepEqual(readTraceContext({ traceparent: PARENT, tracestate } as never), {
        context: { traceparent: PARENT },
        invalid: ['tracestate'],
      });
    });

  test('the headers of an event are those of its _meta, not of its data [trace-header]', () => {
    const event = { sequence: 1, data: { traceparent: 'x', _meta: { traceparent: PARENT } } };
    assert.deepEqual(traceHeaders(JSON.stringify(event)), {});
    const traced = { ...event, _meta: { traceparent: PARENT, tracestate: 'a=1', other: 1 } };
    assert.deepEqual(traceHeaders(JSON.stringify(traced)), {
      traceparent: PARENT,
      tracestate: 'a=1',
    });
  });
});
