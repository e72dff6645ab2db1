/** Trace context from the upstream to every drain (SEP: Trace context). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { NotApplicable } from '../../runner/observations.ts';
import { untilCarried } from '../../runner/server/coverage.ts';
import { scenario } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { arrived, upTo } from './following.ts';

/** A trace context of its own for every event. */
const traced = (): { readonly traceparent: string; readonly tracestate: string } => ({
  traceparent: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`,
  tracestate: `kit=${randomBytes(6).toString('hex')},vendor@sys=t61rcWkgMzE`,
});

/** The trace context of an event, without further members of `_meta`. */
const traceOf = ({ _meta }: Json): Json => ({
  traceparent: _meta?.traceparent,
  tracestate: _meta?.tracestate,
});

export const trace = [
  scenario({
    name: 'trace: events with trace context',
    about:
      'Every drain delivers the trace context of an event unchanged, and a callback request with one event has it as headers.',
    checks: ['trace-kept', 'trace-header'],
    needs: { options: ['trace'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const endpoint = t.offers('callback') ? await t.endpoint() : undefined;
      const subscription = await t.subscribe(
        endpoint === undefined ? {} : { callback: endpoint.callback },
      );
      const { subscriptionId, epoch } = subscription;
      const [topic, name] = [t.topicOf(subscription), t.control.type('plain')];
      const after = { epoch, sequence: 0 };
      const stream = t.offers('stream') ? await t.stream({ subscriptionId, after }) : undefined;
      const sent: Json[] = [];
      // One at a time, so that every request to the callback has one event.
      for (const n of upTo(1, 3)) {
        const _meta = n === 2 ? undefined : traced();
        sent.push(traceOf({ _meta }));
        await t.control.do('emit', {
          events: [{ name, data: { topic, n }, ...(_meta === undefined ? {} : { _meta }) }],
        });
        if (endpoint !== undefined) await arrived(t, endpoint, n);
      }
      if (stream !== undefined) await untilCarried(t, stream, 3);
      const pulled = await t.mcp.request('triggers/pull', { subscriptionId, after });
      const drains: readonly (readonly [drain: string, events: readonly Json[] | undefined])[] = [
        ['a pull', pulled.events],
        ['a stream', stream?.deliveries.flatMap(({ events }) => events)],
        ['a callback', endpoint?.events],
      ];
      for (const [drain, events] of drains)
        if (events !== undefined)
          await t.check(
            'trace-kept',
            `${drain} carries \`traceparent\` and \`tracestate\` unchanged, and none for an event without them`,
            () => {
              assert.deepEqual(
                events.map(({ sequence }) => sequence),
                upTo(1, 3),
                'sequence numbers:',
              );
              assert.deepEqual(events.map(traceOf), sent, '`_meta` of the events:');
            },
          );
      if (endpoint === undefined)
        throw new NotApplicable('The server does not offer the drain "callback".');
      await t.check(
        'trace-header',
        'a request with one event has its `traceparent` as header, and none for an event without it',
        () =>
          assert.deepEqual(
            endpoint.deliveries
              .filter(({ delivery }) => delivery.events.length === 1)
              .map(({ headers }) => headers['traceparent']),
            sent.map(({ traceparent }) => traceparent),
            'the header `traceparent` of each request:',
          ),
      );
    },
  }),
];
