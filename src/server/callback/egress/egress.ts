/**
 * The one way out: every outbound call of the server, and the only module that imports an HTTP client. A callback URL is
 * judged at every attempt, its address once more by the socket that connects, and what comes back is bounded in time and
 * bytes (SEP: Destination rules; `docs/decisions/0004-one-way-out.md`).
 */
import { lookup as systemLookup } from 'node:dns';
import { Agent, buildConnector } from 'undici';
import { TIMER_MAX_MS } from '../../../protocol/lib/clock.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { loopbackOnly, publicInternet, type Reach } from './addresses.ts';
import { checkCallbackUrl, type Destination, type UrlPolicy } from './callback-url.ts';
import { OutboundExchange } from './exchange.ts';
import { OutboundError, DestinationRefused, refusalOf } from './failure.ts';
import { lookupWithin, type Resolve } from './lookup.ts';
import type { Egress, Log, Meter, OutboundRequest, OutboundResult } from '../../engine/ports.ts';
import { silentLog, silentMeter } from '../../engine/ports.ts';

/**
 * What `createEgress` can be told; by default it reaches the public internet by https and nothing else (SEP: Destination rules).
 */
export interface EgressOptions {
  /**
   * UNSAFE, for development: `http`, any port and loopback addresses, for URLs whose host is `localhost` or a loopback address.
   * Default false.
   */
  readonly unsafeAllowHttpLoopback?: boolean;
  /** Ports a callback URL may name, 1 to 65535. Default 443 and 8443. */
  readonly allowedPorts?: readonly number[];
  /** Connections kept to one origin, 1 to 64 (default 64); more requests wait, within their deadline. */
  readonly connectionsPerOrigin?: number;
  /** Milliseconds. */
  readonly timeouts?: {
    /** To get a TCP connection, then again for TLS; default 10,000 ms. The request's own deadline ends the attempt earlier. */
    readonly connectMs?: number;
    /** An idle connection is closed after this long; default 4,000 ms. An endpoint's `Keep-Alive` may stretch it to 30 s. */
    readonly idleMs?: number;
  };
  /** PEM certificates to trust instead of the usual ones. */
  readonly tlsCa?: string | readonly string[];
  /** Default: the system's resolver. Its answers are judged whoever gives them. */
  readonly lookup?: Resolve;
  /** Told of every failed call: its category, `blocked` ones as a warning; never a URL. Default: nobody. */
  readonly log?: Log;
  /** Gets `triggers_egress_failures_total{category}`. Default: nobody. */
  readonly meter?: Meter;
}

const DEFAULT_PORTS: readonly number[] = [443, 8443];
const CONNECTIONS_MAX = 64;
const CONNECT_MS = 10_000;
const IDLE_MS = 4_000;
const IDLE_MAX_MS = 30_000;
const HEADER_BYTES_MAX = 16_384;
const PORT_OF: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Set by the HTTP client, or never sent on behalf of the server's environment. */
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
 * Makes the way out. `judge` throws `WireError` InvalidParams; `post` resolves with the answer or a failure's category and
 * rejects only for a header that must not be sent (`TypeError`). Throws `LocalError` `config_invalid`.
 */
export function createEgress(options: EgressOptions = {}): Egress {
  const policy = policyOf(options);
  const log = options.log ?? silentLog;
  const meter = options.meter ?? silentMeter;
  const agents = new Map<Reach, Agent>([[publicInternet, agentWithin(publicInternet, options)]]);
  if (policy.unsafeAllowHttpLoopback) agents.set(loopbackOnly, agentWithin(loopbackOnly, options));

  /** The log and the counter may know that an address was refused; the result must not tell. */
  const failureOf = ({ category, detail }: DestinationRefused): OutboundResult => {
    const blocked = detail === 'blocked';
    meter.count('triggers_egress_failures_total', 1, { category: blocked ? 'blocked' : category });
    log[blocked ? 'warn' : 'debug']({ category, detail }, 'outbound call failed');
    return { kind: 'failure', category, cause: new OutboundError(category) };
  };

  return {
    judge: (url) => checkCallbackUrl(url, policy).url.href,

    async post(request) {
      const headers = headersOf(request);
      const destination = admit(request.url, policy);
      const agent = destination && agents.get(destination.reach);
      if (!destination || !agent)
        return failureOf(new DestinationRefused('connection_refused', 'blocked'));
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
      'allowedPorts must list at least one port from 1 to 65535.',
    );
  }
  return {
    allowedPorts: new Set(ports),
    unsafeAllowHttpLoopback: options.unsafeAllowHttpLoopback ?? false,
  };
}

/** The stored URL again under today's rules; a URL that they no longer allow is one that cannot be reached. */
function admit(url: string, policy: UrlPolicy): Destination | null {
  try {
    return checkCallbackUrl(url, policy);
  } catch {
    return null;
  }
}

/** The request's headers and the fixed one, flat. A refusal names the header, not its value, which can be a secret. */
function headersOf(request: OutboundRequest): string[] {
  const headers = ['accept-encoding', 'identity'];
  for (const [name, value] of Object.entries(request.headers)) {
    if (RESERVED_HEADERS.has(name.toLowerCase()))
      throw new TypeError(`The header ${name} must not be set on an outbound call.`);
    if (!/^[\t -~]*$/.test(value))
      throw new TypeError(`The value of header ${name} must be printable ASCII.`);
    headers.push(name, value);
  }
  return headers;
}

function agentWithin(reach: Reach, options: EgressOptions): Agent {
  const connections = options.connectionsPerOrigin ?? CONNECTIONS_MAX;
  if (!Number.isInteger(connections) || connections < 1 || connections > CONNECTIONS_MAX) {
    throw new LocalError(
      'config_invalid',
      `connectionsPerOrigin must be an integer from 1 to ${CONNECTIONS_MAX}.`,
    );
  }
  return new Agent({
    connect: connectWithin(reach, options),
    connections,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: options.timeouts?.idleMs ?? IDLE_MS,
    keepAliveMaxTimeout: Math.max(IDLE_MAX_MS, options.timeouts?.idleMs ?? 0),
    maxHeaderSize: HEADER_BYTES_MAX,
    // The exchange's one deadline covers both, and a dripping endpoint would restart them with every byte.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/**
 * TCP first, TLS over it: `tls.connect` ignores `blockList` (Node 22 and 24), so only a socket from `net.connect` is checked.
 * The certificate is validated for the name in the URL whatever `NODE_TLS_REJECT_UNAUTHORIZED` says.
 */
function connectWithin(reach: Reach, options: EgressOptions): buildConnector.connector {
  const timeout = options.timeouts?.connectMs ?? CONNECT_MS;
  const lookup = lookupWithin(reach, options.lookup ?? systemLookup);
  const tcp = buildConnector({
    blockList: reach.blockList,
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
        if (error) done(refusalOf(error, 'connect'), null);
        else if (protocol === 'http:') done(null, socket);
        else
          tls({ ...target, port, httpSocket: socket }, (...[failed, secured]) =>
            failed ? done(refusalOf(failed, 'tls'), null) : done(null, secured),
          );
      },
    );
  };
}
