/**
 * The control interface of a receiver, through which the kit makes registrations and reads the
 * applied items. Each verb is optional. `docs/conformance.md` describes it for implementers.
 */
import { callVerb, offerAt } from '../control-call.ts';
import { NotShown } from '../observations.ts';
import type { Json } from '../wire/session.ts';

/**
 * Identity of a subscription at its receiver: the MCP server's resource URI, which its signatures have as
 * `iss`, and the `key`.
 */
export interface RegistrationKey {
  readonly audience: string;
  readonly key: string;
}

/** The verbs with their members. */
export interface ReceiverVerbs {
  /**
   * Registers a key, and the address of the server's key set if it has one. Returns `{ url, secret }`. For SEP-3415, `subscriptionId` is the id that the server returns.
   */
  readonly register: RegistrationKey & {
    readonly jwksUri?: string;
    readonly subscriptionId?: string;
  };
  /** Makes a new secret for the key, as for `triggers/update`. Returns `{ secret }`. */
  readonly rotate: RegistrationKey;
  /**
   * Returns `{ items }`: what the receiver handed to its application, in order, in the format that
   * a client prints.
   */
  readonly applied: RegistrationKey;
  /** Kills the process without warning and starts it again; returns when it serves. */
  readonly restart: object;
  /** Removes the key: the subscription is unknown from now on. */
  readonly forget: RegistrationKey;
  /**
   * Returns `{ token }`: a compact JWS with this header and these claims, signed with the key that
   * signs callback URLs.
   */
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

  /** Reads the offer. Throws unless the URL returns a list of verbs. */
  static async at(url: string): Promise<ReceiverControl> {
    const offer: Json = await offerAt(url, 'Receiver');
    return new ReceiverControl(url, offer.verbs);
  }

  has(verb: ReceiverVerb): boolean {
    return this.#verbs.has(verb);
  }

  /** Throws `NotShown` when a verb is missing. */
  require(...verbs: readonly ReceiverVerb[]): void {
    for (const verb of verbs)
      if (!this.has(verb))
        throw new NotShown(`The control interface does not offer the verb "${verb}".`);
  }

  /** Runs a verb. Throws `NotShown` when the verb is missing, `Error` when it fails. */
  async do<V extends ReceiverVerb>(verb: V, params: ReceiverVerbs[V]): Promise<Json> {
    this.require(verb);
    return callVerb(this.#url!, 'Receiver', verb, params, 30_000);
  }
}
