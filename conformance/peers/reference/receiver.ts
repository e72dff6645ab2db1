/**
 * The receiver library on a loopback port, with the control interface of the receiver suite. Its
 * ledger is a file, so that a restart keeps exactly what a crash keeps. The applied items stay in
 * memory across a restart, in place of the application's database.
 */
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import {
  createReceiver,
  createServerKeys,
  fileLedger,
  type Receiver,
} from 'mcp-triggers-experimental/receiver';
import type { Applied } from '../../runner/client/program.ts';
import { failed, rejectionOf } from '../../runner/control-schema.ts';
import type { ReceiverVerb, RegistrationKey } from '../../runner/receiver/control.ts';
import { appliedOf } from './applied.ts';

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const nameOf = ({ audience, key }: RegistrationKey): string => JSON.stringify([audience, key]);

export class ReferenceReceiver {
  readonly #folder = mkdtempSync(join(tmpdir(), 'receiver-'));
  readonly #signing = generateKeyPairSync('ed25519').privateKey;
  /** Key sets by the audience of their server, from `register`. */
  readonly #keySets = new Map<string, ReturnType<typeof createServerKeys>>();
  readonly #applied = new Map<string, Applied[]>();
  readonly #server: Server;
  readonly #control: Server;
  #receiver!: Receiver;
  #first!: { readonly url: string; readonly secret: string };

  private constructor() {
    this.#server = createServer(getRequestListener((request) => this.#receiver.fetch(request)));
    this.#control = createServer(getRequestListener((request) => this.#asked(request)));
  }

  static async start(): Promise<ReferenceReceiver> {
    const reference = new ReferenceReceiver();
    for (const server of [reference.#server, reference.#control])
      await once(server.listen(0, '127.0.0.1'), 'listening');
    reference.#restart();
    reference.#first = await reference.#receiver.register({
      audience: 'https://mcp.example.com/mcp',
      key: 'conformance',
    });
    return reference;
  }

  /** The URL and the secret of the first registration, for the command line. */
  get url(): string {
    return this.#first.url;
  }
  get secret(): string {
    return this.#first.secret;
  }
  get control(): string {
    return `${originOf(this.#control)}/`;
  }

  async close(): Promise<void> {
    for (const server of [this.#server, this.#control]) {
      server.closeAllConnections();
      await once(server.close(), 'close');
    }
    rmSync(this.#folder, { recursive: true });
  }

  #restart(): void {
    const issuer = originOf(this.#server);
    this.#receiver = createReceiver({
      endpoint: `${issuer}/callback`,
      issuer,
      signingKey: this.#signing,
      ledger: fileLedger(join(this.#folder, 'ledger.json')),
      serverKeys: (audience) => this.#keySets.get(audience),
      apply: (item, who) => {
        this.#applied.set(nameOf(who), [
          ...(this.#applied.get(nameOf(who)) ?? []),
          appliedOf(item),
        ]);
      },
    });
  }

  readonly #verbs: Readonly<Record<ReceiverVerb, (params: any) => object | Promise<object>>> = {
    register: async ({
      audience,
      key,
      jwksUri,
    }: RegistrationKey & { readonly jwksUri?: string }) => {
      if (jwksUri !== undefined)
        this.#keySets.set(audience, createServerKeys({ server: audience, jwksUri }));
      const { url, secret } = await this.#receiver.register({ audience, key });
      return { url, secret };
    },
    rotate: async ({ audience, key }: RegistrationKey) => {
      const { secret } = await this.#receiver.rotate({ audience, key });
      return { secret };
    },
    applied: (who: RegistrationKey) => ({ items: this.#applied.get(nameOf(who)) ?? [] }),
    restart: () => {
      this.#restart();
      return {};
    },
    forget: async (who: RegistrationKey) => {
      await this.#receiver.forget(who);
      return {};
    },
    mint: ({ header, claims }: { readonly header: object; readonly claims: object }) => {
      const input = `${encode(header)}.${encode(claims)}`;
      return {
        token: `${input}.${sign(null, Buffer.from(input), this.#signing).toString('base64url')}`,
      };
    },
  };

  async #asked(request: Request): Promise<Response> {
    if (request.method === 'GET') return Response.json({ verbs: Object.keys(this.#verbs) });
    const asked: unknown = await request.json().catch(() => undefined);
    const rejected = rejectionOf('Receiver', Object.keys(this.#verbs), asked);
    if (rejected !== null) return Response.json(rejected.body, { status: rejected.status });
    const { do: verb, ...params } = asked as { readonly do: ReceiverVerb };
    try {
      return Response.json(await this.#verbs[verb](params));
    } catch (error) {
      return Response.json(failed(error).body, { status: 500 });
    }
  }
}

const originOf = (server: Server): string =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
