/**
 * A plain server on the SDK's 2.x line: `createMcpHandler` over HTTP, which serves 2026-07-28 and, without sessions, the handshake revisions; or a pipe
 * when this file is started as a program.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { getRequestListener } from '@hono/node-server';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { installedVersion } from '../matrix.ts';
import {
  Board,
  BOARD_METHODS,
  SESSION_METHODS,
  type Change,
  type StockOptions,
  stopped,
  type StockProgram,
  type StockServer,
} from './board.ts';

function serverOf(board: Board, announce: (what: Change) => Promise<void>): McpServer {
  const mcp = new McpServer({ name: 'sdk-2', version: '1' }, { capabilities: board.capabilities });
  for (const method of [...BOARD_METHODS, ...SESSION_METHODS]) {
    const capability = method.slice(0, method.indexOf('/'));
    if (capability in board.capabilities)
      mcp.server.setRequestHandler(method, async ({ params }: { params?: unknown }) =>
        board.answer(method, params, announce),
      );
  }
  return mcp;
}

/** Starts the server over HTTP. */
export async function startSdk2({
  board = new Board(),
  port = 0,
}: StockOptions = {}): Promise<StockServer> {
  const announce = (what: Change): Promise<void> => {
    if (typeof what === 'object') handler.notify.resourceUpdated(what.uri);
    else handler.notify[`${what}Changed`]();
    return Promise.resolve();
  };
  const handler = createMcpHandler(() => serverOf(board, announce));
  const http = createServer(
    getRequestListener((request) => handler.fetch(request), { overrideGlobalObjects: false }),
  ).listen(port, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    version: installedVersion('@modelcontextprotocol/server'),
    board,
    announce,
    cut: () => http.closeAllConnections(),
    [Symbol.asyncDispose]: () => stopped(http),
  };
}

/** The program that serves on a pipe. */
export const sdk2Program = (): StockProgram => ({
  command: process.execPath,
  args: [fileURLToPath(import.meta.url)],
  version: installedVersion('@modelcontextprotocol/server'),
});

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const board = new Board();
  board.exit = () => process.exit(0);
  serveStdio(() => {
    const mcp: McpServer = serverOf(board, async (what) => {
      if (what === 'tools') mcp.sendToolListChanged();
      else if (what === 'prompts') mcp.sendPromptListChanged();
      else if (what === 'resources') mcp.sendResourceListChanged();
      else await mcp.server.sendResourceUpdated(what);
    });
    return mcp;
  });
}
