/** Decides which trigger types a caller sees and may follow (SEP: Isolation). */
import type { Selection as WireSelection } from '../../../spec-schema/draft/schema.ts';
import type { Selection } from '../../protocol/core/types.ts';
import { forbidden, notFound, type WireError } from '../../protocol/wire/errors.ts';
import type { Catalog } from './catalog.ts';
import type { Caller } from './verbs.ts';

/**
 * Decides whether a caller may follow a selection. Called by `subscribe` (also for a renewal),
 * `update`, `pull`, `stream` and `watch`; if there is no `Visible`, also by `list`, with empty
 * arguments.
 */
export type Authorize = (
  caller: Caller,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

/** Decides whether a caller's list of trigger types contains a type. */
export type Visible = (caller: Caller, name: string) => boolean | Promise<boolean>;

/**
 * Decides whether an owner may still follow a selection. Called in the background, and when
 * `authorize` denies a call on a subscription: without claims, since it is about the owner and not
 * about one of its tokens. If it says no, the subscription ends as `revoked`. `parseOwner` returns
 * the parts of `principal`.
 */
export type Reauthorize = (
  principal: string,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

export interface PermissionsOptions {
  readonly catalog: Catalog;
  /** Default: every authenticated caller may follow everything. */
  readonly authorize: Authorize | undefined;
  /** Default: the types that `authorize` permits without arguments. */
  readonly visible: Visible | undefined;
  /** Default: only requests are checked, and no permission ends a subscription. */
  readonly reauthorize: Reauthorize | undefined;
}

export class Permissions {
  readonly #catalog: Catalog;
  readonly #authorize: Authorize | undefined;
  readonly #visible: Visible | undefined;
  readonly #reauthorize: Reauthorize | undefined;

  constructor({ catalog, authorize, visible, reauthorize }: PermissionsOptions) {
    this.#catalog = catalog;
    this.#authorize = authorize;
    this.#visible = visible;
    this.#reauthorize = reauthorize;
  }

  /** Whether the list of trigger types is the same for all callers. */
  get sameForAll(): boolean {
    return this.#authorize === undefined && this.#visible === undefined;
  }

  /**
   * Resolves and checks the selections that a caller wants to follow. Rejects with `NotFound` for
   * an unknown type, `Forbidden` without permission, and `InvalidParams` for invalid arguments, in
   * this order.
   */
  async resolve(caller: Caller, wanted: readonly WireSelection[]): Promise<Selection[]> {
    const select = this.#catalog.find(wanted);
    if (this.#authorize !== undefined) {
      for (const selection of select) {
        if (!(await this.#authorize(caller, selection)))
          throw await this.#rejection(caller, selection.name);
      }
    }
    return this.#catalog.select(select);
  }

  /** Whether the caller's list of trigger types contains this one. */
  async isVisible(caller: Caller, name: string): Promise<boolean> {
    if (this.#visible !== undefined) return this.#visible(caller, name);
    return this.#authorize === undefined || this.#authorize(caller, { name, arguments: {} });
  }

  /**
   * Why the caller may not follow these selections: `Forbidden`, or `NotFound` for a type that its
   * list does not show. Null = it may follow all of them.
   */
  async rejectionOf(caller: Caller, select: readonly Selection[]): Promise<WireError | null> {
    if (this.#authorize === undefined) return null;
    for (const selection of select) {
      if (!(await this.#authorize(caller, selection)))
        return this.#rejection(caller, selection.name);
    }
    return null;
  }

  /** Whether the owner has lost the permission, and not only this request. */
  async isRevoked(principal: string, select: readonly Selection[]): Promise<boolean> {
    if (this.#reauthorize === undefined) return false;
    for (const selection of select)
      if (!(await this.#reauthorize(principal, selection))) return true;
    return false;
  }

  /** A caller must not learn of types that its list does not show. */
  async #rejection(caller: Caller, name: string): Promise<WireError> {
    return (await this.isVisible(caller, name))
      ? forbidden({ kind: 'permission' })
      : notFound({ kind: 'trigger' });
  }
}
