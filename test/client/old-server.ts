/**
 * A server older than discovery, on a pipe: it knows only the handshake and exits at any other
 * first message, as some servers do.
 */
import { createInterface } from 'node:readline';
import { EXTENSION_ID } from '../../spec-schema/draft/schema.ts';

const capabilities = {
  experimental: { [EXTENSION_ID]: { revision: '2026-12-01', levels: ['log'] } },
};
const RESULTS: Record<string, object> = {
  initialize: {
    protocolVersion: '2025-11-25',
    capabilities,
    serverInfo: { name: 'old', version: '0' },
  },
  'triggers/list': { triggers: [], etag: 'list-1', ttlMs: 0, cacheScope: 'private' },
};
let isInitialized = false;

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line) as { id?: number; method: string };
  isInitialized ||= method === 'initialize';
  if (!isInitialized) process.exit(1);
  const result = RESULTS[method];
  if (id !== undefined && result)
    process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
}
