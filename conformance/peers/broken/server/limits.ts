/** Servers that do not keep to the limits of a callback. */
import { delayed } from '../fault-builders.ts';
import type { BrokenServer, Fault, Json } from '../proxy.ts';

/** The server gets other limits than those that its answers show. */
const withLimits = (change: (limits: Json) => Json): Fault => ({
  request: ({ method, params, memory }) => {
    const { callback, key, subscriptionId } = params;
    if (callback?.limits === undefined || !/^triggers\/(subscribe|update)$/.test(method)) return;
    memory[`limits ${key ?? subscriptionId}`] = callback.limits;
    callback.limits = change(callback.limits);
  },
  result: (result, { memory }) => {
    const { key, subscriptionId } = result;
    const limits = memory[`limits ${subscriptionId}`] ?? memory[`limits ${key}`];
    return result.callback === undefined || limits === undefined
      ? result
      : { ...result, callback: { ...result.callback, limits } };
  },
});

export const limits: readonly BrokenServer[] = [
  ...(['maxEvents', 'maxBytes', 'maxPerMinute'] as const).map((member) => ({
    check: 'cb-limits',
    wrong: `ignores ${member}`,
    fault: withLimits((limits) => ({ ...limits, [member]: undefined })),
  })),
  {
    check: 'cb-limits',
    wrong: 'sends one event more than maxEvents',
    fault: withLimits((limits) => ({
      ...limits,
      maxEvents: limits.maxEvents && limits.maxEvents + 1,
    })),
  },
  {
    check: 'cb-limits',
    wrong: 'counts the events and not the body for maxBytes',
    fault: withLimits((limits) => ({
      ...limits,
      maxBytes: limits.maxBytes && limits.maxBytes + 600,
    })),
  },
  {
    check: 'cb-limits',
    wrong: 'does not count challenges',
    fault: withLimits((limits) => ({
      ...limits,
      maxPerMinute: limits.maxPerMinute && limits.maxPerMinute + 1,
    })),
  },
  {
    check: 'cb-limits',
    wrong: 'does not show the limits',
    fault: {
      result: (result) =>
        result.callback?.limits === undefined
          ? result
          : { ...result, callback: { ...result.callback, limits: undefined } },
    },
  },
  {
    check: 'cb-linger',
    wrong: 'ignores lingerMs',
    fault: withLimits((limits) => ({ ...limits, lingerMs: undefined })),
  },
  {
    check: 'cb-linger',
    wrong: 'waits although the batch is full',
    fault: {
      callback: ({ body }) => (body.params.events?.length === 3 ? delayed(undefined) : undefined),
    },
  },
];
