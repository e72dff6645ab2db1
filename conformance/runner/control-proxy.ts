/**
 * A control interface in front of a server that has a simpler one. It starts the server, kills it,
 * restores older copies of its store, and after each start brings back what the process forgot: the
 * lead of the clock, and what `permit`, `declare` and `remove` did.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failed, rejectionOf, type ControlRejection } from './control-schema.ts';
import type { Json } from './wire/session.ts';

/** Maximum time until a started server's control interface answers. */
const START_MS = 30_000;
/** Time between SIGTERM and SIGKILL. */
const STOP_MS = 10_000;
const LOOK_MS = 50;
const BODY_BYTES_MAX = 16 * 1024 * 1024;

export interface ControlProxyOptions {
  /** Shell command that starts the server. */
  readonly command: string;
  /** URL of the server's own control interface. */
  readonly inner: string;
  /** The folder with the server's store. Without it there is no `remember` and no `lose`. */
  readonly data?: string | undefined;
  /** Port of the proxy. Default: chosen by the system. */
  readonly port?: number | undefined;
  /** Reports a verb that could not be repeated after a start. */
  readonly warn?: (message: string) => void;
}

export class ControlProxy {
  readonly #options: ControlProxyOptions;
  readonly #older = join(mkdtempSync(join(tmpdir(), 'control-')), 'older');
  readonly #server: Server;
  #child: ChildProcess | undefined;
  #aheadMs = 0;
  /**
   * The state of permissions and types, as requests that make it, in order, by what they change.
   */
  readonly #kept = new Map<string, Json>();
  /** One request at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: ControlProxyOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  /** Starts the server and the proxy. Rejects when the server does not start. */
  static async start(options: ControlProxyOptions): Promise<ControlProxy> {
    const proxy = new ControlProxy(options);
    try {
      await proxy.#start();
    } catch (error) {
      await proxy.#stop('SIGKILL');
      throw error;
    }
    proxy.#server.listen(options.port ?? 0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Stops the server and the proxy. */
  async close(): Promise<void> {
    await this.#stop('SIGTERM');
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(join(this.#older, '..'), { recursive: true, force: true });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = (status: number, body: object): void =>
      void response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(JSON.stringify(body));
    // A request with this header comes from a web page.
    if (request.headers.origin !== undefined) return void response.writeHead(403).end();
    const turn = this.#turn.then(async () => {
      try {
        if (request.method === 'GET') return answer(200, await this.#offer());
        const asked = await jsonOf(request);
        const { verbs } = await this.#offer();
        const rejected = rejectionOf('Server', verbs, asked);
        if (rejected !== null) return answer(rejected.status, rejected.body);
        return answer(200, await this.#do(asked));
      } catch (error) {
        const { status, body } = error instanceof Relayed ? error.rejection : failed(error);
        return answer(status, body);
      }
    });
    this.#turn = turn;
    await turn;
  }

  async #offer(): Promise<Json> {
    const inner = await this.#innerOffer();
    const own = ['crash', ...(this.#options.data === undefined ? [] : ['remember', 'lose'])];
    return { ...inner, verbs: [...new Set([...inner.verbs, ...own])], aheadMs: this.#aheadMs };
  }

  async #do(request: Json): Promise<Json> {
    switch (request.do) {
      case 'crash':
        await this.#stop('SIGKILL');
        break;
      case 'remember':
        await this.#stop('SIGTERM');
        rmSync(this.#older, { recursive: true, force: true });
        if (existsSync(this.#options.data!))
          cpSync(this.#options.data!, this.#older, { recursive: true });
        else mkdirSync(this.#older);
        break;
      case 'lose':
        if (!existsSync(this.#older))
          throw new Error('Nothing was remembered. Send "remember" first.');
        await this.#stop('SIGKILL');
        // Files that were made since then have to go too: a journal would bring the commits back.
        for (const file of readdirSync(this.#options.data!))
          rmSync(join(this.#options.data!, file), { recursive: true });
        cpSync(this.#older, this.#options.data!, { recursive: true });
        break;
      default: {
        const answer = await this.#ask(request);
        this.#keep(request);
        return answer;
      }
    }
    await this.#start();
    return {};
  }

  /** Remembers what a start has to repeat. */
  #keep(request: Json): void {
    if (request.do === 'advance') this.#aheadMs += request.ms;
    if (request.do === 'permit') {
      const key = `permit ${request.principal} ${request.name}`;
      this.#kept.delete(key);
      this.#kept.set(key, { ...request, told: false });
    }
    if (request.do === 'declare' || request.do === 'remove') {
      const key = `type ${request.name}`;
      const wasDeclared = this.#kept.get(key)?.do === 'declare';
      this.#kept.delete(key);
      // A type that this run declared is unknown after a start anyway.
      if (request.do === 'declare' || !wasDeclared) this.#kept.set(key, request);
    }
  }

  async #start(): Promise<void> {
    const child = spawn(this.#options.command, {
      // A process group of its own, so that the shell and its children end together.
      shell: true,
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, MCP_CONFORMANCE_AHEAD_MS: String(this.#aheadMs) },
    });
    this.#child = child;
    let offer: Json;
    for (const end = Date.now() + START_MS; offer === undefined;) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error('The server ended before it served. Read its standard error.');
      if (Date.now() > end)
        throw new Error(
          `The server's control interface did not answer within ${START_MS / 1000} s. Correct the command or --inner.`,
        );
      offer = await this.#innerOffer().catch(() => undefined);
      if (offer === undefined) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    const missing = this.#aheadMs - (offer.aheadMs ?? 0);
    if (missing > 0) await this.#ask({ do: 'advance', ms: missing });
    for (const request of this.#kept.values())
      await this.#ask(request).catch((error: unknown) =>
        this.#options.warn?.(
          `"${request.do}" of ${request.name} could not be repeated: ${(error as Error).message}`,
        ),
      );
  }

  async #stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    const kill = (by: NodeJS.Signals): void => {
      try {
        if (process.platform === 'win32') child.kill(by);
        else process.kill(-child.pid!, by);
      } catch {
        // The process has already ended.
      }
    };
    kill(signal);
    const timer = setTimeout(() => kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(timer);
    // The shell can end before its children, which still have the port then.
    kill('SIGKILL');
    for (const end = Date.now() + STOP_MS; Date.now() < end;) {
      const serves = await this.#innerOffer().then(
        () => true,
        () => false,
      );
      if (!serves) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  async #innerOffer(): Promise<Json> {
    const response = await fetch(this.#options.inner, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(10_000),
    });
    const offer: Json = await response.json();
    if (!Array.isArray(offer?.verbs))
      throw new Error('The inner control interface returned no list of verbs. Correct --inner.');
    return offer;
  }

  async #ask(request: Json): Promise<Json> {
    const response = await fetch(this.#options.inner, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    if (response.ok) return text === '' ? {} : JSON.parse(text);
    throw new Relayed(response.status, text);
  }
}

/** A rejection of the inner control interface, passed on. */
class Relayed extends Error {
  readonly rejection: ControlRejection;

  constructor(status: number, text: string) {
    super(text.slice(0, 200));
    let body: Json;
    try {
      body = JSON.parse(text);
    } catch {
      body = text;
    }
    this.rejection =
      typeof body?.error === 'string'
        ? { status: status === 400 ? 400 : 500, body }
        : failed(new Error(`HTTP ${status} ${text.slice(0, 200)}`));
  }
}

async function jsonOf(request: IncomingMessage): Promise<Json> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX) throw new Error('The body is too large. Send at most 16 MiB.');
    chunks.push(chunk as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return undefined;
  }
}
