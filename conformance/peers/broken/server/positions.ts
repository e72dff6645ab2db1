/** Servers that are careless with positions and with what is acknowledged. */
import type { BrokenServer, Json, Passing } from '../proxy.ts';
import { answered, asked, done, refused, without } from '../spoils.ts';

const POSITIONS = ['after', 'ack', 'position'];
const DRAINING = ['pull', 'ack', 'stream'];
const conflict = (kind: string): Json => ({
  error: {
    code: -32602,
    message: 'Conflict.',
    data: { kind, epoch: 'AAAAAAAAAAAAAAAAAAAAAA', head: 0, acked: 0 },
  },
});

/** Where a log stands, as the right server says. */
const state = async ({ ask, params: { subscriptionId } }: Passing): Promise<Json> =>
  (await ask('triggers/get', { subscriptionId })).result;
/** Changes each position of a request before the server sees it. */
const positioned = (change: (position: Json, log: Json) => Json): BrokenServer['spoil'] =>
  asked(DRAINING, async (params, passing) => {
    const log = await state(passing);
    if (log !== undefined)
      passing.params = {
        ...params,
        ...Object.fromEntries(
          POSITIONS.filter((name) => params[name] !== undefined).map((name) => [
            name,
            change(params[name], log),
          ]),
        ),
      };
  });
/** Does something of its own where the server refuses a position. */
const instead = (
  act: (error: Json, passing: Passing) => Promise<Json | undefined>,
): BrokenServer['spoil'] => ({
  error: async (error, passing) => (await act(error, passing)) ?? { error },
});

