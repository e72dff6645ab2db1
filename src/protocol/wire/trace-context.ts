/** W3C trace context: the form of `traceparent` and `tracestate` (SEP: Trace context). */

/** The trace context of an event, as `_meta` of the event has it. */
export interface TraceContext {
  /** The header of that name in W3C Trace Context, version 00 or a later one. */
  readonly traceparent?: string;
  /** The header of that name, at most 512 characters. Counts only with a valid `traceparent`. */
  readonly tracestate?: string;
}

const TRACEPARENT = 'traceparent';
const TRACESTATE = 'tracestate';

/** Most characters of either value. */
const CHARS_MAX = 512;
/** Most members of a `tracestate`. */
const MEMBERS_MAX = 32;

/** The fields of every version; only a version after 00 can have more of them. */
const PARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?$/;
const MEMBER = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;

/**
 * The valid part of a trace context, unchanged, and the names of the members that are not valid. A
 * `tracestate` without a valid `traceparent` is not valid.
 */
export function readTraceContext({ traceparent, tracestate }: TraceContext): {
  readonly context: TraceContext;
  readonly invalid: readonly string[];
} {
  const isTraced = isTraceparent(traceparent);
  const hasState = isTraced && isTracestate(tracestate);
  return {
    context: { ...(isTraced ? { traceparent } : {}), ...(hasState ? { tracestate } : {}) },
    invalid: [
      ...(traceparent === undefined || isTraced ? [] : [TRACEPARENT]),
      ...(tracestate === undefined || hasState ? [] : [TRACESTATE]),
    ],
  };
}

function isTraceparent(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > CHARS_MAX) return false;
  const [, version, more] = PARENT.exec(value) ?? [];
  return version !== undefined && (version !== '00' || more === undefined);
}

function isTracestate(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > CHARS_MAX) return false;
  // Empty members between commas are allowed, and a header can be folded with tabs.
  const members = value
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  return (
    members.length > 0 &&
    members.length <= MEMBERS_MAX &&
    members.every((member) => MEMBER.test(member))
  );
}

/**
 * The headers of a callback request that carries this event alone: its trace context, checked as on
 * `emit` because a store can be older than the check. `encoded` is the JSON of the event.
 */
export function traceHeaders(encoded: string): Readonly<Record<string, string>> {
  // Few events are traced, and parsing costs more than a search.
  if (!encoded.includes(`"${TRACEPARENT}"`)) return {};
  const { _meta } = JSON.parse(encoded) as { readonly _meta?: TraceContext };
  return { ...readTraceContext(_meta ?? {}).context };
}
