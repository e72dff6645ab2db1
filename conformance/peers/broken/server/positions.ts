/** Servers that handle positions and acknowledgements wrongly. */
import type { BrokenServer, Json, ProxiedRequest } from '../proxy.ts';
import {
  onDelivery,
  onResult,
  onRequest,
  emptySuccess,
  onError,
  without,
} from '../fault-builders.ts';

const POSITIONS = ['after', 'ack', 'position'];
const DRAINING = ['pull', 'ack', 'stream'];
const conflict = (kind: string): Json => ({
  error: {
    code: -32602,
    message: 'Conflict.',
    data: { kind, epoch: 'AAAAAAAAAAAAAAAAAAAAAA', head: 0, acked: 0 },
  },
});

/** The subscription, as the correct server reports it. */
const state = async ({ ask, params: { subscriptionId } }: ProxiedRequest): Promise<Json> =>
  (await ask('triggers/get', { subscriptionId })).result;
/** Changes each position of a request before the server receives it. */
const positioned = (change: (position: Json, log: Json) => Json): BrokenServer['fault'] =>
  onRequest(DRAINING, async (params, proxied) => {
    const log = await state(proxied);
    if (log !== undefined)
      proxied.params = {
        ...params,
        ...Object.fromEntries(
          POSITIONS.filter((name) => params[name] !== undefined).map((name) => [
            name,
            change(params[name], log),
          ]),
        ),
      };
  });
/** Runs `act` when the server returns an error; what `act` returns replaces the error. */
const instead = (
  act: (error: Json, proxied: ProxiedRequest) => Promise<Json | undefined>,
): BrokenServer['fault'] => ({
  error: async (error, proxied) => (await act(error, proxied)) ?? { error },
});

