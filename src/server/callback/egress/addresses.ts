/**
 * The addresses to which callbacks may connect, and name resolution within them. Two independent
 * tables must both allow an address: the ranges of `ipaddr.js`, and the blocks below, from the IANA
 * special-purpose registries. The blocks form a `net.BlockList`, so that the socket also checks the
 * address to which it connects (SEP: Destination rules).
 */
import type { LookupAddress, LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { addressBlocked } from './failure.ts';

type Block = readonly [block: string, why: string];

/**
 * Addresses that are not on the public internet. Each block is `network/length` or `first-last`.
 */
const NOT_ON_THE_INTERNET: readonly Block[] = [
  ['0.0.0.0/8', 'this network, RFC 791: reaches loopback on Linux'],
  ['10.0.0.0/8', 'private use, RFC 1918'],
  ['100.64.0.0/10', 'carrier-grade NAT, RFC 6598'],
  ['127.0.0.0/8', 'loopback, RFC 1122'],
  [
    '168.63.129.16/32',
    'not in a registry: the platform address of a cloud, the same in every virtual network',
  ],
  ['169.254.0.0/16', 'link local, RFC 3927: instance metadata'],
  ['172.16.0.0/12', 'private use, RFC 1918'],
  ['192.0.0.0/24', 'IETF protocol assignments, RFC 6890'],
  ['192.0.2.0/24', 'documentation, RFC 5737'],
  ['192.31.196.0/24', 'AS112, RFC 7535'],
  ['192.52.193.0/24', 'AMT, RFC 7450'],
  ['192.88.99.0/24', '6to4 relay, RFC 7526'],
  ['192.168.0.0/16', 'private use, RFC 1918'],
  ['192.175.48.0/24', 'AS112, RFC 7534'],
  ['198.18.0.0/15', 'benchmarking, RFC 2544'],
  ['198.51.100.0/24', 'documentation, RFC 5737'],
  ['203.0.113.0/24', 'documentation, RFC 5737'],
  ['224.0.0.0/4', 'multicast, RFC 5771'],
  ['240.0.0.0/4', 'reserved and broadcast, RFC 1112, RFC 919'],

  // Only 2000::/3 is unicast on the internet. IPv4-mapped addresses need no row, because BlockList
  // applies the IPv4 rows to them.
  ['::-::fffe:ffff:ffff', 'unspecified, loopback, IPv4-compatible, RFC 4291'],
  [
    '::1:0:0:0-1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    'IPv4-translated, NAT64, discard-only; RFC 2765, RFC 6052, RFC 8215, RFC 6666',
  ],
  [
    '4000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    'segment routing, unique local, link local, site local, multicast; RFC 9602, RFC 4193, RFC 4291',
  ],
  [
    '2001::/23',
    'IETF protocol assignments with Teredo, ORCHID, AMT, AS112, benchmarking; RFC 2928',
  ],
  ['2001:db8::/32', 'documentation, RFC 3849'],
  ['2002::/16', '6to4, RFC 3056: embeds an IPv4 address'],
  ['2620:4f:8000::/48', 'AS112, RFC 7534'],
  ['3ffe::/16', '6bone, returned by RFC 3701'],
  ['3fff::/20', 'documentation, RFC 9637'],
];

const NOT_LOOPBACK: readonly Block[] = [
  ['0.0.0.0-126.255.255.255', 'below 127.0.0.0/8'],
  ['128.0.0.0-255.255.255.255', 'above 127.0.0.0/8'],
  ['::/128', 'below ::1'],
  ['::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'above ::1'],
];

/** A set of allowed addresses. */
export interface AddressSet {
  /** The addresses that are not in the set, for `net.connect`. */
  readonly blockList: BlockList;
  /**
   * Whether the set contains an address. False for text that is not an address, and for an address
   * with a zone.
   */
  allows(address: string): boolean;
}

function addressSet(range: 'unicast' | 'loopback', blocks: readonly Block[]): AddressSet {
  const blockList = new BlockList();
  for (const [block] of blocks) {
    const [first, last] = block.split('-') as [string, string?];
    const [network, length] = first.split('/') as [string, string?];
    const family = isIP(network) === 4 ? 'ipv4' : 'ipv6';
    if (last === undefined) blockList.addSubnet(network, Number(length), family);
    else blockList.addRange(first, last, family);
  }
  return {
    blockList,
    allows(address) {
      const family = isIP(address);
      if (family === 0 || address.includes('%')) return false;
      // `process` converts an IPv4-mapped address to the IPv4 address that the kernel uses.
      return (
        ipaddr.process(address).range() === range &&
        !blockList.check(address, family === 4 ? 'ipv4' : 'ipv6')
      );
    },
  };
}

/** Globally reachable unicast addresses. */
export const publicInternet: AddressSet = addressSet('unicast', NOT_ON_THE_INTERNET);

/** `127.0.0.0/8` and `::1`, for the development option only. */
export const loopbackOnly: AddressSet = addressSet('loopback', NOT_LOOPBACK);

/** `dns.lookup` with the option `all`. */
export type Resolve = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * A `lookup` for `net.connect` that checks the result at every connection. One forbidden address
 * rejects the whole result: a name that resolves both to the internet and to a private address is
 * an attack or a mistake.
 */
export function lookupWithin(allowed: AddressSet, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? [];
      if (error) callback(error, '', 0);
      else if (!first)
        callback(Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), '', 0);
      else if (!addresses.every(({ address }) => allowed.allows(address)))
        callback(addressBlocked(), '', 0);
      else if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
