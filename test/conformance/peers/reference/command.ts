/** How the reference client is started. */
import { fileURLToPath } from 'node:url';

export const CLIENT_COMMAND = [process.execPath, '--conditions=mcp-triggers-source', fileURLToPath(new URL('client.ts', import.meta.url))].map((part) => JSON.stringify(part)).join(' ');
