/**
 * Tests that hostile callback URLs are refused before a name is resolved or a socket opened (SEP:
 * Destination rules).
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { createEgress } from '../../../../src/server/callback/egress/egress.ts';
import { RULE_NAMES } from '../../../../src/server/callback/egress/callback-url.ts';
import { WireError } from '../../../../src/protocol/wire/errors.ts';
import { GOOD_URLS, HOSTILE_NAMES, HOSTILE_URLS } from './hostile-urls.ts';
import {
  closing,
  PUBLIC_ADDRESS,
  request,
  scriptedResolver,
  outcomeOf,
  watchSockets,
} from './support.ts';

describe('static rules', () => {
  for (const [trick, urls] of Object.entries(HOSTILE_URLS)) {
    test(`[ssrf-https] [ssrf-normal-form] [ssrf-literal] [ssrf-ports] ${trick}: ${urls.length} URLs are refused, without a lookup or a socket`, async (t) => {
      const watch = watchSockets(t);
      const lookup = scriptedResolver([PUBLIC_ADDRESS]);
      const egress = closing(t, createEgress({ lookup }));
      for (const url of urls) {
        assert.throws(
          () => egress.check(url),
          (error) => {
            assert.ok(
              error instanceof WireError && error.is('InvalidParams'),
              `${url}: ${String(error)}`,
            );
            assert.ok(error.data.kind === 'invalid' && error.data.path === '/callback/url');
            return true;
          },
          url,
        );
        assert.equal(outcomeOf(await egress.post(request(url))), 'connection_refused', url);
      }
      assert.deepEqual(lookup.asked, []);
      assert.deepEqual(watch.attempts, []);
    });
  }

  test('the table has at least 150 URLs, and every rule refuses at least one of them', () => {
    const urls = Object.values(HOSTILE_URLS).flat();
    assert.ok(new Set(urls).size >= 150, `${new Set(urls).size}`);
    const egress = createEgress();
    const said = new Set(urls.map((url) => expectedOf(() => egress.check(url))));
    assert.equal(said.size, RULE_NAMES.length);
  });

  test('[ssrf-development] the same URLs stay refused under the development option, except for loopback', () => {
    const egress = createEgress({ unsafeAllowHttpLoopback: true });
    const passed = Object.values(HOSTILE_URLS)
      .flat()
      .filter((url) => !refuses(() => egress.check(url)));
    for (const url of passed)
      assert.match(url, /^https?:\/\/(localhost|127\.[\d.]+|\[::1\])(:\d+)?\//, url);
    assert.ok(passed.includes('http://127.0.0.1/') && passed.includes('https://[::1]/'));
  });

  test('good URLs pass and come back byte for byte', () => {
    const egress = createEgress();
    for (const url of GOOD_URLS) assert.equal(egress.check(url), url);
  });

  test('[ssrf-normal-form] 2,048 characters pass and 2,049 do not', () => {
    const egress = createEgress();
    const url = `https://example.com/${'a'.repeat(2028)}`;
    assert.equal(egress.check(url).length, 2048);
    assert.match(
      expectedOf(() => egress.check(`${url}a`)),
      /2048/,
    );
  });

  test('[ssrf-ports] configured ports replace the default ones', () => {
    const egress = createEgress({ allowedPorts: [9443] });
    assert.equal(egress.check('https://example.com:9443/'), 'https://example.com:9443/');
    for (const url of ['https://example.com/', 'https://example.com:8443/'])
      assert.match(
        expectedOf(() => egress.check(url)),
        /port/,
      );
  });

  test('invalid options are rejected at once', () => {
    for (const options of [
      { allowedPorts: [] },
      { allowedPorts: [0] },
      { allowedPorts: [1.5] },
      { connectionsPerOrigin: 0 },
      { connectionsPerOrigin: 65 },
    ]) {
      assert.throws(() => createEgress(options), { code: 'config_invalid' });
    }
  });
});

describe('names that point inside', () => {
  for (const [url, ...addresses] of HOSTILE_NAMES) {
    test(`[ssrf-connect] [ssrf-blind] ${new URL(url).hostname} → ${addresses.join(' ')} is resolved and never connected to`, async (t) => {
      const watch = watchSockets(t);
      const lookup = scriptedResolver(addresses);
      const egress = closing(t, createEgress({ lookup }));
      assert.equal(egress.check(url), url);
      assert.equal(outcomeOf(await egress.post(request(url))), 'connection_refused');
      assert.equal(lookup.asked.length, 1);
      assert.deepEqual(watch.reached, []);
    });
  }
});

function expectedOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof WireError && error.is('InvalidParams') && error.data.kind === 'invalid')
      return error.data.expected;
    throw error;
  }
  throw new assert.AssertionError({ message: 'passed' });
}

function refuses(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch {
    return true;
  }
}
