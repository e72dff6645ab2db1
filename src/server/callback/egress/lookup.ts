/**
 * Name resolution that answers only with addresses in reach. One address out of reach refuses the whole answer: a name that
 * points both at the internet and at something private is an attack or a mistake (SEP: Destination rules).
 */
import type { LookupAddress, LookupOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Reach } from './addresses.ts';
import { addressBlocked } from './failure.ts';

/** `dns.lookup` asked for all addresses. */
export type Resolve = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** For `net.connect({ lookup })`; `reach` is judged at every connection, so an answer that changes later is judged again. */
export function lookupWithin(reach: Reach, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? [];
      if (error) callback(error, '', 0);
      else if (!first)
        callback(Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), '', 0);
      else if (!addresses.every(({ address }) => reach.allows(address)))
        callback(addressBlocked(), '', 0);
      else if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
