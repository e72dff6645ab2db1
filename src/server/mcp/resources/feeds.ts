/**
 * Feeds: logs as resources. A client names a log by its URI, reads it page by page, and watches it.
 * Reading is an ordinary pull of the log.
 */
import type {
  JsonObject,
  Position,
  Subscription,
  TriggerType,
} from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { invalidParams, notFound, WireError } from '../../../protocol/wire/errors.ts';
import { attached } from '../attached.ts';
import { implicitSubscription, implicitSubscriptionKey } from '../implicit-subscription.ts';
import type { ResolvedFeedOptions } from './options.ts';
import { pageText, readPage, type FeedPage, type FeedSubject } from './page.ts';
import { feedUri, parseFeedUri, readArguments, subscriptionUri } from './uri.ts';
import { VisibleTypes } from './visible-types.ts';
import { ListenerRegistry, Watch, type ChangeListener } from './watch.ts';

/** A resolved URI. URIs of the same log have the same `id`. */
export type Target =
  | {
      readonly kind: 'feed';
      readonly id: string;
      readonly type: TriggerType;
      readonly arguments: JsonObject;
      readonly after: Position | null;
    }
  | {
      readonly kind: 'subscription';
      readonly id: string;
      readonly subscriptionId: string;
      readonly after: Position | null;
    };

type Feed = Extract<Target, { kind: 'feed' }>;

/**
 * A page as the text of a resource, and the head of the log that the page reports.
 */
export interface ReadFeed {
  readonly text: string;
  readonly known: Position;
}

/** The feeds of one engine. */
export class Feeds {
  readonly types: VisibleTypes;
  readonly #engine: BindableEngine;
  readonly #listeners = new ListenerRegistry();

  constructor(engine: BindableEngine) {
    this.#engine = engine;
    this.types = new VisibleTypes(engine);
  }

  /**
   * Resolves a URI. Rejects with `InvalidParams` for `/uri`, and with `NotFound` for a trigger type
   * that this caller does not see.
   */
  async find(caller: Caller, uri: string): Promise<Target> {
    const parsed = parseFeedUri(uri);
    if (parsed.kind === 'subscription') return { ...parsed, id: parsed.subscriptionId };
    const { name, variables, after } = parsed;
    const type = (await this.types.of(caller)).get(name);
    if (type === undefined) throw notFound({ kind: 'trigger' });
    const args = readArguments(type, variables);
    return {
      kind: 'feed',
      id: implicitSubscriptionKey('feed', { name, arguments: args }),
      type,
      arguments: args,
      after,
    };
  }

  /**
   * Reads one page. Rejects with `InvalidParams` for `/uri`, with `NotFound` for a subscription
   * that is not this caller's, with `Forbidden`, and with `ResourceExhausted` when a new log would
   * exceed the quota.
   */
  async read(caller: Caller, target: Target, feedOptions: ResolvedFeedOptions): Promise<ReadFeed> {
    if (target.kind === 'feed') return this.#readFeed(caller, target, feedOptions);
    const { subscriptionId, after } = target;
    const { select } = await this.#subscription(caller, subscriptionId);
    const page = await readPage(this.#engine, caller, subscriptionId, after);
    return this.#render({ select }, page, subscriptionUri(subscriptionId, page.end));
  }

  async #readFeed(caller: Caller, feed: Feed, feedOptions: ResolvedFeedOptions): Promise<ReadFeed> {
    const read = async () =>
      readPage(
        this.#engine,
        caller,
        (await this.#implicitSubscription(caller, feed, feedOptions)).subscriptionId,
        feed.after,
      );
    const page = await read().catch((error: unknown) => {
      // The log ended after it was found; the second attempt creates a new one.
      if (error instanceof WireError && error.is('NotFound') && error.data.kind === 'subscription')
        return read();
      throw error;
    });
    const next =
      feedUri(feed.type, feed.arguments, page.end) ??
      subscriptionUri(page.subscriptionId, page.end);
    return this.#render({ trigger: feed.type.name, arguments: feed.arguments }, page, next);
  }

  #render(followed: FeedSubject, page: FeedPage, next: string): ReadFeed {
    const { subscriptionId, epoch, head } = page;
    this.#listeners.read(subscriptionId, head);
    return { text: pageText(followed, page, next), known: { epoch, sequence: head } };
  }

  /**
   * Notifies `listener` if anything is unread, and then of every change of the log until the watch
   * is closed. Events are unread after `seen`, or else after the target's own position, or else
   * after the acknowledged position. Creates the log of a feed if it does not exist, and renews it
   * while it is watched. Rejects as {@link read} does.
   */
  async watch(
    caller: Caller,
    target: Target,
    feedOptions: ResolvedFeedOptions,
    listener: ChangeListener,
    seen: Position | null = null,
  ): Promise<Watch> {
    const find = () =>
      target.kind === 'feed'
        ? this.#implicitSubscription(caller, target, feedOptions)
        : this.#subscription(caller, target.subscriptionId);
    return Watch.open(
      {
        engine: this.#engine,
        caller,
        find,
        implicit: target.kind === 'feed',
        seen: seen ?? target.after,
        listeners: this.#listeners,
        feedOptions,
      },
      listener,
    );
  }

  async #implicitSubscription(
    caller: Caller,
    { type: { name }, arguments: args }: Feed,
    { implicitTtlMs }: ResolvedFeedOptions,
  ): Promise<Subscription> {
    try {
      return (
        await implicitSubscription(
          this.#engine,
          caller,
          'feed',
          { name, arguments: args },
          implicitTtlMs,
          this.#engine.clock.now(),
        )
      ).subscription;
    } catch (error) {
      throw error instanceof WireError && error.is('InvalidParams') ? uriError(error) : error;
    }
  }

  async #subscription(caller: Caller, subscriptionId: string): Promise<Subscription> {
    // `notModified` is only returned for an `ifNoneMatch`.
    return (await this.#engine.get(caller, { subscriptionId })) as Subscription;
  }
}

/**
 * Converts an error about arguments of `triggers/subscribe` into an error about the URI that has
 * these arguments.
 */
function uriError({ data: { path, expected } }: WireError<'InvalidParams'>): WireError {
  const at = path.replace('/select/0/arguments', '');
  return invalidParams(
    '/uri',
    `arguments that fit the trigger type: ${at === '' ? '' : `at "${at}", `}${expected}`,
  );
}

/**
 * The feeds of an engine. All its servers and endpoints share them, because a read through one of
 * them counts for the watches of all.
 */
export const feedsOf = attached((engine: BindableEngine) => new Feeds(engine));
