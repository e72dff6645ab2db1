/**
 * The only function that changes a subscription: `step(subscription, input, now)`. The engine, the
 * simulation, the property tests and the exhaustive explorer all call it.
 */
import { UNBOUNDED, type Bounds } from './policy.ts';
import { expired, HEALTHY, refuse, unchanged } from './state.ts';
import { answer, claim, verified } from './step-callback.ts';
import { configure, recover, terminate, tick } from './step-lifetime.ts';
import { bounded } from './suspension.ts';
import { ack, append, drain, rotate, trim } from './step-log.ts';
import type { Callback, Input, Retention, Selection, Step, Subscription } from './types.ts';

/** The initial values of a subscription. The callback, if any, has proved its consent. */
export interface Seed {
  readonly subscriptionId: string;
  readonly principal: string;
  readonly key: string;
  readonly select: readonly Selection[];
  readonly callback: Callback | null;
  /** The granted lifetime; null = no expiry. */
  readonly ttlMs: number | null;
  readonly retention: Retention;
  readonly epoch: string;
  /** See {@link Subscription.dataRef}. */
  readonly dataRef?: true;
}

/** Returns a new subscription with an empty log. */
export function create(seed: Seed, now: number): Subscription {
  return {
    ...seed,
    createdAt: now,
    expiresAt: seed.ttlMs === null ? null : now + seed.ttlMs,
    paused: false,
    version: 1,
    head: 0,
    acked: 0,
    sent: 0,
    floor: 0,
    oldestAt: null,
    bytes: 0,
    attempt: null,
    attempts: 0,
    retryAt: null,
    batchLimit: null,
    health: HEALTHY,
    suspendedAt: null,
    probeAt: null,
    endsAt: null,
    terminated: null,
  };
}

type Handlers = {
  readonly [T in Input['type']]: (
    subscription: Subscription,
    input: Extract<Input, { type: T }>,
    now: number,
  ) => Step;
};

const HANDLERS: Handlers = {
  append,
  trim,
  ack,
  read: unchanged,
  drain,
  rotate,
  claim,
  answer,
  verified,
  configure,
  tick,
  recover,
  terminate,
};

/** Inputs that are rejected after expiry, even before the `tick` that ends the subscription. */
const NEEDS_GRANT: ReadonlySet<Input['type']> = new Set([
  'ack',
  'read',
  'drain',
  'claim',
  'verified',
  'configure',
]);

/**
 * Returns the subscription after `input`, and the effects to perform, in order. The subscription is
 * the identical object if the input was rejected or changed nothing. Throws `InvariantError` for
 * values that no correct caller passes.
 */
export function step(
  subscription: Subscription,
  input: Input,
  now: number,
  bounds: Bounds = UNBOUNDED,
): Step {
  if (subscription.terminated !== null) return refuse(subscription, 'terminated');
  if (NEEDS_GRANT.has(input.type) && expired(subscription, now))
    return refuse(subscription, 'terminated');
  const handler = HANDLERS[input.type] as (
    subscription: Subscription,
    input: Input,
    now: number,
  ) => Step;
  return bounded(handler(subscription, input, now), input.type, now, bounds);
}
