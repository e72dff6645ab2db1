/**
 * Runs the reference server for the kit: starts, kills and restarts it in a child process, issues
 * tokens, restores an older copy of its store, and serves the control interface.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { freePort, inheritedEnv } from '../../../scripts/demo/server-process.ts';
import { failed, rejectionOf } from '../../runner/control-schema.ts';
import type { ControlOffer, Verb, Verbs } from '../../runner/control.ts';
import { parsed } from '../../runner/trace.ts';
import { NAME_INSIDE } from './environment.ts';

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** The verbs that the child process runs. */
const PASSED_ON = [
  'emit',
  'unwatch',
  'advance',
  'permit',
  'redact',
  'remove',
  'declare',
] as const satisfies readonly Verb[];
/**
 * The witness of the store. It stays when an older store replaces the current one, so that the
 * server detects the loss.
 */
const WITNESS = 'triggers.db.instance';
/** The client of every token but `sibling`. */
const CLIENT = 'kit';

export class ReferenceServer {
  readonly #port: number;
  readonly #folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  readonly #data = join(this.#folder, 'data');
  readonly #older = join(this.#folder, 'older');
  #side!: Server;
  #issuer = '';
  #key!: CryptoKey;
  #child: ChildProcess | undefined;
  #leadMs = 0;
  #id = 0;
  #tokens: Record<string, string> = {};
  readonly #asked = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
  readonly #env: Readonly<Record<string, string>>;

  private constructor(port: number, env: Readonly<Record<string, string>>) {
    this.#port = port;
    this.#env = env;
  }

  /** Starts the server. `env` overrides TRIGGERS_* variables. */
  static async start(env: Readonly<Record<string, string>> = {}): Promise<ReferenceServer> {
    const server = new ReferenceServer(await freePort(), env);
    await server.#serveSide();
    await server.#spawn();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/mcp`;
  }
  get token(): string {
    return this.#tokens['main']!;
  }
  get control(): string {
    return `${this.#issuer}/control`;
  }

  async close(): Promise<void> {
    await this.#stop('SIGTERM');
    this.#side.closeAllConnections();
    this.#side.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Serves the keys of the issuer and the control interface. */
  async #serveSide(): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA');
    this.#key = privateKey;
    const jwks = JSON.stringify({
      keys: [{ ...(await exportJWK(publicKey)), kid: 'conformance', alg: 'EdDSA', use: 'sig' }],
    });
    this.#side = createServer((request, response) => {
      const answer = (status: number, body: string): void =>
        void response.writeHead(status, { 'content-type': 'application/json' }).end(body);
      if (request.url === '/jwks') return answer(200, jwks);
      if (request.method === 'GET') return answer(200, JSON.stringify(this.#offer()));
      bodyOf(request)
        .then(async (text) => {
          const asked = parsed(text);
          const rejected = rejectionOf('Server', this.#offer().verbs, asked);
          if (rejected === null) await this.#do(asked as { readonly do: Verb });
          else answer(rejected.status, JSON.stringify(rejected.body));
        })
        .then(
          () => response.headersSent || answer(200, '{}'),
          (error: unknown) => answer(500, JSON.stringify(failed(error).body)),
        );
    }).listen(0, '127.0.0.1');
    await once(this.#side, 'listening');
    this.#issuer = `http://127.0.0.1:${(this.#side.address() as AddressInfo).port}`;
    for (const subject of ['main', 'other', 'stranger'])
      this.#tokens[subject] = await this.#tokenFor(subject, this.#issuer);
    this.#tokens['namesake'] = await this.#tokenFor('main', `${this.#issuer}/second`);
    this.#tokens['sibling'] = await this.#tokenFor('main', this.#issuer, 'sibling');
  }

  #tokenFor(subject: string, issuer: string, client = CLIENT): Promise<string> {
    return (
      new SignJWT({ scope: 'triggers', client_id: client })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'conformance' })
        .setIssuer(issuer)
        .setSubject(subject)
        .setAudience(this.url)
        .setIssuedAt()
        // Scenarios advance the server's clock by days, and a stream ends when the token of its
        // request expires.
        .setExpirationTime('10y')
        .sign(this.#key)
    );
  }

