/**
 * From looks to events: an event is a look that shows something else than the one before. What lies between two looks is not
 * known, and where the time between them was not spent watching, a gap says so (SEP: When a peer lacks the extension).
 */
import type { Clock } from '../../../../protocol/lib/clock.ts';
import type { FollowGuarantee, ModeName, ModeYield } from '../../types.ts';
import type { Observation } from './observation.ts';

/** The same for all three rungs: neither a doorbell nor a hash tells what happened in between. */
export const latestStateOnly = (mode: ModeName): FollowGuarantee => ({
  mode,
  order: 'observed',
  loss: 'latest state only',
  gaps: 'none',
  numbers: 'client',
});

export class Differences {
  readonly #name: string;
  readonly #clock: Clock;
  /** The hash of what was last seen. */
  #last: string | undefined;
  #begun = false;

  /** `mark`: the hash that an earlier run has left. */
  constructor(
    name: string,
    { mark, clock }: { readonly mark: string | undefined; readonly clock: Clock },
  ) {
    this.#name = name;
    this.#last = mark;
    this.#clock = clock;
  }

  /** Whether a look shows something new. */
  isNew({ hash }: Observation): boolean {
    return hash !== this.#last;
  }

  /** What a look says; each look is told once, in order. */
  *tell(observation: Observation): Generator<ModeYield> {
    const { hash, data } = observation;
    const before = this.#last;
    const resumed = !this.#begun && before !== undefined;
    const changed = this.isNew(observation);
    this.#begun = true;
    this.#last = hash;
    if (resumed) yield { type: 'gap', reason: 'unwatched' };
    if (!changed) return;
    // The first look of all is what everything else is compared with.
    if (before === undefined) yield { type: 'mark', mark: hash };
    else
      yield {
        type: 'event',
        event: {
          eventId: hash,
          name: this.#name,
          timestamp: new Date(this.#clock.now()).toISOString(),
          data,
        },
        mark: hash,
      };
  }
}
