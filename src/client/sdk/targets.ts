/** Where an MCP server is, and how to connect to it. */
import type { AuthProvider, Client, OAuthClientProvider } from '@modelcontextprotocol/client';
import type { Clock } from '../../protocol/lib/clock.ts';

/** An MCP endpoint over Streamable HTTP. */
export interface HttpTarget {
  readonly url: string | URL;
  /** Bearer token, or where to get the current one. */
  readonly token?: string | (() => string | Promise<string>);
  /** Instead of `token`: an OAuth provider of the SDK. */
  readonly authProvider?: AuthProvider | OAuthClientProvider;
  /** Further headers and options of every request. */
  readonly requestInit?: RequestInit;
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
}

/** An MCP server that is started as a child process. */
export interface StdioTarget {
  readonly command: string;
  readonly args?: readonly string[];
  /** Absent = what the SDK considers safe to inherit. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Where its standard error goes. Default `inherit`. */
  readonly stderr?: 'inherit' | 'ignore';
}

/** Where to connect to; a connected SDK client is used as it is and stays its owner's to close. */
export type Target = HttpTarget | StdioTarget | Client;

/** How to connect. */
export interface ConnectOptions {
  /** Default `auto`: 2026-07-28 if the server has it, else the handshake of 2025-11-25. */
  readonly protocol?: 'auto' | '2026-07-28' | '2025-11-25';
  /** How the client introduces itself. */
  readonly clientInfo?: { readonly name: string; readonly version: string };
  /**
   * Name of the server in ledgers and callback tokens: its resource URI. Default: the URL; on a pipe `stdio:` and the command
   * line. Say it when you hand over an SDK client and use a ledger or callbacks: by itself such a client knows only the name its
   * server gives itself.
   */
  readonly server?: string;
  /** How long connecting may take, and a call that says nothing else. Milliseconds; default 60,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
}
