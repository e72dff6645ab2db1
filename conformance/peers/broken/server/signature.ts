/** Servers that sign wrongly. */
import { hmac } from '../../../runner/server/callback-endpoint.ts';
import type { BrokenServer, CallbackRequest, Json, ProxiedRequest } from '../proxy.ts';

const sent = (change: (outgoing: CallbackRequest) => void): BrokenServer['fault'] => ({
  callback: (outgoing) => change(outgoing),
});
const isChallenge = ({ body }: CallbackRequest): boolean => body.params.challenge !== undefined;
/** Changes the signatures of a request that has two. */
const both = (change: (signatures: readonly string[]) => string): BrokenServer['fault'] => ({
  callback: (outgoing) => {
    const made = outgoing.headers['webhook-signature']!.split(' ');
    if (made.length === 1) return;
    outgoing.resign = false;
    outgoing.headers['webhook-signature'] = change(made);
  },
});
/** Changes the protected header of the server's signature. */
const identity = (
  change: (header: Json, outgoing: CallbackRequest) => Json,
): BrokenServer['fault'] =>
  sent((outgoing) => {
    outgoing.identity = change(outgoing.identity, outgoing);
  });
const callbacks = (
  change: (callback: Json, proxied: ProxiedRequest) => void,
): BrokenServer['fault'] => ({
  request: (proxied) => {
    if (proxied.params.callback?.secret !== undefined) change(proxied.params.callback, proxied);
  },
});
/** Accepts forbidden secrets: the correct server receives an allowed one instead. */
const takes = (fits: (secret: string) => boolean): BrokenServer['fault'] =>
  callbacks((callback) => {
    if (fits(callback.secret)) callback.secret = `whsec_${Buffer.alloc(32).toString('base64')}`;
  });
const bytesIn = (secret: string): number =>
  Buffer.from(secret.slice('whsec_'.length), 'base64').length;
const shown = (
  change: (callback: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  result: (result, proxied) =>
    result.callback ? { ...result, callback: change(result.callback, proxied) } : result,
});

