"""`triggers/stream`: a position, a window, and the numbers in flight on this stream."""

from deliveries import heading
from log import weight

HEARTBEAT_MS = 10_000  # stream-heartbeat: at least every 15 seconds
MOST_EVENTS, MOST_BYTES = 1_000, 4_194_304  # stream-window-clamp
LOOK_S = 0.5  # how often a stream looks whether its client is still there
MOST_STREAMS = 200  # of one owner


class Stream:
    """One open stream. `messages` runs in the thread of its request, so a client that does not read blocks only its own stream, and
    no more than one message waits for it (stream-unread, stream-several)."""

    def __init__(self, methods, params, owner, request_id):
        self.methods, self.world, self.owner, self.request_id = methods, methods.world, owner, request_id
        methods.admit("triggers/stream", params, owner)
        with self.world.change():
            found = methods.find(params["subscriptionId"], owner)
            methods.check_drain(methods.types_of(found), "stream")
            if "after" in params:
                methods.check_position(found, params["after"])
            self.subscription = found
            self.position = params["after"]["sequence"] if "after" in params else found.log.acked
        window = params.get("window", {})
        self.events = min(window.get("events", 100), MOST_EVENTS)
        self.bytes = min(window.get("bytes", 1_048_576), MOST_BYTES)
        self.in_flight = []  # of (sequence, bytes)
        self.canceled = False

    def messages(self, connected):
        """Yields the notifications; the caller sends the result after them (stream-end). Stops if the client is gone (stream-cancel)."""
        world, sent_at, seen, list_etag = self.world, None, None, self.methods.list_etag(self.owner)
        while not self.canceled:
            with world.change():
                delivery = self.next_delivery()
                state = self.state()
                new_list = self.methods.list_etag(self.owner)
                ended, version = self.subscription.ended, world.version
            # stream-first, stream-heartbeat, stream-changed
            due = sent_at is None or world.clock.now() - sent_at >= HEARTBEAT_MS or state != seen
            if delivery["events"] or delivery.get("gaps") or due or ended:
                yield self.notification(delivery)
                sent_at, seen = world.clock.now(), state
            if new_list != list_etag and "listChanged" in self.methods.options:
                list_etag = new_list
                yield {"jsonrpc": "2.0", "method": "notifications/triggers/list_changed"}  # list-changed-send
            if ended:
                return
            with world.condition:
                if world.version == version and not self.canceled:
                    world.condition.wait(min(LOOK_S, max(0, (sent_at + HEARTBEAT_MS - world.clock.now()) / 1000)))
            if not connected():
                self.canceled = True

    def notification(self, delivery):
        return {"jsonrpc": "2.0", "method": "notifications/triggers/delivery", "params": {"requestId": self.request_id, **delivery}}  # stream-tag

    def next_delivery(self):
        """What the window has room for (stream-window), after the last number that was sent (stream-continues)."""
        log = self.subscription.log
        if self.subscription.ended:
            return heading(self.subscription, self.position)
        self.in_flight = [one for one in self.in_flight if one[0] > log.acked]
        room = self.bytes - sum(size for _, size in self.in_flight)
        sent = log.sent
        covered = log.cover(self.position, self.events - len(self.in_flight), room, force=not self.in_flight)
        if log.sent != sent:
            self.world.save(self.subscription)  # log-durable-sent
        if covered.last > self.position:
            self.methods.was_read(self.subscription)
        self.in_flight += [(number, weight(number, event)) for number, event in covered.events if number > log.acked]
        after, self.position = self.position, covered.last
        return heading(self.subscription, after, covered.events, covered.gaps)

    def state(self):
        callback = self.subscription.callback
        return (self.subscription.etag, callback and callback.state(), self.subscription.paused)
