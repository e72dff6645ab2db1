/**
 * Shared by the egress tests: a resolver with scripted answers, a watch on every socket that would
 * connect (only loopback connections go through), real hostile endpoints on loopback, and requests.
 */
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import type { LookupAddress } from 'node:dns';
import { vi, type TestContext } from 'vitest';
import type { Resolve } from '../../../../src/server/callback/egress/addresses.ts';
import type {
  Egress,
  Log,
  Meter,
  OutboundRequest,
  OutboundResult,
} from '../../../../src/server/engine/ports.ts';

/** A public address that is only recorded; the watch never lets a socket connect to it. */
export const PUBLIC_ADDRESS = '93.184.216.34';

export const request = (url: string, more: Partial<OutboundRequest> = {}): OutboundRequest => ({
  url,
  headers: {
    'content-type': 'application/json',
    'webhook-id': 'msg_1',
    'user-agent': 'egress-test',
  },
  body: Buffer.from('{"jsonrpc":"2.0"}'),
  deadlineMs: 5_000,
  ...more,
});

/** `response 200`, or the category of a failure. */
export const outcomeOf = (result: OutboundResult): string =>
  result.kind === 'response' ? `response ${result.status}` : result.category;

export function bodyOf(result: OutboundResult): string {
  if (result.kind !== 'response') throw new Error(`expected a response, got ${result.category}`);
  return Buffer.from(result.body).toString('latin1');
}

/**
 * Each query takes the next answer; the last one repeats. An answer is a list of addresses or an
 * error code.
 */
export function scriptedResolver(
  ...answers: readonly (readonly string[] | string)[]
): Resolve & { readonly asked: string[] } {
  const asked: string[] = [];
  const resolve: Resolve = (hostname, _options, callback) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)] ?? 'ENOTFOUND';
    asked.push(hostname);
    queueMicrotask(() => {
      if (typeof answer === 'string')
        callback(
          Object.assign(new Error(`getaddrinfo ${answer} ${hostname}`), { code: answer }),
          [],
        );
      else
        callback(
          null,
          answer.map((address): LookupAddress => ({ address, family: net.isIP(address) })),
        );
    });
  };
  return Object.assign(resolve, { asked });
}

export interface Watch {
  /** Calls of `connect` on any socket, TLS included. */
  readonly attempts: string[];
  /** Addresses that a socket would connect to, after name resolution. */
  readonly reached: string[];
}

interface Target {
  readonly host?: string;
  readonly port?: number | string;
  readonly path?: string;
  readonly lookup?: (
    host: string,
    options: { all: true },
    callback: (error: Error | null, addresses: LookupAddress[]) => void,
  ) => void;
}

/**
 * Sits below the HTTP client and its resolver, at `net.Socket.prototype.connect`. Loopback
 * addresses connect for real; any other address is recorded and refused, or redirected to the
 * loopback port `internetPort`.
 */
export function watchSockets(
  t: TestContext,
  options: { readonly internetPort?: number } = {},
): Watch {
  const watch: Watch = { attempts: [], reached: [] };
  const original = net.Socket.prototype.connect;
  const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');

  t.onTestFinished(() => void vi.restoreAllMocks());
  vi.spyOn(net.Socket.prototype, 'connect').mockImplementation(function connect(
    this: Socket,
    ...args: unknown[]
  ): Socket {
    const first = Array.isArray(args[0]) ? (args[0] as unknown[])[0] : args[0];
    const target = first as Target;
    const host = target.host ?? '';
    watch.attempts.push(`${host}:${target.port}`);

    const proceed = (addresses: readonly string[]): void => {
      watch.reached.push(...addresses);
      const away = addresses.some((address) => !isLoopback(address));
      if (away && options.internetPort === undefined)
        this.destroy(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
      else if (away) {
        // Where the real socket would accept its peer, the loopback substitute must be accepted
        // too.
        delete (this as { blockList?: net.BlockList }).blockList;
        Reflect.apply(original, this, [{ host: '127.0.0.1', port: options.internetPort }]);
      } else Reflect.apply(original, this, [{ ...target, lookup: fixed(addresses) }]);
    };
    if (net.isIP(host)) proceed([host]);
    else if (!target.lookup) this.destroy(new Error('a socket would resolve a name by itself'));
    else
      target.lookup(host, { all: true }, (error, addresses) =>
        error ? this.destroy(error) : proceed(addresses.map(({ address }) => address)),
      );
    return this;
  });
  return watch;
}

const fixed =
  (addresses: readonly string[]): Target['lookup'] =>
  (_host, options, callback) => {
    const all = addresses.map((address): LookupAddress => ({ address, family: net.isIP(address) }));
    if (options.all) callback(null, all);
    else
      (callback as unknown as (e: null, address: string, family: number) => void)(
        null,
        all[0]!.address,
        all[0]!.family,
      );
  };

export interface Endpoint {
  readonly port: number;
  readonly url: string;
  /** Bytes received per connection, in order of arrival. */
  readonly received: string[];
  connections(): number;
  /** Sockets that are open at the endpoint. */
  open(): number;
}

/**
 * An endpoint on loopback; `behave` is called with the socket each time a whole request has arrived
 * on it.
 */
export async function endpoint(
  t: TestContext,
  behave: (socket: Socket, count: number) => void,
  server: Server = net.createServer(),
): Promise<Endpoint> {
  const received: string[] = [];
  const sockets = new Set<Socket>();
  let requests = 0;
  server.on(
    server instanceof net.Server && 'setSecureContext' in server
      ? 'secureConnection'
      : 'connection',
    (socket: Socket) => {
      const index = received.push('') - 1;
      let pending = '';
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
      socket.on('data', (chunk) => {
        const text = chunk.toString('latin1');
        received[index] += text;
        pending += text;
        for (let end = endOfRequest(pending); end > 0; end = endOfRequest(pending)) {
          pending = pending.slice(end);
          behave(socket, ++requests);
        }
      });
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}/hook`,
    received,
    connections: () => received.length,
    open: () => sockets.size,
  };
}

function endOfRequest(text: string): number {
  const head = text.indexOf('\r\n\r\n');
  if (head < 0) return -1;
  const end = head + 4 + Number(/content-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
  return text.length >= end ? end : -1;
}

export const answer = (status: string, body = '', headers = ''): string =>
  `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`;

/** Closes the egress after the test, even if the test failed. */
export function closing(t: TestContext, egress: Egress): Egress {
  t.onTestFinished(() => egress.close());
  return egress;
}

export function recorder(): {
  readonly log: Log;
  readonly meter: Meter;
  readonly lines: string[];
  readonly counts: Record<string, number>;
} {
  const lines: string[] = [];
  const counts: Record<string, number> = {};
  const line = (level: string) => (fields: object, message: string) =>
    void lines.push(JSON.stringify({ level, ...fields, message }));
  return {
    lines,
    counts,
    log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
    meter: {
      count: (name, by = 1, labels = {}) => {
        const key = `${name}{${Object.values(labels).join()}}`;
        counts[key] = (counts[key] ?? 0) + by;
      },
      observe: () => undefined,
      gauge: () => undefined,
    },
  };
}