export const signature: readonly BrokenServer[] = [
  {
    check: 'sig-secret-format',
    wrong: 'accepts shorter secrets',
    fault: takes((secret) => bytesIn(secret) === 23),
  },
  {
    check: 'sig-secret-format',
    wrong: 'accepts longer secrets',
    fault: takes((secret) => bytesIn(secret) === 65),
  },
  {
    check: 'sig-secret-format',
    wrong: 'accepts any prefix',
    fault: takes((secret) => !secret.startsWith('whsec_')),
  },
  {
    check: 'sig-secret-format',
    wrong: 'decodes base64 leniently',
    fault: takes((secret) => /^whsec_.*[-_ \n]/s.test(secret)),
  },
  {
    check: 'sig-secret-format',
    wrong: 'accepts base64 without padding',
    fault: takes((secret) => secret.startsWith('whsec_') && secret.length === 49),
  },
  {
    check: 'sig-secret-format',
    wrong: 'rejects an allowed secret',
    fault: {
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
    wrong: 'reports the path of the callback instead of the secret',
    fault: {
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
    wrong: 'signs another serialization of the body',
    fault: sent((outgoing) => {
      outgoing.resign = false;
      outgoing.raw = Buffer.from(JSON.stringify(outgoing.body, null, 1));
    }),
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'signs with the text of the secret as key',
    fault: sent((outgoing) => {
      outgoing.resign = false;
      const key = `whsec_${Buffer.from(outgoing.callback.secret).toString('base64')}`;
      outgoing.headers['webhook-signature'] =
        `v1,${hmac(key, `${outgoing.headers['webhook-id']}.${outgoing.headers['webhook-timestamp']}.${JSON.stringify(outgoing.body)}`)}`;
    }),
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'signs the body alone',
    fault: sent((outgoing) => {
      outgoing.resign = false;
      outgoing.headers['webhook-signature'] =
        `v1,${hmac(outgoing.callback.secret, JSON.stringify(outgoing.body))}`;
    }),
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'encodes signatures in hexadecimal',
    fault: sent((outgoing) => {
      outgoing.resign = false;
      outgoing.headers['webhook-signature'] = outgoing.headers['webhook-signature']!.replace(
        /v1,(.*)/,
        (_, base64) => `v1,${Buffer.from(base64, 'base64').toString('hex')}`,
      );
    }),
  },
  {
    check: 'sig-timestamp',
    wrong: 'sends the timestamp in milliseconds',
    fault: sent(({ headers }) => {
      headers['webhook-timestamp'] += '000';
    }),
  },
  {
    check: 'sig-timestamp',
    wrong: 'sends the timestamp as an RFC 3339 instant',
    fault: sent(({ headers }) => {
      headers['webhook-timestamp'] = new Date(
        Number(headers['webhook-timestamp']) * 1000,
      ).toISOString();
    }),
  },
  {
    check: 'sig-timestamp',
    wrong: 'sends a timestamp one hour in the past',
    fault: sent(({ headers }) => {
      headers['webhook-timestamp'] = String(Number(headers['webhook-timestamp']) - 3600);
    }),
  },
  {
    check: 'sig-rotation',
    wrong: 'drops the old secret at once',
    fault: both(([first]) => first!),
  },
  {
    check: 'sig-rotation',
    wrong: 'keeps signing with the old secret only',
    fault: both(([, second]) => second!),
  },
  {
    check: 'sig-rotation',
    wrong: 'sends the old signature first',
    fault: both((made) => made.toReversed().join(' ')),
  },
  {
    check: 'sig-rotation',
    wrong: 'separates signatures with a comma',
    fault: both((made) => made.join(', ')),
  },
  {
    check: 'sig-rotation',
    wrong: 'keeps the first of three secrets instead of the second',
    fault: {
      callback: (outgoing) => {
        const { headers, body, callback, memory } = outgoing;
        // Every new secret arrives with a challenge.
        const known: string[] = (memory[`secrets of ${callback.url}`] ??= []);
        if (!known.includes(callback.secret)) known.push(callback.secret);
        const [first, , third] = known;
        if (third !== callback.secret || isChallenge(outgoing)) return;
        outgoing.resign = false;
        const content = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${JSON.stringify(body)}`;
        headers['webhook-signature'] = [third, first]
          .map((secret) => `v1,${hmac(secret!, content)}`)
          .join(' ');
      },
    },
  },
  {
    check: 'sig-rotation-end',
    wrong: 'ignores revokePrevious',
    fault: {
      request: ({ params }) => {
        delete params.revokePrevious;
      },
    },
  },
  {
    check: 'sig-rotation-shown',
    wrong: 'omits previousSecretUntil',
    fault: shown(({ previousSecretUntil, ...callback }) => callback),
  },
  {
    check: 'sig-rotation-shown',
    wrong: 'announces a window of an hour',
    fault: shown((callback) =>
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
    wrong: 'always sends previousSecretUntil',
    fault: shown((callback) => ({
      ...callback,
      previousSecretUntil: callback.previousSecretUntil ?? callback.verifiedAt,
    })),
  },
  {
    check: 'sig-rotation-end',
    wrong: 'signs with every earlier secret',
    fault: {
      ...callbacks(({ secret }, { memory }) => {
        memory['first'] ??= secret;
      }),
      callback: (outgoing) => {
        const { headers, body, callback, memory } = outgoing;
        if (callback.secret === memory['first'] || isChallenge(outgoing)) return;
        outgoing.resign = false;
        const content = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${JSON.stringify(body)}`;
        headers['webhook-signature'] = [callback.secret, memory['first']]
          .map((secret: string) => `v1,${hmac(secret, content)}`)
          .join(' ');
      },
    },
  },
  {
    check: 'cap-jwks',
    wrong: 'publishes keys but sends no server signature',
    fault: identity(() => null),
  },
  {
    check: 'cap-jwks',
    wrong: "sends challenges without the server's signature",
    fault: identity((header, outgoing) => (isChallenge(outgoing) ? null : header)),
  },
  {
    check: 'cap-jwks',
    wrong: 'publishes its keys at another origin',
    fault: {
      result: (result, { method }) => {
        const settings = Object.values<Json>(result.capabilities?.extensions ?? {}).find(
          ({ jwksUri }) => jwksUri !== undefined,
        );
        if (method === 'server/discover' && settings)
          settings.jwksUri = settings.jwksUri.replace('127.0.0.1', 'localhost');
        return result;
      },
    },
  },
  // Undefined keeps the server's signature, whose key is not in the proxy's key set.
  {
    check: 'jws-key',
    wrong: 'signs with an unpublished key',
    fault: identity(() => undefined),
  },
  {
    check: 'jws-key',
    wrong: 'sends an invalid server signature',
    fault: identity((header, outgoing) => {
      outgoing.raw = Buffer.from(` ${JSON.stringify(outgoing.body)}`);
      outgoing.headers['mcp-delivery-signature'] = outgoing.headers[
        'mcp-delivery-signature'
      ]!.replace(/^[^.]+/, Buffer.from(JSON.stringify(header)).toString('base64url'));
      return undefined;
    }),
  },
  {
    check: 'jws-header',
    wrong: 'adds its key to the header',
    fault: identity((header) => ({ ...header, jwk: {} })),
  },
  {
    check: 'jws-header',
    wrong: 'omits iss',
    fault: identity(({ iss, ...header }) => header),
  },
  {
    check: 'jws-header',
    wrong: 'sends its origin as iss',
    fault: identity((header) => ({ ...header, iss: new URL(header.iss).origin })),
  },
  {
    check: 'jws-header',
    wrong: 'sends the address of its keys as iss',
    fault: identity((header) => ({ ...header, iss: `${header.iss}/keys` })),
  },
  {
    check: 'jws-header',
    wrong: 'omits uh',
    fault: identity(({ uh, ...header }) => header),
  },
  {
    check: 'jws-header',
    wrong: 'sends the hash of another URL',
    fault: identity((header) => ({ ...header, uh: header.uh.toUpperCase() })),
  },
  {
    check: 'jws-header',
    wrong: 'includes the path in origin',
    fault: identity((header, { callback }) => ({ ...header, origin: callback.url })),
  },
  {
    check: 'jws-header',
    wrong: 'sends another typ',
    fault: identity((header) => ({ ...header, typ: 'JWT' })),
  },
  {
    check: 'jws-header',
    wrong: 'omits b64 and crit',
    fault: identity(({ b64, crit, ...header }) => header),
  },
  {
    check: 'jws-header',
    wrong: 'sends the key as sub',
    fault: identity((header, { body }) => ({ ...header, sub: body.params.key })),
  },
  {
    check: 'jws-header',
    wrong: 'sends HS256 as alg',
    fault: identity((header) => ({ ...header, alg: 'HS256' })),
  },
  {
    check: 'jws-fresh',
    wrong: 'sends the header of its first signature again',
    fault: identity((header, outgoing) => {
      if (isChallenge(outgoing)) return header;
      return (outgoing.memory['header'] ??= header);
    }),
  },
];
