/**
 * The state that this client keeps about an SDK transport. Several connections may share an SDK
 * client, and the SDK ties a session to its transport, so the state belongs to the transport, which
 * has no place for it.
 */
import type { Transport } from '@modelcontextprotocol/client';
import type { LocalError } from '../../protocol/wire/errors.ts';
import type { PendingRequests } from './pending-requests.ts';
import { HandshakeObserver } from './handshake-observer.ts';
import type { HttpGuard } from './http-guard.ts';
import type { ServerStream } from './server-stream.ts';

/** Called for a notification, whatever request it belongs to. Must not throw. */
export type NotificationListener = (method: string, params: unknown) => void;

/**
 * Called when messages that the server sends outside of requests may have been lost. Must not
 * throw.
 */
export type InterruptionListener = (error: LocalError) => void;

/** The hooks on a connected transport. Connections that share the transport share them. */
export interface WrappedTransport {
  readonly pendingRequests: PendingRequests;
  readonly listeners: Set<NotificationListener>;
  readonly interrupted: Set<InterruptionListener>;
}

export interface TransportState {
  readonly handshake: HandshakeObserver;
  /** Over HTTP, if this client made the transport. */
  readonly serverStream?: ServerStream;
  /** Over HTTP, if this client made the transport. */
  readonly guard?: HttpGuard;
  wrapped?: WrappedTransport;
}

const states = new WeakMap<Transport, TransportState>();

/** Undefined = {@link observeTransport} was not called. */
export const stateOf = (transport: Transport | undefined): TransportState | undefined =>
  transport && states.get(transport);

/** Observes the transport from now on. A second call returns the state of the first. */
export function observeTransport(
  transport: Transport,
  own: Pick<TransportState, 'serverStream' | 'guard'> = {},
): TransportState {
  const before = states.get(transport);
  if (before) return before;
  const state: TransportState = { ...own, handshake: HandshakeObserver.attach(transport) };
  states.set(transport, state);
  return state;
}
