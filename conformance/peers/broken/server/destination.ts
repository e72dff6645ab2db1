/** Servers that let a callback lead where it should not. */
import { randomBytes } from 'node:crypto';
import type { BrokenServer, CallbackAnswer, Json } from '../proxy.ts';

/** Takes URLs that it should not take: the right server is given another one in their place. */
const takes = (change: (url: string) => string): BrokenServer['spoil'] => ({
  request: ({ params }) => {
    if (typeof params.callback?.url === 'string') params.callback.url = change(params.callback.url);
  },
});
/** Tries the URLs that fit: the right server tries a name that is nobody's. */
const tries = (fits: (url: string) => boolean): BrokenServer['spoil'] =>
  takes((url) => (fits(url) ? `https://${randomBytes(8).toString('hex')}.invalid/in` : url));
const normal = (url: string): string => (URL.canParse(url) ? new URL(url).href : url);
/** How an address behind a name is refused. */
const inside = (change: (error: Json) => Json): BrokenServer['spoil'] => ({
  error: (error, { params }) => ({
    error: params.callback?.url.startsWith('https://inside.') ? change(error) : error,
  }),
});
const challenge = (
  change: (
    answer: CallbackAnswer,
    again: (url: string) => Promise<CallbackAnswer>,
  ) => CallbackAnswer | Promise<CallbackAnswer>,
): BrokenServer['spoil'] => ({
  answered: (answer, { body, headers }) =>
    body.params.challenge === undefined
      ? answer
      : change(answer, async (url) => {
          const second = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
          return { status: second.status, headers: {}, body: await second.text() };
        }),
});

export const destination: readonly BrokenServer[] = [
  {
    check: 'ssrf-https',
    wrong: 'takes http',
    spoil: tries((url) => url.startsWith('http://callback.invalid')),
  },
  {
    check: 'ssrf-https',
    wrong: 'takes any scheme but http',
    spoil: tries((url) => !url.startsWith('http')),
  },
  {
    check: 'ssrf-https',
    wrong: 'does not say where',
    spoil: {
      error: (error) => ({
        error:
          error.data?.path === '/callback/url'
            ? { ...error, data: { ...error.data, path: '' } }
            : error,
      }),
    },
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'takes what it can bring into normal form',
    spoil: takes(normal),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'ignores user information',
    spoil: takes((url) => url.replace(/:\/\/[^/]*@/, '://')),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'ignores fragments',
    spoil: takes((url) => url.replace(/#.*$/, '')),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'takes URLs of any length',
    spoil: takes((url) => url.slice(0, 1024)),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'takes URLs of a thousand characters at most',
    spoil: {
      request: ({ params }) =>
        params.callback?.url.length > 1000 && params.callback.url.length <= 2048
          ? {
              error: {
                code: -32602,
                message: 'Too long.',
                data: { kind: 'invalid', path: '/callback/url', expected: 'less' },
              },
            }
          : undefined,
    },
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'does not look at blanks',
    spoil: takes((url) => url.trim()),
  },
  {
    check: 'ssrf-literal',
    wrong: 'calls every address',
    spoil: tries((url) => /^https:\/\/[0-9.]+\//.test(url)),
  },
  {
    check: 'ssrf-literal',
    wrong: 'knows private networks, and no other',
    spoil: tries((url) => url.includes('169.254.')),
  },
  { check: 'ssrf-literal', wrong: 'knows IPv4 only', spoil: tries((url) => url.includes('://[')) },
  {
    check: 'ssrf-literal',
    wrong: 'does not see IPv4 in IPv6',
    spoil: tries((url) => url.includes('a00:1')),
  },
  {
    check: 'ssrf-literal',
    wrong: 'does not know an address in one number',
    spoil: tries((url) => /^https:\/\/\d+\//.test(url)),
  },
  {
    check: 'ssrf-literal',
    wrong: 'takes a host for a name when it has letters',
    spoil: tries((url) => /^https:\/\/[^/]*0x/.test(url)),
  },
  {
    check: 'curl-opaque',
    wrong: 'decodes escapes',
    spoil: takes((url) => url.replace('%7e', '~')),
  },
  {
    check: 'curl-opaque',
    wrong: 'writes escapes in capitals',
    spoil: takes((url) => url.replaceAll(/%[0-9a-f]{2}/g, (escape) => escape.toUpperCase())),
  },
  {
    check: 'curl-opaque',
    wrong: 'tidies up the query',
    spoil: takes((url) => {
      const parsed = new URL(url);
      for (const [name, value] of [...parsed.searchParams]) parsed.searchParams.set(name, value);
      return parsed.href;
    }),
  },
  {
    check: 'ssrf-verification-too',
    wrong: 'follows the redirect of a challenge',
    spoil: challenge((answer, again) =>
      answer.headers['location'] === undefined ? answer : again(answer.headers['location']),
    ),
  },
  {
    check: 'ssrf-verification-too',
    wrong: 'reads the answer to a challenge to its end',
    spoil: challenge((answer) => ({ ...answer, body: answer.body.replace(/ {2,}/, '') })),
  },
  // The proxy's own client decodes.
  {
    check: 'ssrf-verification-too',
    wrong: 'decompresses the answer to a challenge',
    spoil: challenge((answer) => answer),
  },
  {
    check: 'ssrf-blind',
    wrong: 'tells that an address was refused',
    spoil: inside((error) => ({
      ...error,
      message: 'The callback endpoint has an address that is not allowed.',
    })),
  },
  {
    check: 'ssrf-blind',
    wrong: 'has another category for it',
    spoil: inside((error) => ({ ...error, data: { reason: 'timeout' } })),
  },
  {
    check: 'ssrf-blind',
    wrong: 'answers with InvalidParams',
    spoil: inside(() => ({
      code: -32602,
      message: 'Invalid params at "/callback/url": expected a public address.',
      data: { kind: 'invalid', path: '/callback/url', expected: 'a public address' },
    })),
  },
];
