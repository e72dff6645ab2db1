/**
 * Tests that the SEP and the schema agree: every JSON block is an example file, the HTTP example
 * verifies with the secrets shown beside it, and the text mentions everything that the schema
 * names.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { createHash, createHmac, createPublicKey, verify } from 'node:crypto';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { readModules, readSep } from './sep-document.ts';

const EXAMPLES = 'spec-schema/draft/examples';
const documents = [readSep(), ...readModules()];
const fences = documents.flatMap((document) => document.fences);
const schema = readFileSync('spec-schema/draft/schema.ts', 'utf8');

function example<T>(path: string): T {
  return JSON.parse(readFileSync(`${EXAMPLES}/${path}`, 'utf8')) as T;
}

describe('JSON in the SEP', () => {
  const blocks = fences.filter(({ language }) => language === 'json');

  test('is always an example file, byte for byte', () => {
    assert.ok(blocks.length > 40, `only ${blocks.length} JSON blocks were found`);
    for (const { line, before, body } of blocks) {
      const path = /^<!-- example: (\S+\.json) -->$/.exec(before)?.[1];
      assert.ok(path !== undefined, `line ${line}: a JSON block without an example comment`);
      assert.ok(existsSync(`${EXAMPLES}/${path}`), `line ${line}: ${path} does not exist`);
      assert.equal(
        body,
        readFileSync(`${EXAMPLES}/${path}`, 'utf8'),
        `line ${line}: ${path} differs; run sync-requirements.ts`,
      );
    }
  });

  test('names a type of the schema in its path', () => {
    for (const { before } of blocks) {
      const type = /example: ([A-Za-z]+)\//.exec(before)?.[1] ?? '';
      assert.match(schema, new RegExp(`export (?:interface|type) ${type}\\b`));
    }
  });

  test('shows every example file that was made for it, once', () => {
    const shown = blocks.map(({ before }) => /example: (\S+\.json)/.exec(before)?.[1] ?? '').sort();
    const made = globSync('*/sep-*.json', { cwd: EXAMPLES }).sort();
    assert.deepEqual(shown, made);
  });
});

