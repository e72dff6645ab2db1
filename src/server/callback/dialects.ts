/** The dialects that a server speaks: this protocol's own and those of its bindings. */
import type { Callback } from '../../protocol/core/types.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { CallbackDialect } from './dialect.ts';
import { nativeDialect } from './native-dialect.ts';
import type { Log } from '../engine/ports.ts';

/** The dialects that a server speaks. */
export class Dialects {
  readonly #foreign: Readonly<Record<string, CallbackDialect>>;
  readonly #log: Log;
  readonly #missed = new Set<string>();

  constructor(foreign: Readonly<Record<string, CallbackDialect>>, log: Log) {
    this.#foreign = foreign;
    this.#log = log;
  }

  /** Throws `LocalError` `config_invalid` for a dialect that the engine was not given. */
  of({ dialect }: Pick<Callback, 'dialect'>): CallbackDialect {
    const found =
      dialect === undefined
        ? nativeDialect
        : Object.hasOwn(this.#foreign, dialect)
          ? this.#foreign[dialect]
          : undefined;
    if (found === undefined)
      throw new LocalError(
        'config_invalid',
        `The engine was not given the callback dialect "${dialect}": name it in its option dialects.`,
      );
    return found;
  }

  /** Whether it is spoken. A callback in another one waits until a server is started that does; that is logged once for each. */
  speaks({ dialect }: Pick<Callback, 'dialect'>): boolean {
    if (dialect === undefined || Object.hasOwn(this.#foreign, dialect)) return true;
    if (!this.#missed.has(dialect))
      this.#log.error({ dialect }, 'callbacks wait: the engine was not given their dialect');
    this.#missed.add(dialect);
    return false;
  }
}
