/** Sample subscriptions and writes for the contract. */
import type { GapReason, Subscription } from '../../protocol/core/types.ts';
import type { AcceptedEvent, Notice, Tombstone, Write } from '../../server/store/port.ts';
import { NOW } from './context.ts';

/** Returns a subscription without optional values. */
export function plain(name: string, changes: Partial<Subscription> = {}): Subscription {
  return {
    subscriptionId: `sub_${name}`,
    principal: 'alice',
    key: `key-${name}`,
    createdAt: NOW,
    select: [{ name: 'issue.opened', arguments: {} }],
    callback: null,
    ttlMs: null,
    paused: false,
    version: 1,
    retention: { maxAgeMs: 604_800_000, maxEvents: 10_000 },
    expiresAt: null,
    epoch: 'epoch-one',
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
    health: {
      attempts: 0,
      configFailures: 0,
      configFailingSince: null,
      transientSince: null,
      failingSince: null,
      lastError: null,
      lastDeliveryAt: null,
    },
    suspendedAt: null,
    probeAt: null,
    endsAt: null,
    terminated: null,
    ...changes,
  };
}

export const callback = (name: string) => ({
  url: `https://callback.example/${name}?token=hidden`,
  secret: `whsec_new-${name}`,
  previousSecret: `whsec_old-${name}`,
  previousUntil: NOW + 1,
  verifiedAt: NOW + 2,
  skipAfterMs: 3,
  limits: { maxEvents: 4, maxBytes: 2048, maxPerMinute: 5, lingerMs: 6 },
});

/** Returns a subscription with all optional values. Its numbers differ, so that a mix-up shows. */
export const full = (name: string): Subscription =>
  plain(name, {
    select: [
      {
        name: 'issue.opened',
        arguments: { labels: ['a', 'ü', '𝄞'], deep: { of: [1, null, true] } },
      },
      { name: 'build.done', arguments: {} },
    ],
    callback: callback(name),
    ttlMs: 3_600_000,
    paused: true,
    version: 7,
    retention: { maxAgeMs: 11, maxEvents: 12, maxBytes: 13 },
    dataRef: true,
    ...counters(100),
    terminated: { reason: 'revoked', at: NOW + 9 },
  });

/** Returns all counters, with distinct values that depend on `from`. */
export const counters = (from: number) => ({
  expiresAt: NOW + from,
  epoch: `epoch-${from}`,
  head: from + 1,
  acked: from + 2,
  sent: from + 3,
  floor: from + 4,
  oldestAt: NOW + from + 5,
  bytes: from + 6,
  attempt: {
    id: from + 6,
    after: from + 7,
    to: from + 8,
    events: from + 18,
    first: from + 9,
    leaseUntil: NOW + from + 10,
  },
  attempts: from + 11,
  retryAt: NOW + from + 12,
  batchLimit: from + 13,
  health: {
    attempts: from + 14,
    configFailures: from + 15,
    configFailingSince: NOW + from + 19,
    transientSince: NOW + from + 22,
    failingSince: NOW + from + 16,
    lastError: 'http_5xx' as const,
    lastDeliveryAt: NOW + from + 17,
  },
  suspendedAt: NOW + from + 19,
  probeAt: NOW + from + 20,
  endsAt: NOW + from + 21,
});

export const create = (
  row: number,
  state: Subscription,
  dueAt: number | null = null,
  createdOffset = 0,
): Write => ({ type: 'create', row, createdOffset, state, dueAt });

/** Returns the write of an event that was accepted `offset` milliseconds after the start. */
export const event = (
  offset: number,
  name = 'issue.opened',
  encoded: string | null = `{"eventId":"e${offset}","name":"${name}"}`,
  { scope = '', eventId = `e${offset}`, gap = null, audience = null }: Partial<AcceptedEvent> = {},
  data?: string,
): Write => ({
  type: 'event',
  event: {
    offset,
    scope,
    name,
    eventId,
    gap,
    audience,
    acceptedAt: NOW + offset,
    encoded,
    ...(data === undefined ? {} : { dataBytes: Buffer.byteLength(data) }),
  },
  ...(data === undefined ? {} : { data }),
});

export const entry = (
  row: number,
  sequence: number,
  offset: number,
  gap: GapReason | null = null,
): Write => ({ type: 'entry', row, entry: { sequence, offset, gap } });

/**
 * Returns the writes of events `from…to` and of their entries in the log of `row`, from number 1.
 */
export const filled = (row: number, from: number, to: number): Write[] =>
  Array.from({ length: to - from + 1 }, (_, at) => [
    event(from + at),
    entry(row, at + 1, from + at),
  ]).flat();

export const checkpoint = (offset: number, row = 0): Write => ({
  type: 'checkpoint',
  checkpoint: { offset, row },
});

export const tombstone = (state: Subscription, forgetAt = NOW + 1000): Tombstone => ({
  subscriptionId: state.subscriptionId,
  principal: state.principal,
  reason: 'expired',
  epoch: state.epoch,
  head: state.head,
  acked: state.acked,
  forgetAt,
});

/** Returns the notice of a subscription that has a callback. */
export function notice(state: Subscription, changes: Partial<Notice> = {}): Notice {
  const { subscriptionId, principal, key, select, epoch, head, acked, version, expiresAt } = state;
  const { url, secret, previousSecret, previousUntil } = callback(subscriptionId);
  return {
    state: { subscriptionId, principal, key, select, epoch, head, acked, version, expiresAt },
    callback: { url, secret, previousSecret, previousUntil, dialect: 'other.one' },
    reason: 'revoked',
    attempts: 0,
    dueAt: NOW,
    forgetAt: NOW + 1000,
    ...changes,
  };
}