export const positions: readonly BrokenServer[] = [
  {
    check: 'pos-pair',
    wrong: 'takes a bare number',
    spoil: positioned((position, { epoch }) =>
      typeof position === 'number' ? { epoch, sequence: position } : position,
    ),
  },
  {
    check: 'pos-pair',
    wrong: 'takes the current epoch when there is none',
    spoil: positioned((position, { epoch }) =>
      typeof position === 'object' && !Array.isArray(position) ? { epoch, ...position } : position,
    ),
  },
  {
    check: 'pos-pair',
    wrong: 'takes an epoch alone for its beginning',
    spoil: positioned((position) =>
      typeof position === 'object' && !Array.isArray(position)
        ? { sequence: 0, ...position }
        : position,
    ),
  },
  {
    check: 'pos-pair',
    wrong: 'refuses the pair on streams',
    spoil: asked(['stream'], ({ after }) =>
      typeof after?.epoch === 'string' && after.sequence === 2 ? conflict('epoch') : undefined,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'does not look at the epoch',
    spoil: positioned((position, { epoch }) =>
      typeof position === 'object' && position.epoch !== undefined
        ? { ...position, epoch }
        : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'takes 0 of any epoch for the beginning',
    spoil: positioned((position, { epoch }) =>
      position.sequence === 0 ? { ...position, epoch } : position,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'says that the number is wrong',
    spoil: refused((error) =>
      error.data?.kind === 'epoch'
        ? { ...error, data: { ...error.data, kind: 'position' } }
        : error,
    ),
  },
  {
    check: 'pos-epoch',
    wrong: 'acknowledges although it refuses',
    spoil: instead(async ({ data }, { method, params: { subscriptionId, position }, ask }) => {
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
    wrong: 'begins at the end of the log',
    spoil: instead(async ({ data }, { method, params, ask }) =>
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
    wrong: 'acknowledges beside a position that it refuses',
    spoil: instead(async ({ data }, { method, params: { subscriptionId, ack }, ask }) => {
      if (method === 'triggers/pull' && data?.kind === 'position' && ack)
        await ask('triggers/ack', { subscriptionId, position: ack });
      return undefined;
    }),
  },
  {
    check: 'pos-beyond-head',
    wrong: 'does not look at the number where streams begin',
    spoil: asked(['stream'], async (params, passing) => {
      const { head } = (await state(passing)) ?? {};
      if (params.after?.sequence > head)
        passing.params = { ...params, after: { ...params.after, sequence: head } };
    }),
  },
  {
    check: 'pos-error-data',
    wrong: 'does not say where the log ends',
    spoil: refused((error) =>
      error.data?.epoch === undefined ? error : { ...error, data: without(error.data, 'head') },
    ),
  },
  {
    check: 'pos-error-data',
    wrong: 'repeats the epoch that was asked for',
    spoil: refused((error, { params }) =>
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
    wrong: 'refuses what is below the oldest number',
    spoil: asked(['pull', 'stream'], async ({ after }, passing) =>
      after !== undefined && after.sequence + 1 < ((await state(passing))?.oldest ?? 0)
        ? conflict('position')
        : undefined,
    ),
  },
  {
    check: 'pos-old-valid',
    wrong: 'begins at the oldest number',
    spoil: positioned((position, { oldest }) => ({
      ...position,
      sequence: Math.max(position.sequence, oldest - 1),
    })),
  },
  {
    check: 'pos-old-valid',
    wrong: 'has no word for what was acknowledged and is gone',
    spoil: answered(['pull'], (result) =>
      result.acked === result.head
        ? { ...without(result, 'gaps'), after: result.gaps?.[0]?.to ?? result.after }
        : result,
    ),
  },

  {
    check: 'ack-cumulative',
    wrong: 'takes an acknowledgement for one number',
    spoil: asked(['ack'], async ({ position }, passing) => {
      const log = await state(passing);
      return position.sequence > log?.acked + 1 && position.sequence <= 4
        ? done({ epoch: log.epoch, acked: log.acked, head: log.head })
        : undefined;
    }),
  },
  {
    check: 'ack-monotonic',
    wrong: 'takes the last acknowledgement, not the highest',
    spoil: {
      ...asked(['ack'], ({ position, subscriptionId }, { memory }) => {
        memory[subscriptionId] = position.sequence;
      }),
      ...answered(['get'], (result, { memory }) => ({
        ...result,
        acked: Math.min(result.acked, memory[result.subscriptionId] ?? result.acked),
      })),
    },
  },
  {
    check: 'ack-below',
    wrong: 'refuses what is acknowledged already',
    spoil: asked(['ack'], async ({ position }, passing) =>
      position.sequence <= (await state(passing))?.acked ? conflict('position') : undefined,
    ),
  },
  {
    check: 'ack-below',
    wrong: 'takes every acknowledgement for a change of the configuration',
    spoil: {
      ...asked(['ack'], (_, { memory }) => {
        memory['acks'] = (memory['acks'] ?? 0) + 1;
      }),
      ...answered(['get'], (result, { memory }) => ({
        ...result,
        etag: `${result.etag}.${memory['acks'] ?? 0}`,
      })),
    },
  },
  {
    check: 'ack-sent',
    wrong: 'lets what was never sent be acknowledged',
    spoil: instead(async ({ data }, { method, params, ask }) => {
      if (data?.kind !== 'position' || data.sent === undefined) return undefined;
      await ask('triggers/pull', { subscriptionId: params.subscriptionId });
      return { result: (await ask(method, params)).result };
    }),
  },
  {
    check: 'ack-sent',
    wrong: 'does not say how far it has sent',
    spoil: refused((error) =>
      error.data?.sent === undefined ? error : { ...error, data: without(error.data, 'sent') },
    ),
  },
  {
    check: 'ack-only-said',
    wrong: 'takes what was pulled for acknowledged',
    spoil: answered(['pull'], async (result, { params: { subscriptionId }, ask }) => {
      const sequence = result.events.at(-1)?.sequence;
      if (sequence !== undefined && result.events.length > 1)
        await ask('triggers/ack', { subscriptionId, position: { epoch: result.epoch, sequence } });
      return result;
    }),
  },
  {
    check: 'ack-only-said',
    wrong: 'takes a gap in front for acknowledged',
    spoil: answered(['pull'], async (result, { params: { subscriptionId }, ask }) => {
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
    check: 'ack-result',
    wrong: 'answers with how it was before',
    spoil: answered(['ack'], (result) => ({ ...result, acked: Math.max(0, result.acked - 1) })),
  },
  {
    check: 'ack-result',
    wrong: 'does not say where the log ends',
    spoil: answered(['ack'], (result) => without(result, 'head')),
  },
  {
    check: 'ack-result',
    wrong: 'answers with the end of the log as it was first',
    spoil: answered(['ack'], (result, { memory, params: { subscriptionId } }) => ({
      ...result,
      head: (memory[subscriptionId] ??= result.head),
    })),
  },
];
