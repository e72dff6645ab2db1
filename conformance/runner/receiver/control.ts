/**
 * The control interface of a receiver: how it lets the kit make registrations and look at what it has applied. Optional, verb by verb, as a server's is;
 * `docs/conformance.md` describes it for implementers.
 */
import { NotShown } from '../looks.ts';
import type { Json } from '../wire/session.ts';

/** A subscription as its receiver knows it: the MCP server's resource URI and the `key`. */
export interface Who {
  readonly audience: string;
  readonly key: string;
}

/** What can be asked for. */
export interface ReceiverVerbs {
  /** Makes a key known, with the server's key set if there is one. Answers `{ url, secret }`. SEP-3415: `subscriptionId` is what the server will have answered. */
  readonly register: Who & { readonly jwksUri?: string; readonly subscriptionId?: string };
  /** Answers `{ items }`: what was handed to the application, in order, as a client prints it. */
  readonly applied: Who;
  /** The process dies without a warning and is started again; answered when it serves. */
  readonly restart: object;
  /** The key is forgotten: the subscription is unknown from now on. */
  readonly forget: Who;
  /** Answers `{ token }`: a compact JWS with this header and these claims, signed with the key for callback URLs whatever they say. */
  readonly mint: { readonly header: object; readonly claims: object };
}
export type ReceiverVerb = keyof ReceiverVerbs;

/** The control interface of the receiver under test, or its absence. */
export class ReceiverControl {
  readonly #url: string | undefined;
  readonly #verbs: ReadonlySet<string>;

  private constructor(url: string | undefined, verbs: readonly string[]) {
    this.#url = url;
    this.#verbs = new Set(verbs);
  }

  static readonly none = new ReceiverControl(undefined, []);

  /** Asks what is offered. Throws when the URL does not answer as it should. */
  static async at(url: string): Promise<ReceiverControl> {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000) }).catch(
      () => undefined,
    );
    const offer =
      response?.ok === true
        ? ((await response.json().catch(() => undefined)) as
            { readonly verbs?: readonly string[] } | undefined)
        : undefined;
    if (!Array.isArray(offer?.verbs))
      throw new Error(
        `The control interface does not answer with its verbs${response === undefined ? '' : `; it answers HTTP ${response.status}`}.`,
      );
    return new ReceiverControl(url, offer.verbs);
  }

  has(verb: ReceiverVerb): boolean {
    return this.#verbs.has(verb);
  }

  /** Throws `NotShown` when a verb is not offered. */
  require(...verbs: readonly ReceiverVerb[]): void {
    for (const verb of verbs)
      if (!this.has(verb)) throw new NotShown(`needs the control verb "${verb}"`);
  }

  /** Does it. Throws `NotShown` when it is not offered, `Error` when it fails. */
  async do<V extends ReceiverVerb>(verb: V, params: ReceiverVerbs[V]): Promise<Json> {
    this.require(verb);
    const response = await fetch(this.#url!, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ do: verb, ...params }),
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok)
      throw new Error(
        `The control interface could not "${verb}": HTTP ${response.status} ${(await response.text()).slice(0, 200)}`,
      );
    return response.json();
  }
}
