/**
 * Sessions of 2025-11-25 clients: binds each session to its principal and ends idle ones. The SDK
 * does neither, and most clients never end their sessions.
 */
import { randomUUID } from 'node:crypto';
import {
  isInitializeRequest,
  WebStandardStreamableHTTPServerTransport,
  type AuthInfo,
  type McpServer,
} from '@modelcontextprotocol/server';
import { WireError, type LocalError } from 'mcp-triggers-experimental';
import { exhausted, sessionNotFound, sessionRequired } from './error-responses.ts';

/** An authenticated request of a 2025-11-25 client, with its parsed body. */
export interface SessionRequest {
  readonly request: Request;
  /** Undefined for GET and DELETE. */
  readonly body: unknown;
  readonly principal: string;
  readonly authInfo: AuthInfo;
  /** Registers a function to run when the response is complete or its connection closed. */
  readonly onResponseEnd: (run: () => void) => void;
}

export interface SessionsOptions {
  readonly build: () => McpServer;
  readonly max: number;
  readonly idleMs: number;
  readonly now: () => number;
  readonly onError: (error: Error | LocalError) => void;
}

interface Session {
  readonly id: string;
  readonly principal: string;
  readonly mcp: McpServer;
  readonly transport: WebStandardStreamableHTTPServerTransport;
  /** The number of open responses. A session with one is in use, however old its last request is. */
  open: number;
  /** When the last request began or ended, in epoch milliseconds. */
  usedAt: number;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * The share of all sessions that one principal may hold, so that no principal can lock the others
 * out.
 */
const SHARE = 0.1;

export class Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #options: SessionsOptions;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  async handle(incoming: SessionRequest): Promise<Response> {
    const id = incoming.request.headers.get('mcp-session-id');
    if (id === null)
      return isInitializeRequest(incoming.body) ? this.#begin(incoming) : sessionRequired();
    const session = this.#sessions.get(id);
    if (!session || session.principal !== incoming.principal) return sessionNotFound();
    return this.#serve(session, incoming);
  }

  async #begin(incoming: SessionRequest): Promise<Response> {
    const max = this.#makeRoom(incoming.principal);
    if (max !== null) {
      const error = new WireError('ResourceExhausted', { limit: 'sessions', max });
      return exhausted(503, error.toErrorObject(), (incoming.body as { id?: unknown }).id);
    }
    const id = randomUUID();
    const mcp = this.#options.build();
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => id,
      onsessionclosed: () => void this.#sessions.delete(id),
    });
    const session: Session = {
      id,
      principal: incoming.principal,
      mcp,
      transport,
      open: 0,
      usedAt: this.#options.now(),
    };
    await mcp.connect(transport);
    mcp.server.onerror = this.#options.onError;
    // Stored before the response names the session, so that the client's next request finds it.
    this.#sessions.set(id, session);
    const response = await this.#serve(session, incoming);
    if (!response.ok) await this.#end(session);
    return response;
  }

  async #serve(session: Session, incoming: SessionRequest): Promise<Response> {
    session.open += 1;
    session.usedAt = this.#options.now();
    incoming.onResponseEnd(() => {
      session.open -= 1;
      session.usedAt = this.#options.now();
    });
    if (incoming.request.method === 'GET') endWithAuthorization(session, incoming);
    return session.transport.handleRequest(incoming.request, {
      authInfo: incoming.authInfo,
      ...(incoming.body === undefined ? {} : { parsedBody: incoming.body }),
    });
  }

  /**
   * Returns null if there is room for one more session, after ending an unused one of the same
   * principal if necessary. Otherwise returns the limit that was reached.
   */
  #makeRoom(principal: string): number | null {
    const share = Math.max(1, Math.floor(this.#options.max * SHARE));
    const own = [...this.#sessions.values()].filter((session) => session.principal === principal);
    const full = this.#sessions.size >= this.#options.max;
    if (!full && own.length < share) return null;
    const unused = own
      .filter((session) => session.open === 0)
      .toSorted((a, b) => a.usedAt - b.usedAt)[0];
    if (!unused) return full ? this.#options.max : share;
    this.#end(unused).catch(this.#options.onError);
    return null;
  }

  /** Ends the sessions that have been unused for `idleMs`. Call it at intervals. */
  async reap(): Promise<void> {
    const before = this.#options.now() - this.#options.idleMs;
    const idle = [...this.#sessions.values()].filter(
      (session) => session.open === 0 && session.usedAt <= before,
    );
    await Promise.all(idle.map((session) => this.#end(session)));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => this.#end(session)));
  }

  async #end(session: Session): Promise<void> {
    this.#sessions.delete(session.id);
    await session.mcp.close();
  }
}

/**
 * Ends the session's notification stream when the authorization of its request expires. The client
 * can open another one.
 */
function endWithAuthorization(
  { transport }: Session,
  { authInfo: { expiresAt }, onResponseEnd }: SessionRequest,
): void {
  if (expiresAt === undefined) return;
  const leftMs = Math.min(Math.max(0, expiresAt * 1000 - Date.now()), LONGEST_TIMER_MS);
  const timer = setTimeout(() => transport.closeStandaloneSSEStream(), leftMs).unref();
  onResponseEnd(() => clearTimeout(timer));
}
