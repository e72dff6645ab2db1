/**
 * The state that this client keeps about an SDK transport. It belongs to the transport, because
 * several connections may share an SDK client, and the SDK ties a session to its transport. A
 * transport has no place for it, so a WeakMap keeps it.
 */
import type { Transport } from '@modelcontextprotocol/client';
import type { LocalError } from '../../protocol/wire/errors.ts';
import { PendingRequests } from './pending-requests.ts';
import { HandshakeObserver } from './handshake-observer.ts';
import type { HttpGuard } from './http-guard.ts';
import { unreachable } from './peer-error.ts';
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

/** The state of a transport; undefined = {@link observeTransport} was not called. */
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

/** Wraps a connected transport. */
export function wrapTransport(transport: Transport): WrappedTransport {
  // The handshake of an SDK client that was passed in is over. The observer sees the next one,
  // after `refresh`.
  const state = observeTransport(transport);
  const listeners = new Set<NotificationListener>();
  const interrupted = new Set<InterruptionListener>();
  const interrupt = (error: LocalError): void => {
    for (const listener of [...interrupted]) listener(error);
  };
  const onclose = transport.onclose;
  transport.onclose = () => {
    interrupt(unreachable('the connection was closed'));
    onclose?.();
  };
  state.serverStream?.onLost(() => interrupt(unreachable('the stream of the session broke')));
  const pendingRequests = new PendingRequests(transport, (method, params) => {
    for (const listener of listeners) listener(method, params);
  });
  state.guard?.onTooLarge((id, error) => pendingRequests.fail(id, error));
  return (state.wrapped = { listeners, interrupted, pendingRequests });
}
