/** What every source of events looks like to the server: the types it declares, and how it is switched on and off. */
import type { Accepted, DeclaredTrigger, NewEvent } from 'mcp-triggers-experimental/server';

/** Hands an event in; resolves once it is durable. Only then may the upstream be told that it was accepted. */
export type Emit = (event: NewEvent) => Promise<Accepted>;

/** A place where events come from. */
export interface Source {
  readonly triggers: readonly DeclaredTrigger[];
  start(emit: Emit): Promise<void> | void;
  stop(): Promise<void> | void;
}
