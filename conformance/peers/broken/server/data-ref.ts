/** Servers that break the rules of data by reference. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';
import { onDelivery, without } from '../fault-builders.ts';

const EXTENSION = 'io.modelcontextprotocol/triggers';
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
const isRead = ({ method }: ProxiedRequest): boolean => method === 'resources/read';

/** Changes each event of every delivery. */
const events = (change: (event: Json) => Json): BrokenServer['fault'] =>
  onDelivery((delivery) => ({ ...delivery, events: delivery.events.map(change) }));
/** Changes the content of every resource. */
const content = (change: (content: Json) => Json): BrokenServer['fault'] => ({
  result: (result, proxied) =>
    isRead(proxied) ? { ...result, contents: result.contents.map(change) } : result,
});
/** Sends the token of the first client in place of a later client's. */
const asFirst = ({ headers, memory }: ProxiedRequest): void => {
  memory['first'] ??= headers['authorization'];
};
const isForeign = ({ headers, memory }: ProxiedRequest): boolean =>
  memory['first'] !== undefined && headers['authorization'] !== memory['first'];
const WITH_OPTION = { [EXTENSION]: { options: ['dataRef'] } };

export const dataRef: readonly BrokenServer[] = [
  {
    check: 'ref-event',
    wrong: 'sends the data and a reference',
    fault: events((event) => (event.dataRef === undefined ? event : { ...event, data: {} })),
  },
  {
    check: 'ref-event',
    wrong: 'sends references to small data',
    fault: events((event) =>
      event.data === undefined
        ? event
        : { ...without(event, 'data'), dataRef: { uri: 'small:1', bytes: 1 } },
    ),
  },
  {
    check: 'ref-event',
    wrong: 'makes large events a gap in every log',
    fault: onDelivery((delivery) => {
      const large = delivery.events.filter(({ dataRef: ref }: Json) => ref !== undefined);
      const gaps = large.map(({ sequence }: Json) => ({
        from: sequence,
        to: sequence,
        reason: 'too_large',
      }));
      return gaps.length === 0
        ? delivery
        : {
            ...delivery,
            events: delivery.events.filter((event: Json) => !large.includes(event)),
            gaps: [...(delivery.gaps ?? []), ...gaps],
          };
    }),
  },
  {
    check: 'ref-read',
    wrong: 'announces a wrong size',
    fault: events((event) =>
      event.dataRef === undefined
        ? event
        : { ...event, dataRef: { ...event.dataRef, bytes: event.dataRef.bytes + 1 } },
    ),
  },
  {
    check: 'ref-read',
    wrong: 'counts characters instead of bytes',
    fault: events((event) =>
      event.dataRef === undefined
        ? event
        : { ...event, dataRef: { ...event.dataRef, bytes: 144_100 } },
    ),
  },
  {
    check: 'ref-read',
    wrong: 'returns the whole event',
    fault: content((one) => ({ ...one, text: `{"data":${one.text}}` })),
  },
  {
    check: 'ref-read',
    wrong: 'returns the data as plain text',
    fault: content((one) => ({ ...one, mimeType: 'text/plain' })),
  },
  {
    check: 'ref-owner',
    wrong: 'lets everybody read who knows the URI',
    fault: {
      request: (proxied) => {
        asFirst(proxied);
        if (isRead(proxied)) proxied.headers['authorization'] = proxied.memory['first'];
      },
    },
  },
  {
    check: 'ref-owner',
    wrong: 'tells others that the data exist',
    fault: {
      request: (proxied) => {
        asFirst(proxied);
        if (isRead(proxied) && !isForeign(proxied)) proxied.memory[proxied.params.uri] = true;
      },
      error: (error, proxied) => ({
        error:
          isRead(proxied) && isForeign(proxied) && proxied.memory[proxied.params.uri] === true
            ? { ...error, message: 'Not yours.' }
            : error,
      }),
    },
  },
  {
    check: 'ref-owner',
    wrong: 'keeps the data after a redaction',
    fault: {
      request: asFirst,
      result: (result, proxied) => {
        if (isRead(proxied)) proxied.memory[proxied.params.uri] = result;
        return result;
      },
      error: (error, proxied) => {
        const kept = proxied.memory[proxied.params.uri];
        return isRead(proxied) && !isForeign(proxied) && kept !== undefined
          ? { result: kept }
          : { error };
      },
    },
  },
  {
    check: 'ref-unknown',
    wrong: 'sends references to clients that do not know them',
    fault: {
      request: ({ method, params }) => {
        if (method === 'initialize') params.capabilities = { experimental: WITH_OPTION };
        else if (params._meta?.[CAPABILITIES] !== undefined)
          params._meta[CAPABILITIES] = { extensions: WITH_OPTION };
      },
    },
  },
  {
    check: 'ref-unknown',
    wrong: 'reports large events as skipped where it has no reference',
    fault: onDelivery((delivery) =>
      delivery.gaps === undefined
        ? delivery
        : {
            ...delivery,
            gaps: delivery.gaps.map((gap: Json) =>
              gap.reason === 'too_large' ? { ...gap, reason: 'skipped' } : gap,
            ),
          },
    ),
  },
];
