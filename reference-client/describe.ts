/** Trigger types and subscriptions as people read them. */
import type { Subscription, TriggerType } from 'mcp-triggers-experimental';
import { cut, duration, printable, rows } from './text.ts';

export function describeTrigger(type: TriggerType, width: number): string {
  const properties = Object.keys((type.inputSchema['properties'] as object | undefined) ?? {});
  const text = rows([
    ['about', cut(printable(type.description), width - 14)],
    ['arguments', properties.length === 0 ? 'none' : cut(properties.join(', '), width - 14)],
    ['drains', type.drains.join(', ')],
    ['order', type.ordering === 'source' ? 'as the source has it' : 'as events arrive'],
    ['kept', `${duration(type.retention.maxAgeMs)}, at most ${type.retention.maxEvents} events`],
    [
      'history',
      type.history === undefined
        ? undefined
        : `--since up to ${duration(type.history.maxAgeMs)} back`,
    ],
  ]);
  return `${printable(type.name)}\n${text}`;
}

export function describeSubscription(subscription: Subscription): string {
  const {
    subscriptionId,
    key,
    status,
    epoch,
    head,
    acked,
    oldest,
    expiresAt,
    etag,
    onFailure,
    callback,
    select,
  } = subscription;
  const trouble =
    callback?.health.lastError === undefined
      ? 'healthy'
      : `${callback.health.lastError}, ${callback.health.attempts} failed attempts`;
  return `${subscriptionId}\n${rows([
    ['key', key],
    ['status', status],
    [
      'log',
      `epoch ${epoch}, head ${head}, acknowledged ${acked}, ${head - acked} waiting, oldest kept ${oldest}`,
    ],
    ['expires', expiresAt ?? 'never'],
    [
      'callback',
      callback === undefined ? 'none' : `${callback.origin}, ${trouble}, on failure ${onFailure}`,
    ],
    ['etag', etag],
    ...select.map(
      (one) => ['select', `${one.name} ${JSON.stringify(one.arguments ?? {})}`] as const,
    ),
  ])}`;
}
