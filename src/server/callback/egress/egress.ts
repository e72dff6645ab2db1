/**
 * Makes all outbound requests of the server; no other module imports an HTTP client. Checks the
 * callback URL at every attempt and the address at every connection, and limits the answer in time
 * and bytes (SEP: Destination rules; `docs/decisions/0004-one-way-out.md`).
 */
import { lookup as systemLookup } from 'node:dns';
import { Agent, buildConnector } from 'undici';
import { TIMER_MAX_MS } from '../../../protocol/lib/clock.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import {
  lookupWithin,
  loopbackOnly,
  publicInternet,
  type AddressSet,
  type Resolve,
} from './addresses.ts';
import { checkCallbackUrl, type Destination, type UrlPolicy } from './callback-url.ts';
import { OutboundExchange } from './exchange.ts';
import { OutboundError, AttemptFailure, attemptFailureOf } from './failure.ts';
import type { Egress, Log, Meter, OutboundRequest, OutboundResult } from '../../engine/ports.ts';
import { silentLog, silentMeter } from '../../engine/ports.ts';

/**
 * Options of `createEgress`. By default, only the public internet is reachable, over https (SEP:
 * Destination rules).
 */
export interface EgressOptions {
  /**
   * UNSAFE, for development: allows `http` and any port for URLs whose host is `localhost` or a
   * loopback address. Default false.
   */
  readonly unsafeAllowHttpLoopback?: boolean;
  /** Allowed ports of a callback URL, 1 to 65535. Default 443 and 8443. */
  readonly allowedPorts?: readonly number[];
  /**
   * Most connections to one origin, 1 to 64 (default 64); further requests wait within their
   * deadline.
   */
  readonly connectionsPerOrigin?: number;
  /** Milliseconds. */
  readonly timeouts?: {
    /**
     * Longest time for the TCP connection, and again for TLS. Default 10,000. The deadline of the
     * request may end both earlier.
     */
    readonly connectMs?: number;
    /**
     * Time after which an idle connection is closed. Default 4,000. A `Keep-Alive` header of the
     * endpoint can extend it to 30 s.
     */
    readonly idleMs?: number;
  };
  /** CA certificates in PEM to trust instead of the default ones. */
  readonly tlsCa?: string | readonly string[];
  /** Resolves host names; its results are always checked. Default: `dns.lookup` of Node. */
  readonly lookup?: Resolve;
  /**
   * Receives every failed request with its category, but never its URL; a blocked one as a warning.
   * Default: no log.
   */
  readonly log?: Log;
  /** Counts `triggers_egress_failures_total{category}`. Default: no metrics. */
  readonly meter?: Meter;
}

const DEFAULT_PORTS: readonly number[] = [443, 8443];
const CONNECTIONS_MAX = 64;
const CONNECT_MS = 10_000;
const IDLE_MS = 4_000;
const IDLE_MAX_MS = 30_000;
const HEADER_BYTES_MAX = 16_384;
const PORT_OF: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Headers that only the HTTP client may set, or that must never be sent. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'accept-encoding',
  'authorization',
  'connection',
  'content-length',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Creates an egress. `check` throws `WireError` InvalidParams; `post` resolves with the answer or
 * the category of the failure, and rejects only for a forbidden header (`TypeError`). Throws
 * `LocalError` `config_invalid` for an invalid option.
 */
export function createEgress(options: EgressOptions = {}): Egress {
  const policy = policyOf(options);
  const log = options.log ?? silentLog;
  const meter = options.meter ?? silentMeter;
  const agents = new Map<AddressSet, Agent>([
    [publicInternet, agentWithin(publicInternet, options)],
  ]);
  if (policy.unsafeAllowHttpLoopback) agents.set(loopbackOnly, agentWithin(loopbackOnly, options));

  /** Only the log and the metric show that an address was blocked; the result must not. */
  const failureOf = ({ category, detail }: AttemptFailure): OutboundResult => {
    const blocked = detail === 'blocked';
    meter.count('triggers_egress_failures_total', 1, { category: blocked ? 'blocked' : category });
    log[blocked ? 'warn' : 'debug'](
      { category, detail },
      'outbound request failed; clients learn only its category',
    );
    return { kind: 'failure', category, cause: new OutboundError(category) };
  };

  return {
    check: (url) => checkCallbackUrl(url, policy).url.href,

    async post(request) {
      const headers = headersOf(request);
      const destination = admit(request.url, policy);
      const agent = destination && agents.get(destination.allowed);
      if (!destination || !agent)
        return failureOf(new AttemptFailure('connection_refused', 'blocked'));
      const { origin, pathname, search } = destination.url;
      const deadlineMs = Math.min(Math.max(1, request.deadlineMs), TIMER_MAX_MS);
      return new Promise<OutboundResult>((resolve) => {
        const exchange = new OutboundExchange(deadlineMs, resolve, (refusal) =>
          resolve(failureOf(refusal)),
        );
        agent.dispatch(
          { origin, path: pathname + search, method: 'POST', headers, body: request.body },
          exchange,
        );
      });
    },

    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.close()));
    },
  };
}

