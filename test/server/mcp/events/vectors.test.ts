/**
 * Runs the language-neutral vectors on the mapping to and from SEP-3415 against the binding and
 * against the client.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import vectors from '../../../../spec-schema/draft/vectors/events-mapping.json' with { type: 'json' };
import { endingError, eventsError } from '../../../../src/server/mcp/events/errors.ts';
import { occurrence } from '../../../../src/server/mcp/events/occurrence.ts';
import { PROFILES, type ProfileName } from '../../../../src/server/mcp/events/profiles.ts';
import { eventOf } from '../../../../src/client/follow/modes/events/messages.ts';
import type { TerminationReason } from '../../../../src/protocol/core/types.ts';
import {
  WireError,
  type WireErrorData,
  type WireErrorName,
} from '../../../../src/protocol/wire/errors.ts';
import type { TriggerEvent } from '../../../../src/protocol/wire/schema.ts';

interface Case {
  readonly id: number;
  readonly comment: string;
  readonly verdict: string;
  readonly profile?: ProfileName;
  readonly event?: TriggerEvent;
  readonly log?: { readonly subscriptionId: string; readonly epoch: string; readonly head: number };
  readonly reason?: TerminationReason;
  readonly name?: WireErrorName;
  readonly data?: unknown;
  readonly error?: object | null;
  readonly occurrence?: { readonly name: string };
  readonly number?: object | null;
}

/** Messages are free text: only the code and the data are compared. */
const withoutMessage = (
  error: { readonly code: number; readonly data?: unknown } | null,
): object | null => (error === null ? null : { code: error.code, data: error.data });

const READINGS: Readonly<Record<string, (one: Case) => void>> = {
  occurrence: ({ event, log, occurrence: expected }) =>
    assert.deepEqual(occurrence(event!, log!, 'here'), {
      ...(expected as object),
      cursor: 'here',
    }),
  termination: ({ reason, profile, error }) =>
    assert.deepEqual(withoutMessage(endingError(reason!, PROFILES[profile!])), error),
  error: ({ name, data, profile, error }) =>
    assert.deepEqual(
      withoutMessage(
        eventsError(new WireError(name!, data as WireErrorData[WireErrorName]), PROFILES[profile!]),
      ),
      error,
    ),
  back: ({ occurrence: given, number, verdict }) => {
    const read = (): unknown => {
      const { by, ...found } = eventOf(given, given!.name).number ?? { by: 'client' };
      return by === 'server' ? found : null;
    };
    // An invalid number is a violation by the server, not an absent number: it is rejected and
    // never shown.
    if (verdict === 'valid') assert.deepEqual(read(), number);
    else
      try {
        assert.equal(read(), null);
      } catch (error) {
        assert.equal((error as { readonly code?: unknown }).code, 'peer_misbehaved');
      }
  },
};

describe('vectors/events-mapping', () => {
  for (const one of vectors.cases as unknown as (Case & { readonly flags: readonly string[] })[]) {
    test(`${one.id}: ${one.comment}`, () => READINGS[one.flags[0]!]!(one));
  }
});
