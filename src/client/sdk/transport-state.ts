/**
 * What this client keeps about an SDK transport. Several connections may share an SDK client, and the SDK makes the session on the
 * transport, so the state belongs to the transport; the SDK's object has no place for it. All of it stands here.
 */
import type { Transport } from '@modelcontextprotocol/client';
import type { LocalError } from '../../protocol/wire/errors.ts';
import type { PendingRequests } from './exchanges.ts';
import { HandshakeObserver } from './handshake-observer.ts';
import type { HttpGuard } from './http-guard.ts';
import type { ServerStream } from './server-stream.ts';

/** Told of a notification, whatever request it is tied to. Must not throw. */
export type NotificationListener = (method: string, params: unknown) => void;

/** Told that what the server sends outside of requests may have been lost, and why. Must not throw. */
export type InterruptionListener = (error: LocalError) => void;

/** The hooks on a connected transport, made once, however many connections share it. */
export interface WrappedTransport {
  readonly exchanges: PendingRequests;
  readonly listeners: Set<NotificationListener>;
  readonly interrupted: Set<InterruptionListener>;
}

export interface TransportState {
  /** What was heard of the server from here on. */
  readonly handshake: HandshakeObserver;
  /** The stream of its session, over HTTP where the transport is ours. */
  readonly serverStream?: ServerStream;
  /** Over HTTP where the transport is ours. */
  readonly guard?: HttpGuard;
  wrapped?: WrappedTransport;
}

const states = new WeakMap<Transport, TransportState>();

/** Undefined = {@link listenTo} was not called. */
export const stateOf = (transport: Transport | undefined): TransportState | undefined =>
  transport && states.get(transport);

/** Listens to what the server says of itself from now on. A second call returns the state of the first. */
export function listenTo(
  transport: Transport,
  own: Pick<TransportState, 'serverStream' | 'guard'> = {},
): TransportState {
  const before = states.get(transport);
  if (before) return before;
  const state: TransportState = { ...own, handshake: HandshakeObserver.on(transport) };
  states.set(transport, state);
  return state;
}
