/**
 * An unreliable callback endpoint: one request in twenty fails before anything is done with it,
 * another one after everything is done. It records what the library's receiver applies.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Challenge, Delivery } from 'mcp-triggers-experimental';
import {
  createReceiver,
  type Receiver,
  type ReceiverItem,
} from 'mcp-triggers-experimental/receiver';
import type { Random } from 'mcp-triggers-experimental/server';
import { eventually } from '../support.ts';
import type { DeliveryRecorder } from './delivery-recorder.ts';

const FAILS_BEFORE = 0.05;
const FAILS_AFTER = 0.05;

export class FlakyEndpoint {
  readonly receiver: Receiver;
  /** The applied events, in order. */
  readonly applied: ReceiverItem[] = [];
  failures = 0;
  /** Failures start only on request, so that the registration's challenge succeeds. */
  flaky = false;
  readonly #server: Server;
  readonly #random: Random;
  readonly #recorder: DeliveryRecorder;

  private constructor(server: Server, random: Random, recorder: DeliveryRecorder) {
    this.#server = server;
    this.#random = random;
    this.#recorder = recorder;
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.receiver = createReceiver({
      endpoint: `${origin}/callback`,
      issuer: origin,
      signingKey: generateKeyPairSync('ed25519').privateKey,
      apply: (item) => void this.applied.push(item),
    });
  }

  static async open(random: Random, recorder: DeliveryRecorder): Promise<FlakyEndpoint> {
    let endpoint: FlakyEndpoint | undefined;
    const server = createServer(
      getRequestListener((request) => endpoint!.#answer(request), { overrideGlobalObjects: false }),
    ).listen(0, '127.0.0.1');
    await once(server, 'listening');
    endpoint = new FlakyEndpoint(server, random, recorder);
    return endpoint;
  }

  async #answer(request: Request): Promise<Response> {
    const roll = this.flaky ? this.#random.uniform() : 1;
    const before = roll < FAILS_BEFORE;
    const after = !before && roll < FAILS_BEFORE + FAILS_AFTER;
    const body = await request.text().catch(() => null);
    // Cut off by the sender's death: no answer reaches anyone.
    if (body === null) return new Response(null, { status: 400 });
    const { params } = JSON.parse(body) as { params: Delivery | Challenge };
    if (!('challenge' in params))
      this.#recorder.delivery('callback', params, {
        messageId: request.headers.get('webhook-id')!,
        failed: before || after,
      });
    if (before || after) this.failures += 1;
    if (before) return new Response(null, { status: 500 });
    const answer = await this.receiver.fetch(
      new Request(request.url, { method: 'POST', headers: request.headers, body }),
    );
    return after ? new Response(null, { status: 500 }) : answer;
  }

  /** Resolves when everything that a dead server had sent has been read. */
  async quiet(): Promise<void> {
    await eventually(
      'connections of the dead server are gone',
      () =>
        new Promise<boolean>((resolve) =>
          this.#server.getConnections((_, count) => resolve(count === 0)),
        ),
    );
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
