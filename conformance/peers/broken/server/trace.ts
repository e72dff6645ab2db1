/** Servers that lose or change the trace context of events. */
import { onDelivery, without, type Drain } from '../fault-builders.ts';
import type { BrokenServer, CallbackRequest, Fault, Json } from '../proxy.ts';

/** Changes `_meta` of every event that has one. */
const onMeta = (change: (meta: Json) => Json, on?: readonly Drain[]): Fault =>
  onDelivery(
    (one) => ({
      ...one,
      events: one.events.map((event: Json) =>
        event._meta === undefined ? event : { ...event, _meta: change(event._meta) },
      ),
    }),
    on,
  );

const onHeader = (change: (value: string, outgoing: CallbackRequest) => void): Fault => ({
  callback: (outgoing) => {
    const { traceparent } = outgoing.headers;
    if (traceparent !== undefined) change(traceparent, outgoing);
  },
});

export const trace: readonly BrokenServer[] = [
  ...(['pull', 'stream', 'callback'] as const).map((drain) => ({
    check: 'trace-kept',
    wrong: `omits the trace context on the drain ${drain}`,
    fault: onMeta((meta) => without(meta, 'traceparent', 'tracestate'), [drain]),
  })),
  {
    check: 'trace-kept',
    wrong: 'continues the trace with a span of its own',
    fault: onMeta((meta) => ({
      ...meta,
      traceparent: meta.traceparent?.replace(/-[0-9a-f]{16}-/, '-00f067aa0ba902b7-'),
    })),
  },
  {
    check: 'trace-kept',
    wrong: 'omits tracestate',
    fault: onMeta((meta) => without(meta, 'tracestate')),
  },
  {
    check: 'trace-header',
    wrong: 'sends no header',
    fault: onHeader((_, { headers }) => delete headers['traceparent']),
  },
  {
    check: 'trace-header',
    wrong: 'sends a traceparent of its own as header',
    fault: onHeader((value, { headers }) => {
      headers['traceparent'] = value.replace(/-[0-9a-f]{16}-/, '-00f067aa0ba902b7-');
    }),
  },
];
