// The stream drain of the minimal server: one open response with its own position and window.
import { delivery, entryAt, head, isEvent, now, read } from './minimal-server-log.mjs';
import { lastOf } from './minimal-server-wire.mjs';

const WINDOW = { events: 1000, bytes: 4_194_304 };
const GAPS_ONLY = { events: 0, bytes: 0 };
const HEARTBEAT_MS = 10_000;
const UNREAD_BYTES_MAX = 8_388_608;

/**
 * Opens a stream that starts after `start`. `say` sends a JSON-RPC message, `unread` returns the
 * number of bytes that are not sent yet, `close` ends the response, and `onClose` registers a
 * function that runs at its end.
 */
export function openStream(sub, start, window, { id, say, unread, close, onClose }) {
  const events = Math.min(window?.events ?? 100, WINDOW.events);
  const bytes = Math.min(window?.bytes ?? 1_048_576, WINDOW.bytes);
  /** The events in flight: sequence number and size in bytes. */
  let flying = [];
  let spokeAt = now();
  const self = {
    position: start,
    send(made) {
      if (unread() > UNREAD_BYTES_MAX) return close();
      spokeAt = now();
      self.position = lastOf(made);
      say({ method: 'notifications/triggers/delivery', params: { ...made, requestId: id } });
    },
    /** Sends the entries that fit into the window. */
    pump() {
      flying = flying.filter(({ sequence }) => sequence > sub.acked);
      while (self.position < head(sub)) {
        const next = entryAt(sub, self.position + 1);
        const room = {
          events: events - flying.length,
          bytes: bytes - flying.reduce((sum, one) => sum + one.bytes, 0),
        };
        if (isEvent(next) && flying.length > 0 && (room.events <= 0 || next.bytes > room.bytes))
          return;
        const made = read(sub, self.position, isEvent(next) ? room : GAPS_ONLY);
        flying.push(
          ...made.events.map(({ sequence }) => ({ sequence, bytes: entryAt(sub, sequence).bytes })),
        );
        self.send(made);
      }
    },
    /** Sends a heartbeat when one is due. */
    tick() {
      if (now() - spokeAt >= HEARTBEAT_MS) self.send(delivery(sub, self.position));
    },
    end() {
      sub.streams.delete(self);
      say({ id, result: { resultType: 'complete' } });
      close();
    },
  };
  sub.streams.add(self);
  onClose(() => sub.streams.delete(self));
  if (self.position === head(sub)) self.send(delivery(sub, self.position));
  else self.pump();
}
