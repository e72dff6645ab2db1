/** Tests that a server's signature names the server: by its resource URI, in every callback request. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { generateDeliveryKey, verifyDelivery } from '../../../src/protocol/wire/delivery-jws.ts';
import { ann, CALLBACK, world } from '../engine/harness.ts';

const deliveryKey = generateDeliveryKey();
const resource = 'https://mcp.example/mcp';

describe('a server with a delivery key', () => {
  for (const wrong of [undefined, '', 'mcp.example/mcp', '/mcp'])
    test(`[jws-header] cannot be made with the resource ${JSON.stringify(wrong)}`, () =>
      assert.rejects(world({ deliveryKey, ...(wrong === undefined ? {} : { resource: wrong }) }), {
        code: 'config_invalid',
        message: /`resource`/,
      }));

  test('[jws-header jws-verify] names itself in challenges and deliveries; another server with its key is not it', async () => {
    const w = await world({ deliveryKey, resource });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    await w.emit(1);
    // The key signs in a separate thread.
    for (let look = 0; look < 500 && w.endpoints.requests.length === 0; look += 1) await w.pass(1);
    for (const { headers, body } of [w.endpoints.challenges[0]!, w.endpoints.requests[0]!]) {
      const verify = (issuer: string) =>
        verifyDelivery(headers['mcp-delivery-signature'], body, {
          issuer,
          url: CALLBACK.url,
          subscriptionId,
          keys: () => deliveryKey.publicKey,
          nowMs: w.clock.now(),
        });
      assert.equal((await verify(resource)).iss, resource);
      await assert.rejects(verify('https://mcp.example/other'), { reason: 'wrong_issuer' });
    }
    await w.close();
  });
});

test('a server without a delivery key needs no resource', async () => {
  const w = await world();
  await w.close();
});
