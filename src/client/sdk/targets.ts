/** The targets and options of a connection. */
import type { AuthProvider, Client, OAuthClientProvider } from '@modelcontextprotocol/client';
import type { Clock } from '../../protocol/lib/clock.ts';

/** An MCP endpoint over Streamable HTTP. */
export interface HttpTarget {
  readonly url: string | URL;
  /** Bearer token, or a function that returns the current one. */
  readonly token?: string | (() => string | Promise<string>);
  /** Instead of `token`: an OAuth provider of the SDK. */
  readonly authProvider?: AuthProvider | OAuthClientProvider;
  /** Headers and options of every request. */
  readonly requestInit?: RequestInit;
  /** Makes the requests. Default: the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** An MCP server that runs as a child process. */
export interface StdioTarget {
  readonly command: string;
  readonly args?: readonly string[];
  /**
   * The environment of the process. Default: the variables that the SDK considers safe to inherit.
   */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Destination of its standard error. Default `inherit`. */
  readonly stderr?: 'inherit' | 'ignore';
}

/**
 * The target of a connection: an endpoint, a child process, or a connected SDK client. A connection
 * uses such a client as it is; its owner closes it.
 */
export type Target = HttpTarget | StdioTarget | Client;

/** Options of a connection. */
export interface ConnectOptions {
  /** Default `auto`: 2026-07-28 if the server has it, else the handshake of 2025-11-25. */
  readonly protocol?: 'auto' | '2026-07-28' | '2025-11-25';
  /** Name and version that the client sends to the server. */
  readonly clientInfo?: { readonly name: string; readonly version: string };
  /**
   * Name of the server in ledgers and callback tokens: its resource URI. Default: the URL; for a
   * child process `stdio:` and the command line. Set it for an SDK client with a ledger or
   * callbacks: such a client knows only the name that its server gives itself.
   */
  readonly server?: string;
  /**
   * Declares the option `dataRef`: in new subscriptions, events that are too large for a delivery
   * have a `dataRef` instead of `data`, which `TriggersClient.data` reads. Default: they are
   * `too_large` gaps. For an SDK client as target, its owner declares (SEP: Data by reference).
   */
  readonly dataRef?: boolean;
  /** Timeout of the connection, and of a call without its own. Milliseconds; default 60,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
}
