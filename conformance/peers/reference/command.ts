/** Commands that start the reference clients. */
import { fileURLToPath } from 'node:url';

const commandOf = (file: string): string =>
  [
    process.execPath,
    '--conditions=mcp-triggers-source',
    fileURLToPath(new URL(file, import.meta.url)),
  ]
    .map((part) => JSON.stringify(part))
    .join(' ');

/** Starts the client of this extension. */
export const CLIENT_COMMAND = commandOf('client.ts');
/** Starts the client that follows in one mode of SEP-3415. */
export const EVENTS_CLIENT_COMMAND = commandOf('events-client.ts');
