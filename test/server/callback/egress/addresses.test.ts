/**
 * Tests the two independent address tables against every IANA special-purpose block (SEP:
 * Destination rules).
 */
import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'vitest';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { loopbackOnly, publicInternet } from '../../../../src/server/callback/egress/addresses.ts';

/**
 * One address of each block of the IANA IPv4 and IPv6 special-purpose registries, and of each form
 * that embeds IPv4.
 */
const INSIDE = `
  0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.254 127.0.0.1 127.254.254.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.9
  192.0.0.10 192.0.0.170 192.0.0.171 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.88.99.2 192.168.0.1 192.175.48.1 198.18.0.1 198.19.255.254 198.51.100.1
  203.0.113.1 224.0.0.1 233.252.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16
  :: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::127.0.0.1 ::a00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::7f00:1 100::1 100:0:0:1::1
  2001::1 2001:0:7f00:1::1 2001:1::1 2001:1::2 2001:1::3 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:db8::1 2001:db8:1234::5efe:7f00:1
  2002:7f00:1::1 2002:a9fe:a9fe::1 2620:4f:8000::1 3fff::1 3ffe::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::5efe:7f00:1 febf::1 fec0::1 ff02::1 ff0e::1 ::ffff:0:127.0.0.1
  4000::1 8000::1 1fff:ffff::1`
  .trim()
  .split(/\s+/);

const OUTSIDE = `
  1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0
  192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 203.0.114.0 223.255.255.255 2000::1 2001:200::1 2001:4860:4860::8888 2001:db7::1 2001:db9::1 2003::1 2606:4700:4700::1111
  2620:4e:ffff::1 2a00::1 3ffd::1 ::ffff:8.8.8.8 ::ffff:808:808`
  .trim()
  .split(/\s+/);

describe('public addresses', () => {
  test(`[ssrf-literal] [ssrf-connect] ${INSIDE.length} probes of special-purpose blocks are refused`, () => {
    assert.deepEqual(
      INSIDE.filter((address) => publicInternet.allows(address)),
      [],
    );
  });

  test(`${OUTSIDE.length} addresses next to the blocks are allowed`, () => {
    assert.deepEqual(
      OUTSIDE.filter((address) => !publicInternet.allows(address)),
      [],
    );
  });

  test('the block list that the socket uses gives the same results by itself', () => {
    const blocked = (address: string): boolean =>
      publicInternet.blockList.check(address, net.isIP(address) === 4 ? 'ipv4' : 'ipv6');
    assert.deepEqual(
      INSIDE.filter((address) => !blocked(address)),
      [],
    );
    assert.deepEqual(OUTSIDE.filter(blocked), []);
  });

  test('ipaddr.js alone misses exactly the blocks that are known to be missing there', () => {
    const missed = INSIDE.filter((address) => ipaddr.process(address).range() === 'unicast');
    assert.deepEqual(missed, [
      '168.63.129.16',
      '::a00:1',
      '100:0:0:1::1',
      '3ffe::1',
      '4000::1',
      '8000::1',
      '1fff:ffff::1',
    ]);
  });

  test('the block list refuses every address that ipaddr.js refuses', () => {
    const v4 = fc.ipV4();
    const mapped = fc.ipV4().map((address) => `::ffff:${address}`);
    fc.assert(
      fc.property(fc.oneof(v4, fc.ipV6(), mapped), (address) => {
        const family = net.isIP(address) === 4 ? 'ipv4' : 'ipv6';
        const special = ipaddr.process(address).range() !== 'unicast';
        assert.ok(!special || publicInternet.blockList.check(address, family), address);
        assert.ok(!(special && publicInternet.allows(address)));
      }),
      { numRuns: 20_000 },
    );
  });

  test('anything that is not an address, or has a zone, is refused', () => {
    for (const address of [
      '',
      'localhost',
      '1',
      '0x7f.1',
      '127.1',
      '8.8.8.8.',
      ' 8.8.8.8',
      '[2606:4700::1]',
      '2606:4700::1%eth0',
      'fe80::1%lo',
      '::ffff:8.8.8.8%1',
      '8.8.8.8\0',
    ]) {
      assert.equal(publicInternet.allows(address), false, address);
      assert.equal(loopbackOnly.allows(address), false, address);
    }
  });
});

describe('loopback addresses', () => {
  test('the development option allows 127.0.0.0/8 and ::1 and nothing else', () => {
    for (const address of ['127.0.0.1', '127.255.255.255', '::1'])
      assert.equal(loopbackOnly.allows(address), true, address);
    const others = [...INSIDE, ...OUTSIDE].filter(
      (address) => !address.startsWith('127.') && address !== '::1',
    );
    assert.deepEqual(
      others.filter((address) => loopbackOnly.allows(address)),
      [],
    );
  });
});
