/** The dialects of a server, by name. */
import type { Callback } from '../../protocol/core/types.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { CallbackDialect } from './dialect.ts';
import { nativeDialect } from './native-dialect.ts';
import type { Log } from '../engine/ports.ts';

/** The native dialect, and those of the engine's option `dialects`. */
export class Dialects {
  readonly #others: Readonly<Record<string, CallbackDialect>>;
  readonly #log: Log;
  readonly #missing = new Set<string>();

  constructor(others: Readonly<Record<string, CallbackDialect>>, log: Log) {
    this.#others = others;
    this.#log = log;
  }

  /**
   * The dialect of a callback. Throws `LocalError` `config_invalid` if the engine does not have it.
   */
  of({ dialect }: Pick<Callback, 'dialect'>): CallbackDialect {
    const found =
      dialect === undefined
        ? nativeDialect
        : Object.hasOwn(this.#others, dialect)
          ? this.#others[dialect]
          : undefined;
    if (found === undefined)
      throw new LocalError(
        'config_invalid',
        `The engine has no callback dialect "${dialect}". Pass it in the option "dialects".`,
      );
    return found;
  }

  /**
   * Whether the engine has the dialect of a callback. Callbacks in a missing dialect wait until the
   * engine starts with it. Logs each missing dialect once.
   */
  speaks({ dialect }: Pick<Callback, 'dialect'>): boolean {
    if (dialect === undefined || Object.hasOwn(this.#others, dialect)) return true;
    if (!this.#missing.has(dialect))
      this.#log.error(
        { dialect },
        'dialect missing; its callbacks wait until the engine starts with it',
      );
    this.#missing.add(dialect);
    return false;
  }
}