function policyOf(options: EgressOptions): UrlPolicy {
  const ports = options.allowedPorts ?? DEFAULT_PORTS;
  if (
    ports.length === 0 ||
    !ports.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535)
  ) {
    throw new LocalError(
      'config_invalid',
      'allowedPorts must list at least one port, and only integers from 1 to 65535.',
    );
  }
  return {
    allowedPorts: new Set(ports),
    unsafeAllowHttpLoopback: options.unsafeAllowHttpLoopback ?? false,
  };
}

/** Checks a stored URL again, because the rules may have changed; null = no longer allowed. */
function admit(url: string, policy: UrlPolicy): Destination | null {
  try {
    return checkCallbackUrl(url, policy);
  } catch {
    return null;
  }
}

/**
 * The headers as a flat list of names and values. Throws `TypeError` for a forbidden one, with its
 * name but not its value, which may be a secret.
 */
function headersOf(request: OutboundRequest): string[] {
  const headers = ['accept-encoding', 'identity'];
  for (const [name, value] of Object.entries(request.headers)) {
    if (RESERVED_HEADERS.has(name.toLowerCase()))
      throw new TypeError(`Header ${name} is reserved for the HTTP client. Remove it.`);
    if (!/^[\t -~]*$/.test(value))
      throw new TypeError(`The value of header ${name} must be printable ASCII.`);
    headers.push(name, value);
  }
  return headers;
}

function agentWithin(allowed: AddressSet, options: EgressOptions): Agent {
  const connections = options.connectionsPerOrigin ?? CONNECTIONS_MAX;
  if (!Number.isInteger(connections) || connections < 1 || connections > CONNECTIONS_MAX) {
    throw new LocalError(
      'config_invalid',
      `connectionsPerOrigin must be an integer from 1 to ${CONNECTIONS_MAX}.`,
    );
  }
  return new Agent({
    connect: connectWithin(allowed, options),
    connections,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: options.timeouts?.idleMs ?? IDLE_MS,
    keepAliveMaxTimeout: Math.max(IDLE_MAX_MS, options.timeouts?.idleMs ?? 0),
    maxHeaderSize: HEADER_BYTES_MAX,
    // Disabled, because the deadline of the exchange covers both, and every byte received would
    // restart them.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/**
 * Connects by TCP first and adds TLS, because `tls.connect` ignores `blockList` (Node 22 and 24).
 * Always validates the certificate for the name in the URL, regardless of
 * `NODE_TLS_REJECT_UNAUTHORIZED`.
 */
function connectWithin(allowed: AddressSet, options: EgressOptions): buildConnector.connector {
  const timeout = options.timeouts?.connectMs ?? CONNECT_MS;
  const lookup = lookupWithin(allowed, options.lookup ?? systemLookup);
  const tcp = buildConnector({
    blockList: allowed.blockList,
    lookup,
    timeout,
    allowH2: false,
  });
  const ca = options.tlsCa === undefined ? {} : { ca: [options.tlsCa].flat() };
  const tls = buildConnector({ ...ca, rejectUnauthorized: true, timeout, allowH2: false });

  return (target, done) => {
    const { host, hostname, protocol } = target;
    const port = target.port || PORT_OF[protocol] || '';
    tcp(
      { hostname, protocol: 'http:', port, ...(host === undefined ? {} : { host }) },
      (...[error, socket]) => {
        if (error) done(attemptFailureOf(error, 'connect'), null);
        else if (protocol === 'http:') done(null, socket);
        else
          tls({ ...target, port, httpSocket: socket }, (...[failed, secured]) =>
            failed ? done(attemptFailureOf(failed, 'tls'), null) : done(null, secured),
          );
      },
    );
  };
}
