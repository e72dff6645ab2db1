/** Servers that accept callback destinations they have to reject. */
import { randomBytes } from 'node:crypto';
import type { BrokenServer, CallbackAnswer, Json } from '../proxy.ts';

/** Accepts forbidden URLs: the correct server receives the allowed URL that `change` returns. */
const takes = (change: (url: string) => string): BrokenServer['fault'] => ({
  request: ({ params }) => {
    if (typeof params.callback?.url === 'string') params.callback.url = change(params.callback.url);
  },
});
/** Calls the URLs that match: the correct server receives a name that does not resolve. */
const tries = (fits: (url: string) => boolean): BrokenServer['fault'] =>
  takes((url) => (fits(url) ? `https://${randomBytes(8).toString('hex')}.invalid/in` : url));
const normal = (url: string): string => (URL.canParse(url) ? new URL(url).href : url);
/** Changes the rejection of a name that resolves to a private address. */
const inside = (change: (error: Json) => Json): BrokenServer['fault'] => ({
  error: (error, { params }) => ({
    error: params.callback?.url.startsWith('https://inside.') ? change(error) : error,
  }),
});
const challenge = (
  change: (
    answer: CallbackAnswer,
    again: (url: string) => Promise<CallbackAnswer>,
  ) => CallbackAnswer | Promise<CallbackAnswer>,
): BrokenServer['fault'] => ({
  callbackAnswer: (answer, { body, headers }) =>
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
    wrong: 'accepts http',
    fault: tries((url) => url.startsWith('http://callback.invalid')),
  },
  {
    check: 'ssrf-https',
    wrong: 'accepts any scheme but http',
    fault: tries((url) => !url.startsWith('http')),
  },
  {
    check: 'ssrf-https',
    wrong: 'omits the path of the invalid member',
    fault: {
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
    wrong: 'normalizes a URL instead of rejecting it',
    fault: takes(normal),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'strips user information',
    fault: takes((url) => url.replace(/:\/\/[^/]*@/, '://')),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'strips fragments',
    fault: takes((url) => url.replace(/#.*$/, '')),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'accepts URLs of any length',
    fault: takes((url) => url.slice(0, 1024)),
  },
  {
    check: 'ssrf-normal-form',
    wrong: 'rejects URLs of more than 1000 characters',
    fault: {
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
    wrong: 'trims white space',
    fault: takes((url) => url.trim()),
  },
  {
    check: 'ssrf-literal',
    wrong: 'calls any IPv4 address',
    fault: tries((url) => /^https:\/\/[0-9.]+\//.test(url)),
  },
  {
    check: 'ssrf-literal',
    wrong: 'rejects private networks only',
    fault: tries((url) => url.includes('169.254.')),
  },
  {
    check: 'ssrf-literal',
    wrong: 'rejects IPv4 addresses only',
    fault: tries((url) => url.includes('://[')),
  },
  {
    check: 'ssrf-literal',
    wrong: 'calls an IPv6 address that embeds private IPv4',
    fault: tries((url) => url.includes('a00:1')),
  },
  {
    check: 'ssrf-literal',
    wrong: 'calls an address that is written as one number',
    fault: tries((url) => /^https:\/\/\d+\//.test(url)),
  },
  {
    check: 'ssrf-literal',
    wrong: 'treats a hexadecimal address as a name',
    fault: tries((url) => /^https:\/\/[^/]*0x/.test(url)),
  },
  {
    check: 'curl-opaque',
    wrong: 'decodes percent escapes',
    fault: takes((url) => url.replace('%7e', '~')),
  },
  {
    check: 'curl-opaque',
    wrong: 'changes percent escapes to upper case',
    fault: takes((url) => url.replaceAll(/%[0-9a-f]{2}/g, (escape) => escape.toUpperCase())),
  },
  {
    check: 'curl-opaque',
    wrong: 're-serializes the query',
    fault: takes((url) => {
      const parsed = new URL(url);
      for (const [name, value] of [...parsed.searchParams]) parsed.searchParams.set(name, value);
      return parsed.href;
    }),
  },
  {
    check: 'ans-no-redirect',
    wrong: 'follows the redirect of a challenge',
    fault: challenge((answer, again) =>
      answer.headers['location'] === undefined ? answer : again(answer.headers['location']),
    ),
  },
  {
    check: 'cb-answer-limit',
    wrong: 'reads the answer to a challenge beyond the limit',
    fault: challenge((answer) => ({ ...answer, body: answer.body.replace(/ {2,}/, '') })),
  },
  // The proxy reads answers by `fetch`, which decompresses them.
  {
    check: 'cb-answer-limit',
    wrong: 'decompresses the answer to a challenge',
    fault: challenge((answer) => answer),
  },
  {
    check: 'ssrf-blind',
    wrong: 'reports that an address is forbidden',
    fault: inside((error) => ({
      ...error,
      message: 'The callback endpoint has an address that is not allowed.',
    })),
  },
  {
    check: 'ssrf-blind',
    wrong: 'uses another reason for a forbidden address',
    fault: inside((error) => ({ ...error, data: { kind: 'callback', category: 'timeout' } })),
  },
  {
    check: 'ssrf-blind',
    wrong: 'reports a forbidden address as InvalidParams',
    fault: inside(() => ({
      code: -32602,
      message: 'Invalid params at "/callback/url": expected a public address.',
      data: { kind: 'invalid', path: '/callback/url', expected: 'a public address' },
    })),
  },
];
