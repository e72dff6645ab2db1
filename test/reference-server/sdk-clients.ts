/**
 * The SDK clients of both generations. Packages both depend on have export conditions of their own that are named `source` and
 * lead to files Node does not run, so those are led back to what they resolve to without the condition.
 */
import { registerHooks } from 'node:module';

const hooks = registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    const built = /^(.*\/node_modules\/.*)\/src\/(\w+)\.ts$/.exec(found.url);
    return built ? { ...found, format: 'module', url: `${built[1]}/dist/${built[2]}.js` } : found;
  },
});
const v2 = await import('@modelcontextprotocol/client');
const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio');
const { Client: ClientV1 } = await import('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport: TransportV1 } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { StdioClientTransport: StdioTransportV1 } = await import('@modelcontextprotocol/sdk/client/stdio.js');
hooks.deregister();

export const { Client, StreamableHTTPClientTransport } = v2;
export { ClientV1, StdioClientTransport, StdioTransportV1, TransportV1 };
