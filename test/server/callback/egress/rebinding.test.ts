/**
 * Tests that the address which the socket uses is checked at every connection (SEP: Destination
 * rules).
 */
import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test, vi } from 'vitest';
import { createEgress } from '../../../../src/server/callback/egress/egress.ts';
import { publicInternet } from '../../../../src/server/callback/egress/addresses.ts';
import {
  answer,
  closing,
  endpoint,
  PUBLIC_ADDRESS,
  recorder,
  request,
  scriptedResolver,
  outcomeOf,
  watchSockets,
} from './support.ts';

const HOOK = 'https://receiver.example/hook';

test('control: a socket would connect to a public answer', async (t) => {
  const watch = watchSockets(t);
  const lookup = scriptedResolver([PUBLIC_ADDRESS, '2606:4700:4700::1111']);
  const egress = closing(t, createEgress({ lookup }));
  assert.equal(outcomeOf(await egress.post(request(HOOK))), 'connection_refused');
  assert.deepEqual(watch.reached, [PUBLIC_ADDRESS, '2606:4700:4700::1111']);
});

describe('names with changing answers', () => {
  test('[ssrf-connect] public first, loopback afterwards: not one byte arrives inside', async (t) => {
    const inside = await endpoint(t, (socket) => socket.end(answer('200 OK')));
    const watch = watchSockets(t);
    const lookup = scriptedResolver([PUBLIC_ADDRESS], ['127.0.0.1']);
    const egress = closing(t, createEgress({ lookup, allowedPorts: [443, inside.port] }));
    const url = `https://receiver.example:${inside.port}/hook`;
    for (let attempt = 0; attempt < 3; attempt++)
      assert.equal(outcomeOf(await egress.post(request(url))), 'connection_refused');
    assert.equal(lookup.asked.length, 3);
    assert.deepEqual(watch.reached, [PUBLIC_ADDRESS]);
    assert.equal(inside.connections(), 0);
  });

  const MIXED: readonly (readonly string[])[] = [
    [PUBLIC_ADDRESS, '::1'],
    ['::1', PUBLIC_ADDRESS],
    [PUBLIC_ADDRESS, '127.0.0.1'],
    ['127.0.0.1', PUBLIC_ADDRESS],
    [
      '2606:4700:4700::1111',
      PUBLIC_ADDRESS,
      '1.1.1.1',
      '8.8.8.8',
      '9.9.9.9',
      '10.0.0.1',
      '8.8.4.4',
      '1.0.0.1',
    ],
    [PUBLIC_ADDRESS, '::ffff:169.254.169.254'],
    [PUBLIC_ADDRESS, '64:ff9b::7f00:1'],
  ];
  for (const addresses of MIXED) {
    test(`[ssrf-mixed] ${addresses.join(' ')} is refused as a whole`, async (t) => {
      const watch = watchSockets(t);
      const egress = closing(t, createEgress({ lookup: scriptedResolver(addresses) }));
      assert.equal(outcomeOf(await egress.post(request(HOOK))), 'connection_refused');
      assert.deepEqual(watch.reached, []);
    });
  }
});

describe('the check in the socket', () => {
  // tls.connect() drops `blockList`, so https is safe only because TLS is layered over a TCP
  // socket.
  for (const { title, listed } of [
    {
      title: '[ssrf-connect] an address injected below the resolver is refused, for https too',
      listed: true,
    },
    { title: 'control: without the block list the same address is reached', listed: false },
  ]) {
    test(title, async (t) => {
      const inside = await endpoint(t, (socket) => socket.end(answer('200 OK')));
      const original = net.Socket.prototype.connect;
      t.onTestFinished(() => void vi.restoreAllMocks());
      vi.spyOn(net.Socket.prototype, 'connect').mockImplementation(function connect(
        this: net.Socket,
        ...args: [[net.TcpNetConnectOpts]]
      ): net.Socket {
        if (!listed) delete (this as { blockList?: net.BlockList }).blockList;
        const { blockList, ...target } = args[0][0];
        return Reflect.apply(original, this, [
          { ...target, ...(listed && blockList ? { blockList } : {}), host: '127.0.0.1' },
        ]) as net.Socket;
      } as unknown as typeof original);
      const { log, meter, counts } = recorder();
      const egress = closing(
        t,
        createEgress({
          lookup: scriptedResolver([PUBLIC_ADDRESS]),
          allowedPorts: [inside.port],
          log,
          meter,
        }),
      );
      const result = await egress.post(
        request(`https://receiver.example:${inside.port}/hook`, { deadlineMs: 300 }),
      );
      assert.equal(outcomeOf(result), listed ? 'connection_refused' : 'timeout');
      assert.equal(inside.connections(), listed ? 0 : 1);
      assert.deepEqual(counts, {
        [`triggers_egress_failures_total{${listed ? 'blocked' : 'timeout'}}`]: 1,
      });
    });
  }

  test('[ssrf-connect] net.connect with the block list refuses loopback by address and by name', async (t) => {
    const inside = await endpoint(t, (socket) => socket.end(answer('200 OK')));
    for (const host of ['127.0.0.1', 'localhost']) {
      const code = await new Promise((resolve) => {
        const socket = net.connect({
          host,
          port: inside.port,
          blockList: publicInternet.blockList,
          autoSelectFamily: false,
        });
        socket
          .on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
          .on('connect', () => resolve('connected'));
      });
      assert.equal(code, 'ERR_IP_BLOCKED', host);
    }
    assert.equal(inside.connections(), 0);
  });
});