describe('The HTTP example', () => {
  const request = fences.find(({ language }) => language === 'http')?.body ?? '';
  const header = (name: string): string =>
    new RegExp(`^${name}: (.*)$`, 'im').exec(request)?.[1] ?? '';
  const note = example<{
    params: {
      subscriptionId: string;
      epoch: string;
      afterSequence: number;
      gaps: { from: number; to: number }[];
      events: { sequence: number }[];
    };
  }>('DeliveryNotification/sep-callback.json');
  const body = JSON.stringify(note);
  const { callback } = example<{
    params: { callback: { url: string; secret: string } };
  }>('SubscribeRequest/sep-callback.json').params;
  const key = Buffer.from(callback.secret.slice('whsec_'.length), 'base64');

  test('has the right webhook-id', () => {
    const { subscriptionId, epoch, afterSequence, gaps, events } = note.params;
    const last = Math.max(...events.map(({ sequence }) => sequence), ...gaps.map(({ to }) => to));
    const fields = [
      subscriptionId,
      epoch,
      afterSequence,
      last,
      gaps.map(({ from, to }) => `${from}-${to}`).join(','),
    ].join('\n');
    assert.equal(
      header('webhook-id'),
      `msg_${createHash('sha256').update(fields).digest('base64url').slice(0, 32)}`,
    );
    assert.equal(header('MCP-Subscription-Id'), subscriptionId);
    assert.equal(header('Content-Length'), String(Buffer.byteLength(body)));
  });

  test('has the right webhook-signature', () => {
    const signed = `${header('webhook-id')}.${header('webhook-timestamp')}.${body}`;
    assert.equal(
      header('webhook-signature'),
      `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
    );
  });

  test('has a MCP-Delivery-Signature that verifies with the key of RFC 8037, over the header shown', () => {
    const [encoded = '', empty, signature = ''] = header('MCP-Delivery-Signature').split('.');
    assert.equal(empty, '');
    const shown = example<Record<string, unknown>>('DeliverySignatureHeader/sep-header.json');
    assert.deepEqual(JSON.parse(Buffer.from(encoded, 'base64url').toString()), shown);
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' };
    assert.ok(
      verify(
        null,
        Buffer.from(`${encoded}.${body}`),
        createPublicKey({ key: jwk, format: 'jwk' }),
        Buffer.from(signature, 'base64url'),
      ),
    );
    assert.equal(shown['uh'], createHash('sha256').update(callback.url).digest('base64url'));
    assert.equal(shown['iat'], Number(header('webhook-timestamp')));
  });

  test('matches a challenge proof made with the same secret', () => {
    const { challenge, proof } = example<{ challenge: string; proof: string }>(
      'ChallengeAnswer/sep-proof.json',
    );
    assert.equal(
      proof,
      createHmac('sha256', key).update(`challenge.${challenge}`).digest('base64'),
    );
    assert.equal(
      challenge,
      example<{ params: { challenge: string } }>('ChallengeNotification/sep-challenge.json').params
        .challenge,
    );
  });
});

describe('The vocabulary of the schema', () => {
  const text = documents
    .map(({ source }) => source)
    .join('\n')
    .replace(/```[\s\S]*?```/g, '');
  /** Named in code marks, alone or with others: `a`, `{ a, b }`, `a?`, `x.a`. */
  const named = new Set(
    [...text.matchAll(/`([^`\n]+)`/g)].flatMap(
      (match) => (match[1] ?? '').match(/[A-Za-z_][A-Za-z0-9_]*/g) ?? [],
    ),
  );
  const missing = (words: readonly string[]): string[] =>
    words.filter((word) => !named.has(word) && !text.includes(`\`${word}\``));
  const matches = (pattern: RegExp): string[] => [
    ...new Set([...schema.matchAll(pattern)].map((match) => match[1] ?? '')),
  ];
  const body = (type: string): string => {
    const start = schema.indexOf(`export interface ${type} `);
    assert.notEqual(start, -1, `the schema has no ${type}`);
    return schema.slice(start, schema.indexOf('\n}', start));
  };

  test('methods and notifications are all in the text', () => {
    const methods = matches(/method: '([^']+)'/g);
    assert.equal(methods.length, 11);
    assert.deepEqual(missing(methods), []);
  });

  test('error names and codes are all in the text', () => {
    const registry = JSON.parse(readFileSync('spec-schema/draft/errors.json', 'utf8')) as {
      errors: { name: string; code: number }[];
    };
    assert.ok(registry.errors.length >= 7);
    const table = text.slice(text.indexOf('\n## Errors'), text.indexOf('\n## Isolation'));
    for (const { name, code } of registry.errors) {
      assert.ok(table.includes(String(code)), `${name} ${code} is not in the table of errors`);
      if (name !== 'InternalError')
        assert.ok(table.includes(`\`${name}\``), `${name} is not in the table of errors`);
    }
  });

  test('values of enumerations are all in the text', () => {
    for (const type of [
      'Drain',
      'CallbackState',
      'Level',
      'Option',
      'FailureCategory',
      'GapReason',
      'TerminationReason',
      'CacheScope',
    ]) {
      const line = new RegExp(`export type ${type} =([^;]+);`).exec(schema)?.[1] ?? '';
      const values = [...line.matchAll(/'([a-zA-Z_0-9]+)'/g)].map((match) => match[1] ?? '');
      assert.ok(values.length >= 2, `no values of ${type} were found`);
      // `public` is the base protocol's value; the text only has to say when the other one holds.
      assert.deepEqual(missing(values.filter((value) => value !== 'public')), [], type);
    }
  });

  test('members of the main types are all in the text', () => {
    const types = [
      'Position',
      'ServerCapability',
      'Retention',
      'TriggerType',
      'Selection',
      'Callback',
      'CallbackHealth',
      'CallbackStatus',
      'Subscription',
      'TriggerEvent',
      'DataRef',
      'CallbackLimits',
      'CallbackCondition',
      'Challenge',
      'StreamDelivery',
      'Gap',
      'Delivery',
      'Termination',
      'CallbackAck',
      'Rejection',
      'ChallengeAnswer',
      'DeliverySignatureHeader',
      'CallbackUrlHeader',
      'CallbackUrlClaims',
      'ListTriggersRequestParams',
      'SubscribeRequestParams',
      'UpdateRequestParams',
      'GetRequestParams',
      'SubscriptionsRequestParams',
      'UnsubscribeRequestParams',
      'PullRequestParams',
      'StreamRequestParams',
      'StreamWindow',
      'AckRequestParams',
      'ListTriggersResult',
      'ListTriggersNotModified',
      'SubscribeResult',
      'GetNotModified',
      'SubscriptionsResult',
      'PullResult',
      'AckResult',
      'InvalidParamsData',
      'NotFoundData',
      'ForbiddenData',
      'ResourceExhaustedData',
      'UnsupportedData',
      'CallbackEndpointErrorData',
    ];
    for (const type of types) {
      const members = [...body(type).matchAll(/^ {2}([a-zA-Z_0-9]+)\??:/gm)].map(
        (match) => match[1] ?? '',
      );
      const inline = [...body(type).matchAll(/[{;] ([a-zA-Z]+)\??: /g)].map(
        (match) => match[1] ?? '',
      );
      assert.ok(members.length + inline.length > 0, `no members of ${type} were found`);
      assert.deepEqual(missing([...members, ...inline]), [], type);
    }
  });

  test('header names are all in the text', () => {
    assert.deepEqual(
      missing([
        'webhook-id',
        'webhook-timestamp',
        'webhook-signature',
        'MCP-Subscription-Id',
        'MCP-Delivery-Signature',
      ]),
      [],
    );
  });
});
