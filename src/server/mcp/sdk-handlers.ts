/**
 * Reads the request handlers that an SDK server already has. The SDK lets a handler be set, removed and checked for, but not read;
 * reading is open to subclasses of its `Server` only, so this is the one place that uses it.
 */
import {
  Server,
  type JSONRPCRequest,
  type Result,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { LocalError } from '../../protocol/wire/errors.ts';

/** A handler as the SDK stores it: it validates the request for the revision in use. */
export type StoredHandler = (request: JSONRPCRequest, ctx: ServerContext) => Promise<Result>;

/** Never instantiated. The subclass is what gives access to a protected member, checked by the compiler. */
class HandlerReader extends Server {
  static read(server: Server, method: string): StoredHandler | undefined {
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- the subclass is what may read it
    const readable = server as HandlerReader;
    if (typeof readable._getRequestHandler !== 'function') {
      throw new LocalError(
        'config_invalid',
        'This version of @modelcontextprotocol/server does not let its request handlers be read. Use a version in the range of the peer dependency.',
      );
    }
    return readable._getRequestHandler(method);
  }
}

/** The handler of this method; undefined = there is none. Throws `LocalError` `config_invalid` for an SDK that cannot tell. */
export const storedHandler = (server: Server, method: string): StoredHandler | undefined =>
  HandlerReader.read(server, method);
