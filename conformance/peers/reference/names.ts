/** Name resolution for the reference server under test: one name that leads inside, names that are nobody's without asking the network, and the system's for the rest. */
import { lookup } from 'node:dns';
import type { Resolve } from 'mcp-triggers-experimental/server';

/** Resolves to an address that callbacks may not have. */
export const NAME_INSIDE = 'inside.conformance.example';

export const resolveName: Resolve = (name, options, callback) => {
  if (name === NAME_INSIDE) callback(null, [{ address: '10.1.2.3', family: 4 }]);
  // RFC 6761: there is none of them.
  else if (name.endsWith('.invalid'))
    callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
  else lookup(name, options, callback);
};
