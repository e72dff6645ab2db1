/**
 * Feeds: logs as resources that a client finds by their URI, reads page by page and watches. This is the one place that knows which log a URI
 * means for whom; reading is an ordinary pull, watching an ordinary wait for news.
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
import { pageText, readPage, type FeedPage, type Followed } from './page.ts';
import { feedUri, parseFeedUri, readArguments, subscriptionUri } from './uri.ts';
import { VisibleTypes } from './visible-types.ts';
import { ListenerRegistry, Watch, type ChangeListener } from './watch.ts';

/** What a URI means for a caller. `id` is the same for every URI that means the same log. */
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

/** A page as the text of a resource, and the position up to which its reader now knows what there is. */
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

  /** Rejects with `InvalidParams` for `/uri`, and with `NotFound` for a trigger type that this caller does not see. */
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
   * One page. Rejects with `InvalidParams` for `/uri`, with `NotFound` for a subscription that is not this caller's, with
   * `Forbidden`, and with `ResourceExhausted` when a new log would be one too many.
   */
  async read(caller: Caller, target: Target, feedOptions: ResolvedFeedOptions): Promise<ReadFeed> {
    if (target.kind === 'feed') return this.#readFeed(caller, target, feedOptions);
    const { subscriptionId, after } = target;
    const { select } = await this.#subscription(caller, subscriptionId);
    const page = await readPage(this.#engine, caller, subscriptionId, after);
    return this.#told({ select }, page, subscriptionUri(subscriptionId, page.end));
  }

  async #readFeed(caller: Caller, feed: Feed, feedOptions: ResolvedFeedOptions): Promise<ReadFeed> {
    const read = async () =>
      readPage(
        this.#engine,
        caller,
        (await this.#leased(caller, feed, feedOptions)).subscriptionId,
        feed.after,
      );
    const page = await read().catch((error: unknown) => {
      // It ended in between: what there is now is another log.
      if (error instanceof WireError && error.is('NotFound') && error.data.kind === 'subscription')
        return read();
      throw error;
    });
    const next =
      feedUri(feed.type, feed.arguments, page.end) ??
      subscriptionUri(page.subscriptionId, page.end);
    return this.#told({ trigger: feed.type.name, arguments: feed.arguments }, page, next);
  }

  #told(followed: Followed, page: FeedPage, next: string): ReadFeed {
    const { subscriptionId, epoch, head } = page;
    this.#listeners.read(subscriptionId, head);
    return { text: pageText(followed, page, next), known: { epoch, sequence: head } };
  }

  /**
   * Rings at `door` for what is unread, and from then on whenever the log has news, until the watch is closed. Unread is what is after `seen`, or after the
   * target's own position, or not acknowledged. Makes the log of a feed if there is none, and keeps it for as long as it is watched. Rejects as
   * {@link read} does.
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
        ? this.#leased(caller, target, feedOptions)
        : this.#subscription(caller, target.subscriptionId);
    return Watch.open(
      {
        engine: this.#engine,
        caller,
        find,
        leased: target.kind === 'feed',
        seen: seen ?? target.after,
        listeners: this.#listeners,
        options: feedOptions,
      },
      listener,
    );
  }

  async #leased(
    caller: Caller,
    { type: { name }, arguments: args }: Feed,
    { leaseMs }: ResolvedFeedOptions,
  ): Promise<Subscription> {
    try {
      return (
        await implicitSubscription(
          this.#engine,
          caller,
          'feed',
          { name, arguments: args },
          leaseMs,
          this.#engine.clock.now(),
        )
      ).subscription;
    } catch (error) {
      throw error instanceof WireError && error.is('InvalidParams') ? inUri(error) : error;
    }
  }

  async #subscription(caller: Caller, subscriptionId: string): Promise<Subscription> {
    // The short answer is only given for an `ifNoneMatch`.
    return (await this.#engine.get(caller, { subscriptionId })) as Subscription;
  }
}

/** What was wrong with a subscription's arguments, as it reads for whoever wrote them into a URI. */
function inUri({ data: { path, expected } }: WireError<'InvalidParams'>): WireError {
  const at = path.replace('/select/0/arguments', '');
  return invalidParams(
    '/uri',
    `arguments that fit the trigger type: ${at === '' ? '' : `at "${at}", `}${expected}`,
  );
}

/** One for each engine, however many servers and endpoints it is attached to: whoever reads answers the doorbells of all. */
export const feedsOf = attached((engine: BindableEngine) => new Feeds(engine));
