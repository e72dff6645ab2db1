/** Servers that sign wrongly. */
import { hmac } from '../../../runner/server/callback-endpoint.ts';
import type { BrokenServer, Calling, Json, Passing } from '../proxy.ts';

const sent = (change: (calling: Calling) => void): BrokenServer['spoil'] => ({
  callback: (calling) => change(calling),
});
const isChallenge = ({ body }: Calling): boolean => body.params.challenge !== undefined;
/** Changes the signatures of a request that has two of them. */
const both = (change: (signatures: readonly string[]) => string): BrokenServer['spoil'] => ({
  callback: (calling) => {
    const made = calling.headers['webhook-signature']!.split(' ');
    if (made.length === 1) return;
    calling.resign = false;
    calling.headers['webhook-signature'] = change(made);
  },
});
/** Changes the protected header of the server's signature. */
const identity = (change: (header: Json, calling: Calling) => Json): BrokenServer['spoil'] =>
  sent((calling) => {
    calling.identity = change(calling.identity, calling);
  });
const callbacks = (change: (callback: Json, passing: Passing) => void): BrokenServer['spoil'] => ({
  request: (passing) => {
    if (passing.params.callback?.secret !== undefined) change(passing.params.callback, passing);
  },
});
/** Takes secrets that it should not take: the right server is given another one in their place. */
const takes = (fits: (secret: string) => boolean): BrokenServer['spoil'] =>
  callbacks((callback) => {
    if (fits(callback.secret)) callback.secret = `whsec_${Buffer.alloc(32).toString('base64')}`;
  });
const bytesIn = (secret: string): number =>
  Buffer.from(secret.slice('whsec_'.length), 'base64').length;
const shown = (change: (callback: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  result: (result, passing) =>
    result.callback ? { ...result, callback: change(result.callback, passing) } : result,
});

