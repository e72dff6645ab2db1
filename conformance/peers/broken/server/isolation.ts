/** Servers that do not isolate their clients. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';

/** Remembers the first client's token, which a fault can send in place of a later client's. */
const asFirst = (proxied: ProxiedRequest): void => {
  proxied.memory['first'] ??= proxied.headers['authorization'];
};
const namesOne = ({ params }: ProxiedRequest): boolean => typeof params.subscriptionId === 'string';
const foreign = (proxied: ProxiedRequest): boolean =>
  proxied.memory['first'] !== undefined &&
  proxied.headers['authorization'] !== proxied.memory['first'];
const errors = (change: (error: Json, proxied: ProxiedRequest) => Json): BrokenServer['fault'] => ({
  request: (proxied) => {
    asFirst(proxied);
    if (namesOne(proxied) && !foreign(proxied))
      proxied.memory[proxied.params.subscriptionId] = true;
  },
  error: (error, proxied) => ({
    error: namesOne(proxied) && foreign(proxied) ? change(error, proxied) : error,
  }),
});

export const isolation: readonly BrokenServer[] = [
  {
    check: 'iso-own',
    wrong: 'accepts any principal that knows the id',
    fault: {
      request: (proxied) => {
        asFirst(proxied);
        if (namesOne(proxied) && foreign(proxied))
          proxied.headers['authorization'] = proxied.memory['first'];
      },
    },
  },
  {
    check: 'iso-not-found',
    wrong: "reports another principal's subscription as Forbidden",
    fault: errors((error, { params, memory }) =>
      memory[params.subscriptionId] === true
        ? { code: -32024, message: 'Not yours.', data: { kind: 'authentication' } }
        : error,
    ),
  },
  {
    check: 'iso-not-found',
    wrong: 'sends different messages for foreign and unknown subscriptions',
    fault: errors((error, { params, memory }) =>
      memory[params.subscriptionId] === true ? { ...error, message: `${error.message} ` } : error,
    ),
  },
  {
    check: 'iso-not-found',
    wrong: 'reports the reason of an ended subscription to others',
    fault: errors((error) =>
      error.data?.kind === 'subscription'
        ? { ...error, data: { ...error.data, reason: 'expired' } }
        : error,
    ),
  },
  {
    check: 'iso-iss-sub',
    wrong: 'compares subjects without issuers',
    fault: {
      request: (proxied) => {
        asFirst(proxied);
        if (
          foreign(proxied) &&
          subjectOf(proxied.headers) === subjectOf({ authorization: proxied.memory['first'] })
        )
          proxied.headers['authorization'] = proxied.memory['first'];
      },
    },
  },
  {
    check: 'iso-iss-sub',
    wrong: 'takes two clients of one user as one owner',
    fault: {
      request: (proxied) => {
        asFirst(proxied);
        if (
          foreign(proxied) &&
          userOf(proxied.headers) === userOf({ authorization: proxied.memory['first'] })
        )
          proxied.headers['authorization'] = proxied.memory['first'];
      },
    },
  },
  {
    check: 'iso-scopes',
    wrong: 'accepts a selection and a callback for which the request has no permission',
    fault: {
      result: (result, { memory }) => {
        if (typeof result.subscriptionId === 'string') memory[result.subscriptionId] = result;
        return result;
      },
      error: (error, { method, params, memory }) =>
        method === 'triggers/update' &&
        (params.select !== undefined || params.callback !== undefined) &&
        (error.code === -32024 || error.code === -32023) &&
        memory[params.subscriptionId] !== undefined
          ? { result: memory[params.subscriptionId] }
          : { error },
    },
  },
  {
    check: 'iso-principal',
    wrong: 'serves a request without a token as the previous principal',
    fault: {
      request: (proxied) => {
        if (proxied.headers['authorization'] !== undefined)
          proxied.memory['last'] = proxied.headers['authorization'];
        else if (proxied.memory['last'] !== undefined)
          proxied.headers['authorization'] = proxied.memory['last'];
      },
    },
  },
  {
    check: 'iso-principal',
    wrong: 'answers a request without a token as if a permission were missing',
    fault: {
      request: ({ method, headers }) =>
        method.startsWith('triggers/') && headers['authorization'] === undefined
          ? { error: { code: -32024, message: 'Not allowed.', data: { kind: 'permission' } } }
          : undefined,
    },
  },
  {
    check: 'iso-token',
    wrong: "sends the client's token to the callback",
    fault: {
      request: ({ headers, memory }) => {
        memory['token'] = headers['authorization'];
      },
      callback: (outgoing) => {
        if (outgoing.memory['token'] !== undefined)
          outgoing.headers['authorization'] = outgoing.memory['token'];
      },
    },
  },
];

interface Claims {
  readonly iss?: unknown;
  readonly sub?: unknown;
}

const claimsOf = ({ authorization = '' }: Record<string, string>): Claims | null => {
  try {
    return JSON.parse(
      Buffer.from(authorization.split('.')[1] ?? '', 'base64url').toString(),
    ) as Claims;
  } catch {
    return null;
  }
};
const subjectOf = (headers: Record<string, string>): unknown =>
  claimsOf(headers)?.sub ?? Symbol('none');
const userOf = (headers: Record<string, string>): unknown => {
  const claims = claimsOf(headers);
  return claims === null ? Symbol('none') : JSON.stringify([claims.iss, claims.sub]);
};
