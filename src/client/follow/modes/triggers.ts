/**
 * The mode `triggers`: one subscription of the extension for all selections. The subscription
 * recovers by itself wherever it can; every other error ends the run, and the follower decides
 * (SEP: Recovery by the client).
 */
import type { Selection } from '../../../../spec-schema/draft/schema.ts';
import { selectName } from '../../../protocol/wire/canonical.ts';
import { notFound } from '../../../protocol/wire/errors.ts';
import { TriggersApi } from '../../sdk/triggers-api.ts';
import type { Connection } from '../../sdk/connection.ts';
import { drainsToTry } from '../../subscription/drains.ts';
import type { Item, SubscriptionState } from '../../options.ts';
import { TriggersSubscription } from '../../subscription/subscription.ts';
import { AsyncQueue } from '../../../protocol/lib/queue.ts';
import { offeredTriggerNames } from '../catalog.ts';
import { totalOrder } from '../guarantee.ts';
import type { FollowOptions, Mode, ModeContext, ModeYield, Offer } from '../types.ts';

type Draining = Extract<SubscriptionState, { readonly phase: 'draining' }>;

/** The mode with its subscription, which the follower and the application can read. */
export interface TriggersMode extends Mode {
  /** The `key` of the subscription. */
  readonly key: string;
  /** Undefined while the mode is not in use. */
  readonly subscription: TriggersSubscription | undefined;
}

/**
 * Makes the mode for all of `select` in one log. `onState` is called at every change of the
 * subscription's state.
 */
export function triggersMode(
  select: readonly Selection[],
  options: FollowOptions,
  onState: (state: SubscriptionState) => void,
): TriggersMode {
  const { triggers = {}, callback, ledger, ack, tuning = {} } = options;
  const key = triggers.key ?? `follow.${selectName(select)}`;
  let subscription: TriggersSubscription | undefined;
  let last: TriggersSubscription | undefined;

  async function* run({ connection, signal, clock }: ModeContext): AsyncGenerator<ModeYield, void> {
    const inbox = new AsyncQueue<Draining | IteratorResult<Item, void>>();
    const mine = new TriggersSubscription(new TriggersApi(connection), {
      ...triggers,
      key,
      select,
      signal,
      ...(callback ? { callback } : {}),
      ...(ledger ? { ledger } : {}),
      ...(ack ? { ack } : {}),
      tuning: {
        clock,
        ...(tuning.backoff ? { backoff: tuning.backoff } : {}),
        ...(tuning.silenceMs === undefined ? {} : { silenceMs: tuning.silenceMs }),
      },
      onState: (state) => {
        if (state.phase === 'draining') inbox.push(state);
        onState(state);
      },
    });
    subscription = last = mine;
    try {
      await mine.ready();
      const items = mine[Symbol.asyncIterator]();
      const ask = (): void =>
        void items.next().then(
          (next) => inbox.push(next),
          (error: unknown) => inbox.fail(error),
        );
      ask();
      for await (const next of inbox) {
        if ('phase' in next) {
          const { drain, error } = next;
          yield {
            type: 'guarantee',
            guarantee: totalOrder(drain),
            ...(error === undefined ? {} : { error }),
          };
          continue;
        }
        if (next.done) return;
        yield yieldOf(next.value, mine.subscription!.subscriptionId);
        ask();
      }
    } finally {
      subscription = undefined;
      await mine.close().catch(() => undefined);
    }
  }

  return {
    name: 'triggers',
    key,
    get subscription() {
      return subscription;
    },
    async offer(connection: Connection, _target, signal: AbortSignal): Promise<Offer | null> {
      const { capability } = connection;
      const [drain] = capability
        ? drainsToTry(triggers.drain ?? 'auto', callback !== undefined, capability)
        : [];
      if (drain === undefined) return null;
      const offered = await offeredTriggerNames(connection, signal);
      if (!select.every(({ name }) => offered.has(name))) throw notFound({ kind: 'trigger' });
      return {
        guarantee: totalOrder(drain),
        acknowledgesItself: true,
        run,
        release: async () => last?.close({ unsubscribe: true }),
      };
    },
  };
}

function yieldOf(item: Item, subscriptionId: string): ModeYield {
  switch (item.type) {
    case 'event': {
      const { sequence, eventId, name, timestamp, acceptedAt, data, dataRef } = item.event;
      return {
        type: 'event',
        event: {
          eventId,
          name,
          timestamp,
          acceptedAt,
          data,
          ...(dataRef === undefined ? {} : { dataRef }),
        },
        number: { by: 'server', subscriptionId, epoch: item.position.epoch, sequence },
        done: () => item.ack(),
      };
    }
    case 'gap': {
      const { from, to, reason } = item.gap;
      return {
        type: 'gap',
        reason,
        numbers: { subscriptionId, epoch: item.position.epoch, from, to },
        done: () => item.ack(),
      };
    }
    case 'elsewhere': {
      const { from, to } = item;
      return {
        type: 'gap',
        reason: 'elsewhere',
        numbers: { subscriptionId, epoch: item.position.epoch, from, to },
        done: () => item.ack(),
      };
    }
    default:
      return { type: 'loss', item };
  }
}
