/** Trigger types and subscriptions as text for people. */
import type { Subscription, TriggerType } from 'mcp-triggers-experimental';
import { cut, duration, printable, rows } from './text.ts';

export function describeTrigger(type: TriggerType, width: number): string {
  const properties = Object.keys((type.inputSchema['properties'] as object | undefined) ?? {});
  const text = rows([
    ['about', cut(printable(type.description), width - 14)],
    ['arguments', properties.length === 0 ? 'none' : cut(properties.join(', '), width - 14)],
    ['drains', type.drains?.join(', ') ?? 'all that the server has'],
    ['order', type.ordering === 'source' ? 'the order of the source' : 'the order of arrival'],
    [
      'retention',
      `${duration(type.retention.maxAgeMs)}, at most ${type.retention.maxEvents} events`,
    ],
    [
      'history',
      type.history === undefined
        ? undefined
        : `${duration(type.history.maxAgeMs)} (see watch --since)`,
    ],
  ]);
  return `${printable(type.name)}\n${text}`;
}

/** The state of the callback as text; undefined = no callback. */
export function callbackState({
  callback,
  paused,
}: Pick<Subscription, 'callback' | 'paused'>): string | undefined {
  return callback && (paused ? `${callback.state}, paused` : callback.state);
}

export function describeSubscription(subscription: Subscription): string {
  const { subscriptionId, key, epoch, head, acked, oldest, expiresAt, etag, callback, select } =
    subscription;
  const stateText = callbackState(subscription);
  const health =
    callback?.health.lastError === undefined
      ? ''
      : `, ${callback.health.lastError}, ${callback.health.attempts} failed attempts`;
  const skipping =
    callback?.skipAfterMs === undefined
      ? ''
      : `, events are skipped after ${callback.skipAfterMs / 1000} s of failures`;
  return `${subscriptionId}\n${rows([
    ['key', key],
    [
      'log',
      `epoch ${epoch}, head ${head}, acknowledged ${acked}, ${head - acked} waiting, oldest ${oldest}`,
    ],
    ['expires', expiresAt ?? 'never'],
    [
      'callback',
      callback === undefined ? 'none' : `${callback.origin}, ${stateText}${health}${skipping}`,
    ],
    ['etag', etag],
    ...select.map(
      (one) => ['select', `${one.name} ${JSON.stringify(one.arguments ?? {})}`] as const,
    ),
  ])}`;
}
