/**
 * The static rules for a callback URL, checked before a name is resolved or a socket is opened. A
 * violation is `InvalidParams` for `/callback/url` and says what is expected, never what was given
 * (SEP: Destination rules).
 */
import { isIPv4 } from 'node:net';
import { invalidParams } from '../../../protocol/wire/errors.ts';
import { CALLBACK_URL_CHARS_MAX } from '../../../protocol/wire/limits.ts';
import { loopbackOnly, publicInternet, type AddressSet } from './addresses.ts';

/** The configurable part of the rules. */
export interface UrlPolicy {
  /** Allowed ports of `https`; an absent port is 443. */
  readonly allowedPorts: ReadonlySet<number>;
  /** For development: also allow loopback hosts, on any port and over `http`. */
  readonly unsafeAllowHttpLoopback: boolean;
}

/** A valid URL, and the addresses that a connection to it may use. */
export interface Destination {
  readonly url: URL;
  readonly allowed: AddressSet;
}

/** A URL to check: as given, as parsed, and its host. */
interface Candidate {
  readonly text: string;
  readonly url: URL;
  /** The host, without brackets, if it is an address; otherwise null. */
  readonly address: string | null;
  readonly loopback: boolean;
  readonly policy: UrlPolicy;
}

interface Rule<Subject> {
  readonly name: string;
  readonly expected: string;
  holds(subject: Subject): boolean;
}

/**
 * Checked before parsing, because the parser drops tabs and newlines, turns `\` into `/` and maps
 * full-width digits to ASCII.
 */
const TEXT_RULES: readonly Rule<string>[] = [
  {
    name: 'length',
    expected: `a URL of at most ${CALLBACK_URL_CHARS_MAX} characters`,
    holds: (text) => text.length <= CALLBACK_URL_CHARS_MAX,
  },
  {
    name: 'ascii',
    expected: 'a URL of printable ASCII characters',
    holds: (text) => /^[!-~]+$/.test(text),
  },
  { name: 'parse', expected: 'an absolute URL', holds: (text) => URL.canParse(text) },
];

const URL_RULES: readonly Rule<Candidate>[] = [
  {
    name: 'scheme',
    expected: 'an https URL',
    holds: ({ url, loopback }) =>
      url.protocol === 'https:' || (loopback && url.protocol === 'http:'),
  },
  {
    name: 'userinfo',
    expected: 'a URL without user name and password',
    holds: ({ url }) => url.username === '' && url.password === '',
  },
  {
    name: 'fragment',
    expected: 'a URL without a fragment',
    holds: ({ text }) => !text.includes('#'),
  },
  {
    // Excludes text that two parsers could read differently: other spellings of addresses, escapes,
    // dot segments.
    name: 'normal_form',
    expected: 'a URL in the normal form of the WHATWG URL Standard',
    holds: ({ text, url }) => url.href === text,
  },
  {
    name: 'port',
    expected: 'a URL with a port that this server calls',
    holds: ({ url, loopback, policy }) =>
      loopback || policy.allowedPorts.has(url.port === '' ? 443 : Number(url.port)),
  },
  {
    name: 'trailing_dot',
    expected: 'a host name without a dot at its end',
    holds: ({ url }) => !url.hostname.endsWith('.'),
  },
  {
    name: 'single_label',
    expected: 'a fully qualified host name or a public address',
    holds: ({ url, address, loopback }) =>
      loopback || address !== null || url.hostname.includes('.'),
  },
  {
    name: 'address',
    expected: 'a public address',
    holds: ({ address, loopback }) =>
      loopback || address === null || publicInternet.allows(address),
  },
];

/** Names of the rules in the order in which they are checked, for tests and documentation. */
export const RULE_NAMES: readonly string[] = [...TEXT_RULES, ...URL_RULES].map((rule) => rule.name);

/**
 * Checks a URL. Throws `WireError` InvalidParams with path `/callback/url` at the first violated
 * rule.
 */
export function checkCallbackUrl(text: string, policy: UrlPolicy): Destination {
  require(TEXT_RULES, text);
  const url = new URL(text);
  const address = addressIn(url.hostname);
  const loopback =
    policy.unsafeAllowHttpLoopback &&
    (url.hostname === 'localhost' || (address !== null && loopbackOnly.allows(address)));
  require(URL_RULES, { text, url, address, loopback, policy });
  return { url, allowed: loopback ? loopbackOnly : publicInternet };
}

function require<Subject>(rules: readonly Rule<Subject>[], subject: Subject): void {
  for (const rule of rules) {
    if (!rule.holds(subject)) throw invalidParams('/callback/url', rule.expected);
  }
}

/** The address that a host name of a URL spells; null = it is a name. */
function addressIn(hostname: string): string | null {
  if (hostname.startsWith('[')) return hostname.slice(1, -1);
  return isIPv4(hostname) ? hostname : null;
}
