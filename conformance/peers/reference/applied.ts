/** The items of the library in the format of the kit. */
import type { Item } from 'mcp-triggers-experimental/client';
import type { ReceiverItem } from 'mcp-triggers-experimental/receiver';
import type { Applied } from '../../runner/client/program.ts';

/**
 * Converts an item of the library to the line that the kit reads from a client's standard output or
 * from a receiver's control interface.
 */
export function appliedOf(item: Item | ReceiverItem): Applied {
  switch (item.type) {
    case 'event':
      return { applied: 'event', ...item.position, eventId: item.event.eventId };
    case 'gap':
      return { applied: 'gap', epoch: item.position.epoch, ...item.gap };
    case 'elsewhere':
      return { applied: 'elsewhere', epoch: item.position.epoch, from: item.from, to: item.to };
    case 'epoch':
      return { applied: 'lost', ...item.previous };
    case 'lost':
      return { applied: 'lost', ...item.last, reason: item.reason };
    case 'terminated':
      return { applied: 'ended', ...item.position, reason: item.reason };
  }
}