export const signature: readonly BrokenServer[] = [
  {
    check: 'sig-secret-format',
    wrong: 'takes shorter secrets',
    spoil: takes((secret) => bytesIn(secret) === 23),
  },
  {
    check: 'sig-secret-format',
    wrong: 'takes longer secrets',
    spoil: takes((secret) => bytesIn(secret) === 65),
  },
  {
    check: 'sig-secret-format',
    wrong: 'takes any prefix',
    spoil: takes((secret) => !secret.startsWith('whsec_')),
  },
  {
    check: 'sig-secret-format',
    wrong: 'decodes leniently',
    spoil: takes((secret) => /^whsec_.*[-_ \n]/s.test(secret)),
  },
  {
    check: 'sig-secret-format',
    wrong: 'does not want padding',
    spoil: takes((secret) => secret.startsWith('whsec_') && secret.length === 49),
  },
  {
    check: 'sig-secret-format',
    wrong: 'refuses what is allowed',
    spoil: {
      request: ({ params }) =>
        bytesIn(params.callback?.secret ?? '') === 64
          ? {
              error: {
                code: -32602,
                message: 'Too long.',
                data: { kind: 'invalid', path: '/callback/secret', expected: 'less' },
              },
            }
          : undefined,
    },
  },
  {
    check: 'sig-secret-format',
    wrong: 'does not say where',
    spoil: {
      error: (error) => ({
        error:
          error.data?.path === '/callback/secret'
            ? { ...error, data: { ...error.data, path: '/callback' } }
            : error,
      }),
    },
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'signs another form of the body than it sends',
    spoil: sent((calling) => {
      calling.resign = false;
      calling.raw = Buffer.from(JSON.stringify(calling.body, null, 1));
    }),
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'takes the text of the secret for the key',
    spoil: sent((calling) => {
      calling.resign = false;
      const key = `whsec_${Buffer.from(calling.callback.secret).toString('base64')}`;
      calling.headers['webhook-signature'] =
        `v1,${hmac(key, `${calling.headers['webhook-id']}.${calling.headers['webhook-timestamp']}.${JSON.stringify(calling.body)}`)}`;
    }),
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'signs the body alone',
    spoil: sent((calling) => {
      calling.resign = false;
      calling.headers['webhook-signature'] =
        `v1,${hmac(calling.callback.secret, JSON.stringify(calling.body))}`;
    }),
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'writes signatures in hexadecimal',
    spoil: sent((calling) => {
      calling.resign = false;
      calling.headers['webhook-signature'] = calling.headers['webhook-signature']!.replace(
        /v1,(.*)/,
        (_, base64) => `v1,${Buffer.from(base64, 'base64').toString('hex')}`,
      );
    }),
  },
  {
    check: 'sig-timestamp',
    wrong: 'counts milliseconds',
    spoil: sent(({ headers }) => {
      headers['webhook-timestamp'] += '000';
    }),
  },
  {
    check: 'sig-timestamp',
    wrong: 'writes an RFC 3339 instant',
    spoil: sent(({ headers }) => {
      headers['webhook-timestamp'] = new Date(
        Number(headers['webhook-timestamp']) * 1000,
      ).toISOString();
    }),
  },
  {
    check: 'sig-timestamp',
    wrong: 'is an hour behind',
    spoil: sent(({ headers }) => {
      headers['webhook-timestamp'] = String(Number(headers['webhook-timestamp']) - 3600);
    }),
  },
  {
    check: 'sig-rotation',
    wrong: 'forgets the old secret at once',
    spoil: both(([first]) => first!),
  },
  {
    check: 'sig-rotation',
    wrong: 'goes on with the old secret',
    spoil: both(([, second]) => second!),
  },
  {
    check: 'sig-rotation',
    wrong: 'puts the old signature first',
    spoil: both((made) => made.toReversed().join(' ')),
  },
  {
    check: 'sig-rotation',
    wrong: 'puts a comma between signatures',
    spoil: both((made) => made.join(', ')),
  },
  {
    check: 'sig-rotation-shown',
    wrong: 'does not say that there are two secrets',
    spoil: shown(({ previousSecretUntil, ...callback }) => callback),
  },
  {
    check: 'sig-rotation-shown',
    wrong: 'has a window of an hour',
    spoil: shown((callback) =>
      callback.previousSecretUntil
        ? {
            ...callback,
            previousSecretUntil: new Date(
              Date.parse(callback.previousSecretUntil) + 3_300_000,
            ).toISOString(),
          }
        : callback,
    ),
  },
  {
    check: 'sig-rotation-shown',
    wrong: 'has the member at every time',
    spoil: shown((callback) => ({
      ...callback,
      previousSecretUntil: callback.previousSecretUntil ?? callback.verifiedAt,
    })),
  },
  {
    check: 'sig-rotation-end',
    wrong: 'signs with every secret that there ever was',
    spoil: {
      ...callbacks(({ secret }, { memory }) => {
        memory['first'] ??= secret;
      }),
      callback: (calling) => {
        const { headers, body, callback, memory } = calling;
        if (callback.secret === memory['first'] || isChallenge(calling)) return;
        calling.resign = false;
        const content = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${JSON.stringify(body)}`;
        headers['webhook-signature'] = [callback.secret, memory['first']]
          .map((secret: string) => `v1,${hmac(secret, content)}`)
          .join(' ');
      },
    },
  },
  { check: 'cap-jwks', wrong: 'publishes keys and does not use them', spoil: identity(() => null) },
  {
    check: 'cap-jwks',
    wrong: 'leaves challenges without its signature',
    spoil: identity((header, calling) => (isChallenge(calling) ? null : header)),
  },
  // The server's signature stays, and its key is not in the proxy's set.
  {
    check: 'jws-key',
    wrong: 'signs with a key that it does not publish',
    spoil: identity(() => undefined),
  },
  {
    check: 'jws-key',
    wrong: 'has a mistake in the signature',
    spoil: identity((header, calling) => {
      calling.raw = Buffer.from(` ${JSON.stringify(calling.body)}`);
      calling.headers['mcp-delivery-signature'] = calling.headers[
        'mcp-delivery-signature'
      ]!.replace(/^[^.]+/, Buffer.from(JSON.stringify(header)).toString('base64url'));
      return undefined;
    }),
  },
  {
    check: 'jws-header',
    wrong: 'carries its key along',
    spoil: identity((header) => ({ ...header, jwk: {} })),
  },
  {
    check: 'jws-header',
    wrong: 'does not bind the URL',
    spoil: identity(({ uh, ...header }) => header),
  },
  {
    check: 'jws-header',
    wrong: 'has a hash of another URL',
    spoil: identity((header) => ({ ...header, uh: header.uh.toUpperCase() })),
  },
  {
    check: 'jws-header',
    wrong: 'names the path in `origin`',
    spoil: identity((header, { callback }) => ({ ...header, origin: callback.url })),
  },
  {
    check: 'jws-header',
    wrong: 'has another type',
    spoil: identity((header) => ({ ...header, typ: 'JWT' })),
  },
  {
    check: 'jws-header',
    wrong: 'does not say that the payload is as it is',
    spoil: identity(({ b64, crit, ...header }) => header),
  },
  {
    check: 'jws-header',
    wrong: 'names the key of the subscription instead of its id',
    spoil: identity((header, { body }) => ({ ...header, sub: body.params.key })),
  },
  {
    check: 'jws-alg',
    wrong: 'says HS256',
    spoil: identity((header) => ({ ...header, alg: 'HS256' })),
  },
  {
    check: 'jws-fresh',
    wrong: 'sends the first signature again',
    spoil: identity((header, calling) => {
      if (isChallenge(calling)) return header;
      return (calling.memory['header'] ??= header);
    }),
  },
];
