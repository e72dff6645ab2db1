/** The tool that ends a watch. To end what has ended is no error: who asks twice, or too late, wants the same (SEP: Ending). */
import { WireError } from '../../../protocol/wire/errors.ts';
import { answered, counted, type ToolAnswer, type ToolContext } from './answer.ts';
import type { UnwatchArguments } from './schemas.ts';
import { own } from './watch.ts';

export async function unwatch(
  context: ToolContext,
  { watchId }: UnwatchArguments,
): Promise<ToolAnswer> {
  const { engine, caller } = context;
  try {
    const {
      subscription: { head, acked },
      selection,
    } = await own(context, watchId);
    await engine.unsubscribe(caller, { subscriptionId: watchId });
    const discarded = head - acked;
    return answered({ watchId, ended: true, discarded }, [
      `Ended: ${selection.name} is not watched any more. ${discarded === 0 ? 'Nothing was waiting.' : `${counted(discarded, 'event')} that had not been acknowledged ${discarded === 1 ? 'is' : 'are'} gone.`}`,
    ]);
  } catch (error) {
    if (!(error instanceof WireError) || !error.is('NotFound')) throw error;
    return answered({ watchId, ended: false, discarded: 0 }, [
      'There is no such watch (any more), so there was nothing to end.',
    ]);
  }
}