  #offer(): ControlOffer {
    return {
      verbs: [...PASSED_ON, 'crash', 'remember', 'lose'],
      types: {
        plain: 'conformance.plain',
        history: 'conformance.history',
        short: 'conformance.short',
        pullOnly: 'conformance.pull_only',
        initial: 'conformance.initial',
      },
      tokens: this.#tokens,
      names: { inside: NAME_INSIDE },
      aheadMs: this.#leadMs,
    };
  }

  async #do({
    do: verb,
    ...params
  }: {
    readonly do: Verb;
    readonly ms?: number;
    readonly principal?: string;
    readonly events?: Verbs['emit']['events'];
  }): Promise<void> {
    switch (verb) {
      case 'crash':
        await this.#stop('SIGKILL');
        return this.#spawn();
      case 'remember':
        await this.#stop('SIGTERM');
        rmSync(this.#older, { recursive: true, force: true });
        cpSync(this.#data, this.#older, { recursive: true });
        return this.#spawn();
      case 'lose':
        await this.#stop('SIGKILL');
        // The journal has to be replaced too: a newer one would be replayed over the older store.
        for (const file of readdirSync(this.#data))
          if (file !== WITNESS) rmSync(join(this.#data, file), { recursive: true });
        cpSync(this.#older, this.#data, {
          recursive: true,
          filter: (file) => !file.endsWith(WITNESS),
        });
        return this.#spawn();
      case 'advance':
        this.#leadMs += params.ms ?? 0;
        return this.#ask({ do: verb, ...params });
      case 'permit':
        return this.#ask({ do: verb, ...params, principal: this.#principalOf(params.principal!) });
      case 'emit': {
        const events = params.events!.map(({ audience, ...event }) => ({
          ...event,
          ...(audience === undefined
            ? {}
            : { audience: audience.map((name) => this.#principalOf(name)) }),
        }));
        return this.#ask({ do: verb, events });
      }
      default:
        return this.#ask({ do: verb, ...params });
    }
  }

  /** The server identifies an owner by issuer, subject and client. */
  #principalOf(name: string): string {
    return JSON.stringify([this.#issuer, name, CLIENT]);
  }

  #ask(request: object): Promise<void> {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#child!.send({ id, ...request });
    });
  }

  async #spawn(): Promise<void> {
    const child = fork(CHILD, {
      cwd: ROOT,
      execArgv: ['--conditions=mcp-triggers-source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: {
        ...inheritedEnv(),
        TRIGGERS_PORT: String(this.#port),
        TRIGGERS_DATA_DIR: this.#data,
        TRIGGERS_AUTH_ISSUER: this.#issuer,
        TRIGGERS_AUTH_JWKS_URI: `${this.#issuer}/jwks`,
        TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: 'true',
        TRIGGERS_LOG_LEVEL: 'error',
        TRIGGERS_MAX_REQUESTS_PER_MINUTE: '1000000',
        TRIGGERS_TTL_MIN_MS: '1000',
        TRIGGERS_MAX_SUBSCRIPTIONS_PER_PRINCIPAL: '300',
        CONFORMANCE_LEAD_MS: String(this.#leadMs),
        ...this.#env,
      },
    });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) =>
        reject(new Error(`The reference server ended with code ${code}. Read its standard error.`)),
      );
      child.on('message', ({ ready, id, error }: { ready?: true; id?: number; error?: string }) => {
        if (ready === true) return resolve();
        const asked = this.#asked.get(id!);
        this.#asked.delete(id!);
        if (error === undefined) asked?.resolve();
        else asked?.reject(new Error(error));
      });
    });
  }

  async #stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    for (const { reject } of this.#asked.values())
      reject(new Error('The reference server was stopped. Send the verb again.'));
    this.#asked.clear();
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