export const positions: readonly BrokenServer[] = [
  {
    check: 'pos-epoch',
    wrong: 'accepts a bare number as position',
    fault: positioned((position, { epoch }) =>
      typeof position === 'number' ? { epoch, sequence: position } : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'accepts a position without an epoch',
    fault: positioned((position, { epoch }) =>
      typeof position === 'object' && !Array.isArray(position) ? { epoch, ...position } : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'accepts a position without a sequence number',
    fault: positioned((position) =>
      typeof position === 'object' && !Array.isArray(position)
        ? { sequence: 0, ...position }
        : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'rejects a valid position on streams',
    fault: onRequest(['stream'], ({ after }) =>
      typeof after?.epoch === 'string' && after.sequence === 2 ? conflict('epoch') : undefined,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'ignores the epoch of a position',
    fault: positioned((position, { epoch }) =>
      typeof position === 'object' && position.epoch !== undefined
        ? { ...position, epoch }
        : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'ignores the epoch at sequence number 0',
    fault: positioned((position, { epoch }) =>
      position.sequence === 0 ? { ...position, epoch } : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'reports a wrong epoch as a wrong sequence number',
    fault: onError((error) =>
      error.data?.kind === 'epoch'
        ? { ...error, data: { ...error.data, kind: 'position' } }
        : error,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'acknowledges a position that it rejects',
    fault: instead(async ({ data }, { method, params: { subscriptionId, position }, ask }) => {
      if (method === 'triggers/ack' && data?.kind === 'epoch')
        await ask('triggers/ack', {
          subscriptionId,
          position: { epoch: data.epoch, sequence: position.sequence },
        });
      return undefined;
    }),
  },
  {
    check: 'pos-beyond-head',
    wrong: 'starts at the head instead of rejecting a position',
    fault: instead(async ({ data }, { method, params, ask }) =>
      method === 'triggers/pull' && data?.kind === 'position' && params.after
        ? {
            result: (
              await ask(method, { ...params, after: { epoch: data.epoch, sequence: data.head } })
            ).result,
          }
        : undefined,
    ),
  },
  {
    check: 'pos-beyond-head',
    wrong: 'applies the ack of a pull that it rejects',
    fault: instead(async ({ data }, { method, params: { subscriptionId, ack }, ask }) => {
      if (method === 'triggers/pull' && data?.kind === 'position' && ack)
        await ask('triggers/ack', { subscriptionId, position: ack });
      return undefined;
    }),
  },
  {
    check: 'pos-beyond-head',
    wrong: 'accepts a stream beyond the head',
    fault: onRequest(['stream'], async (params, proxied) => {
      const { head } = (await state(proxied)) ?? {};
      if (params.after?.sequence > head)
        proxied.params = { ...params, after: { ...params.after, sequence: head } };
    }),
  },
  {
    check: 'err-codes',
    wrong: 'omits head in the error',
    fault: onError((error) =>
      error.data?.epoch === undefined ? error : { ...error, data: without(error.data, 'head') },
    ),
  },
  {
    check: 'err-codes',
    wrong: 'repeats the requested epoch in the error',
    fault: onError((error, { params }) =>
      error.data?.kind === 'epoch'
        ? {
            ...error,
            data: { ...error.data, epoch: (params.after ?? params.ack ?? params.position).epoch },
          }
        : error,
    ),
  },
  {
    check: 'pos-old-valid',
    wrong: 'rejects positions below the oldest sequence number',
    fault: onRequest(['pull', 'stream'], async ({ after }, proxied) =>
      after !== undefined && after.sequence + 1 < ((await state(proxied))?.oldest ?? 0)
        ? conflict('position')
        : undefined,
    ),
  },
  {
    check: 'pos-old-valid',
    wrong: 'starts at the oldest sequence number',
    fault: positioned((position, { oldest }) => ({
      ...position,
      sequence: Math.max(position.sequence, oldest - 1),
    })),
  },
  {
    check: 'pos-old-valid',
    wrong: 'omits the gap for trimmed events that were acknowledged',
    fault: onResult(['pull'], (result) =>
      result.acked === result.head
        ? {
            ...without(result, 'gaps'),
            afterSequence: result.gaps?.[0]?.to ?? result.afterSequence,
          }
        : result,
    ),
  },

  {
    check: 'ack-cumulative',
    wrong: 'acknowledges a single sequence number',
    fault: onRequest(['ack'], async ({ position }, proxied) => {
      const log = await state(proxied);
      return position.sequence > log?.acked + 1 && position.sequence <= 4
        ? emptySuccess({ epoch: log.epoch, acked: log.acked, head: log.head })
        : undefined;
    }),
  },
  {
    check: 'ack-only-said',
    wrong: 'lowers acked',
    fault: {
      ...onRequest(['ack'], ({ position, subscriptionId }, { memory }) => {
        memory[subscriptionId] = position.sequence;
      }),
      ...onResult(['get'], (result, { memory }) => ({
        ...result,
        acked: Math.min(result.acked, memory[result.subscriptionId] ?? result.acked),
      })),
    },
  },
  {
    check: 'ack-cumulative',
    wrong: 'rejects an acknowledgement below acked',
    fault: onRequest(['ack'], async ({ position }, proxied) =>
      position.sequence <= (await state(proxied))?.acked ? conflict('position') : undefined,
    ),
  },
  {
    check: 'ack-cumulative',
    wrong: 'changes the ETag with each acknowledgement',
    fault: {
      ...onRequest(['ack'], (_, { memory }) => {
        memory['acks'] = (memory['acks'] ?? 0) + 1;
      }),
      ...onResult(['get'], (result, { memory }) => ({
        ...result,
        etag: `${result.etag}.${memory['acks'] ?? 0}`,
      })),
    },
  },
  {
    check: 'ack-sent',
    wrong: 'accepts an acknowledgement beyond what it sent',
    fault: instead(async ({ data }, { method, params, ask }) => {
      if (data?.kind !== 'position' || data.sent === undefined) return undefined;
      await ask('triggers/pull', { subscriptionId: params.subscriptionId });
      return { result: (await ask(method, params)).result };
    }),
  },
  {
    check: 'ack-sent',
    wrong: 'accepts an acknowledgement of the highest number that it sent, whatever it left out',
    fault: {
      ...onResult(['pull'], (result, { memory, params: { subscriptionId } }) => {
        const last = result.events.at(-1)?.sequence ?? 0;
        memory[subscriptionId] = Math.max(memory[subscriptionId] ?? 0, last);
        return result;
      }),
      ...instead(async ({ data }, { method, params, memory, ask }) => {
        const { subscriptionId, position } = params;
        if (method !== 'triggers/ack' || data?.kind !== 'position') return undefined;
        if (position.sequence > (memory[subscriptionId] ?? 0)) return undefined;
        await ask('triggers/pull', { subscriptionId });
        return { result: (await ask(method, params)).result };
      }),
    },
  },
  {
    check: 'ack-sent',
    wrong: 'counts only events as sent, so that a gap at the end cannot be acknowledged',
    fault: {
      ...onDelivery((delivery, memory) => {
        if ((delivery.gaps?.at(-1)?.to ?? 0) > (delivery.events.at(-1)?.sequence ?? 0))
          memory[delivery.subscriptionId] = delivery.gaps.at(-1).to;
        return delivery;
      }),
      ...onRequest(['ack'], ({ subscriptionId, position }, { memory }) =>
        position.sequence === memory[subscriptionId] ? conflict('position') : undefined,
      ),
    },
  },
  {
    check: 'ack-sent',
    wrong: 'omits sent in the error',
    fault: onError((error) =>
      error.data?.sent === undefined ? error : { ...error, data: without(error.data, 'sent') },
    ),
  },
  {
    check: 'ack-only-said',
    wrong: 'treats a pull as an acknowledgement',
    fault: onResult(['pull'], async (result, { params: { subscriptionId }, ask }) => {
      const sequence = result.events.at(-1)?.sequence;
      if (sequence !== undefined && result.events.length > 1)
        await ask('triggers/ack', { subscriptionId, position: { epoch: result.epoch, sequence } });
      return result;
    }),
  },
  {
    check: 'ack-only-said',
    wrong: 'acknowledges a leading gap',
    fault: onResult(['pull'], async (result, { params: { subscriptionId }, ask }) => {
      const gap = result.gaps?.[0];
      if (gap?.from === result.acked + 1)
        await ask('triggers/ack', {
          subscriptionId,
          position: { epoch: result.epoch, sequence: gap.to },
        });
      return result;
    }),
  },
  {
    check: 'ack-cumulative',
    wrong: 'returns acked from before the call',
    fault: onResult(['ack'], (result) => ({ ...result, acked: Math.max(0, result.acked - 1) })),
  },
  {
    check: 'ack-cumulative',
    wrong: 'omits head in the result',
    fault: onResult(['ack'], (result) => without(result, 'head')),
  },
  {
    check: 'ack-cumulative',
    wrong: 'returns the initial head',
    fault: onResult(['ack'], (result, { memory, params: { subscriptionId } }) => ({
      ...result,
      head: (memory[subscriptionId] ??= result.head),
    })),
  },
];
