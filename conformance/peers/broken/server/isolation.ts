/** Servers that do not isolate their clients. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';

/** Remembers the first client's token, so that the server treats later clients as the first. */
const asFirst = (passing: Passing): void => {
  passing.memory['first'] ??= passing.headers['authorization'];
};
const namesOne = ({ params }: Passing): boolean => typeof params.subscriptionId === 'string';
const foreign = (passing: Passing): boolean =>
  passing.memory['first'] !== undefined &&
  passing.headers['authorization'] !== passing.memory['first'];
const errors = (change: (error: Json, passing: Passing) => Json): BrokenServer['fault'] => ({
  request: (passing) => {
    asFirst(passing);
    if (namesOne(passing) && !foreign(passing))
      passing.memory[passing.params.subscriptionId] = true;
  },
  error: (error, passing) => ({
    error: namesOne(passing) && foreign(passing) ? change(error, passing) : error,
  }),
});

export const isolation: readonly BrokenServer[] = [
  {
    check: 'iso-own',
    wrong: 'accepts any principal that knows the id',
    fault: {
      request: (passing) => {
        asFirst(passing);
        if (namesOne(passing) && foreign(passing))
          passing.headers['authorization'] = passing.memory['first'];
      },
    },
  },
  {
    check: 'iso-not-found',
    wrong: "reports another principal's subscription as Forbidden",
    fault: errors((error, { params, memory }) =>
      memory[params.subscriptionId] === true
        ? { code: -32024, message: 'Not yours.', data: { kind: 'principal' } }
        : error,
    ),
  },
  {
    check: 'iso-not-found',
    wrong: 'words foreign and unknown subscriptions differently',
    fault: errors((error, { params, memory }) =>
      memory[params.subscriptionId] === true ? { ...error, message: `${error.message} ` } : error,
    ),
  },
  {
    check: 'iso-no-data',
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
      request: (passing) => {
        asFirst(passing);
        if (
          foreign(passing) &&
          subjectOf(passing.headers) === subjectOf({ authorization: passing.memory['first'] })
        )
          passing.headers['authorization'] = passing.memory['first'];
      },
    },
  },
  {
    check: 'iso-principal',
    wrong: 'serves a request without a token as the previous principal',
    fault: {
      request: (passing) => {
        if (passing.headers['authorization'] !== undefined)
          passing.memory['last'] = passing.headers['authorization'];
        else if (passing.memory['last'] !== undefined)
          passing.headers['authorization'] = passing.memory['last'];
      },
    },
  },
  {
    check: 'iso-token',
    wrong: "sends the client's token to the callback",
    fault: {
      request: ({ headers, memory }) => {
        memory['token'] = headers['authorization'];
      },
      callback: (calling) => {
        if (calling.memory['token'] !== undefined)
          calling.headers['authorization'] = calling.memory['token'];
      },
    },
  },
];

const subjectOf = ({ authorization = '' }: Record<string, string>): unknown => {
  try {
    return (
      JSON.parse(Buffer.from(authorization.split('.')[1] ?? '', 'base64url').toString()) as {
        readonly sub?: unknown;
      }
    ).sub;
  } catch {
    return Symbol('none');
  }
};
