"""The state of the server: trigger types, permissions, accepted events, subscriptions. All changes happen under one lock.

`with world.change():` is a transaction: what it wrote is flushed when the block ends, and only then anybody can answer or send.
"""

import contextlib
import secrets
import threading

from log import Entry, Log
from model import DAY, EVENT_LIMIT, HOUR, Event, Subscription, Turns, token
from schema import canonical, violation

MIN_TTL, MAX_TTL, DEFAULT_TTL = 1_000, 30 * DAY, HOUR
MAX_SUSPENDED = 30 * DAY
TOMBSTONE_MS = DAY  # end-tombstone
MOST_SUBSCRIPTIONS = MOST_TOMBSTONES = 1_000  # of one owner (lim-quota)
MOST_EVENTS = 100_000  # of one trigger type
RECHECK_MS = HOUR  # end-recheck: at least every 24 hours


class World:
    def __init__(self, store, clock, types, owners):
        self.store, self.clock, self.owners = store, clock, owners
        self.types = {one.name: one for one in types}
        self.denied = set()  # of (owner, name): who may not follow a type
        self.condition = threading.Condition(threading.RLock())
        self.turns = Turns(self.condition)
        self.version = 0  # of everything: whoever waits for a change compares it
        self._load()
        if store.lost_writes():
            self._start_epochs()

    def _load(self):
        events, subscriptions = self.store.load()
        self.events, self.by_identity = {}, {}
        self.states = {}  # the present state of each topic of a type with `initial`
        for event in events:
            self._hold(event)
        self.subscriptions = {one.id: one for one in subscriptions}
        self.forgotten = {}  # for each type, when the last event was accepted that is held no more
        self.ordinal = max([one.ordinal for one in subscriptions], default=0)

    def _start_epochs(self):
        """log-epoch-rotate: before a number is assigned or sent. Which logs lost something is unknown, so all of them start again."""
        with self.change():
            for subscription in self.live():
                subscription.log.renumber()
                self.store.save_whole_log(subscription)
                self.store.save_subscription(subscription)
            self.store.set_meta("epochs", token())

    # ------------------------------------------------------------------ transactions

    @contextlib.contextmanager
    def change(self):
        with self.condition:
            try:
                self.sweep()
                yield
            except BaseException as why:
                if self.store.dirty and not hasattr(why, "data"):
                    # gen-atomic: an unexpected failure leaves what the store has.
                    self.store.rollback()
                    self._load()
                else:
                    self.store.commit()  # what `sweep` did
                raise
            written = self.store.dirty
            self.store.commit()
            if written:
                self.version += 1
                self.condition.notify_all()

    def sweep(self):
        """What time alone does: it expires subscriptions, trims logs, and forgets tombstones and events."""
        now = self.clock.now()
        for subscription in list(self.subscriptions.values()):
            if subscription.ended:
                if now - subscription.ended_at > TOMBSTONE_MS:
                    self.store.delete_subscription(subscription)
                    del self.subscriptions[subscription.id]
            elif subscription.expires_at is not None and subscription.expires_at <= now:
                self.end(subscription, "expired")  # ttl-kept
            elif self.ends_at(subscription) is not None and self.ends_at(subscription) <= now:
                self.end(subscription, "failed")  # end-suspended
            elif now - subscription.permitted_at >= RECHECK_MS:
                self._recheck(subscription, now)
            elif subscription.log.trim(subscription.retention, now):
                self.store.trim_log(subscription)
                self.store.save_subscription(subscription)
        for name, events in self.events.items():
            kept = max(self._kept_for(name), HOUR)
            while events and (events[0].accepted_at + kept < now or len(events) > MOST_EVENTS):
                self._forget(events.pop(0))

    def _recheck(self, subscription, now):
        subscription.permitted_at = now
        self.store.save_subscription(subscription)
        if any((subscription.owner, one["name"]) in self.denied for one in subscription.select):
            self.end(subscription, "revoked")

    def next_instant(self):
        """When `sweep` has something to do next, in milliseconds; None if never."""
        live = self.live()
        instants = [one.expires_at for one in live if one.expires_at is not None] + [one.permitted_at + RECHECK_MS for one in live]
        return min(instants + [at for at in map(self.ends_at, live) if at is not None], default=None)

    # ------------------------------------------------------------------ subscriptions

    def live(self):
        return [one for one in self.subscriptions.values() if not one.ended]

    def of_owner(self, owner, ended=False):
        return [one for one in self.subscriptions.values() if one.owner == owner and bool(one.ended) == ended]

    def ends_at(self, subscription):
        """end-suspended: when a subscription without expiry ends because its callback is suspended, or None."""
        callback = subscription.callback
        if subscription.ended or subscription.expires_at is not None or not callback or callback.suspended_at is None:
            return None
        return max(callback.suspended_at, subscription.read_at) + MAX_SUSPENDED

    def save(self, subscription):
        self.store.save_subscription(subscription)

    def create(self, subscription_id, owner, key, select, **more):
        now = self.clock.now()
        self.ordinal += 1
        made = Subscription(subscription_id, owner, key, self.ordinal, select, self.retention_of(select), now, Log(), permitted_at=now, read_at=now, **more)
        self.subscriptions[made.id] = made
        self.save(made)
        return made

    def end(self, subscription, reason):
        """Ends a subscription and keeps its tombstone (end-tombstone). Everybody who drains the log hears of it."""
        now = self.clock.now()
        subscription.ended, subscription.ended_at = reason, now
        subscription.log.trimmed, subscription.log.entries = subscription.log.head, []
        if reason == "unsubscribed":
            subscription.callback = None
        elif subscription.callback:
            subscription.callback.reset()
            subscription.notice_at = now  # end-callback
        self.store.delete_log(subscription)
        self.save(subscription)
        tombstones = self.of_owner(subscription.owner, ended=True)
        for oldest in sorted(tombstones, key=lambda one: one.ended_at)[: len(tombstones) - MOST_TOMBSTONES if len(tombstones) > MOST_TOMBSTONES else 0]:
            self.store.delete_subscription(oldest)
            del self.subscriptions[oldest.id]

    def retention_of(self, select):
        """gap-effective: member by member the least of the selected types."""
        all_of = [self.types[one["name"]].retention for one in select]
        members = {name for one in all_of for name in one}
        return {name: min(one[name] for one in all_of if name in one) for name in ("maxAgeMs", "maxEvents", "maxBytes") if name in members}

    def visible(self, owner):
        """list-only-usable: the types that the owner may follow."""
        return [] if owner is None else [one for one in self.types.values() if (owner, one.name) not in self.denied]

    # ------------------------------------------------------------------ events

    def accept(self, name, data, event_id=None, timestamp=None, scope="", audience=None):
        """Accepts an event: it is in every matching log when the transaction ends (log-all-matching). False for a repetition."""
        now = self.clock.now()
        event = Event(name, event_id or token(16), timestamp if timestamp is not None else now, now, data, scope, audience)
        if (scope, name, event.event_id) in self.by_identity:
            return False  # log-once
        trigger = self.types[name]
        if violation(trigger.payload_schema, data):
            event.fault = "invalid"  # type-payload-valid
        elif event.measure() > EVENT_LIMIT:
            event.fault = "too_large"  # gap-too-large
        selected = [one for one in self.live() if self._matches(one, event)]
        if event.fault:
            event.data, event.size = None, 0
        self.store.save_event(event)
        self._hold(event)
        for subscription in selected:
            self.append(subscription, event)
        return True

    def append(self, subscription, event, trim=True):
        """Appends an event, or the gap that it can only be."""
        entry = Entry(event.accepted_at, reason=event.fault) if event.fault else Entry(event.accepted_at, event)
        self._append(subscription, entry, trim)

    def _append(self, subscription, entry, trim=True):
        number = subscription.log.append(entry)
        self.store.save_entry(subscription, number)
        if trim:
            self.trim(subscription)

    def trim(self, subscription):
        if subscription.log.trim(subscription.retention, self.clock.now()):
            self.store.trim_log(subscription)
        self.save(subscription)

    def _matches(self, subscription, event):
        """Once for each log, however many selections match (sub-union); only for the owners in an audience."""
        if event.audience is not None and subscription.owner not in event.audience:
            return False
        return any(self.matches(selection, event) for selection in subscription.select)

    @staticmethod
    def matches(selection, event):
        """sub-match: every argument equals the member of the data. Of invalid data, only a member that is there and fits can show a difference."""
        if selection["name"] != event.name:
            return False
        data = event.data if isinstance(event.data, dict) else {}
        for name, wanted in selection.get("arguments", {}).items():
            shown = name in data and (event.fault != "invalid" or isinstance(data[name], type(wanted)))
            if shown and data[name] != wanted or not shown and event.fault != "invalid":
                return False
        return True

    def unwatched(self, name, arguments):
        """log-unwatched: a gap in every log that could have got an event."""
        for subscription in self.live():
            for selection in subscription.select:
                mine = selection.get("arguments", {})
                if selection["name"] == name and all(mine.get(one, value) == value for one, value in arguments.items()):
                    self._append(subscription, Entry(self.clock.now(), reason="unwatched"))
                    break

    def redact(self, name, event_id):
        """Removes the data of an event, everywhere. Its id stays: the upstream can report the event again."""
        for event in [one for one in self.events.get(name, []) if one.event_id == event_id]:
            event.data, event.fault = None, event.fault or "redacted"
            for subscription in self.live():
                for number in range(subscription.log.oldest, subscription.log.head + 1):
                    if subscription.log.entry(number).event is event:
                        self.close(subscription, number, "redacted")
            event.size = 0
            self.store.save_event(event)

    def close(self, subscription, number, reason):
        """Makes a number a gap, for good."""
        if subscription.log.close(number, reason):
            self.store.save_entry(subscription, number)

    def begin_with_present_state(self, subscription):
        """type-initial: the present state is the first event of a new log."""
        for selection in subscription.select:
            if self.types[selection["name"]].initial:
                data = self.states.get((selection["name"], canonical(selection.get("arguments", {}))), {**selection.get("arguments", {}), "n": 0})
                now = self.clock.now()
                event = Event(selection["name"], token(16), now, now, data, private=True)
                event.measure()
                self.store.save_event(event)
                self.append(subscription, event)

    def begin_with_history(self, subscription, since):
        """Starts a log with the events that are still held (subs-since) and returns the instant that was honored (subs-since-bound)."""
        now = self.clock.now()
        honored = max(since, now - min(self.types[one["name"]].history["maxAgeMs"] for one in subscription.select))
        held = {one.row: one for selection in subscription.select for one in self.events.get(selection["name"], []) if one.accepted_at >= honored}
        if any(self.forgotten.get(one["name"], 0) >= honored for one in subscription.select):
            self._append(subscription, Entry(now - subscription.retention["maxAgeMs"] - 1, reason="retention"), trim=False)
        for row in sorted(held):
            if self._matches(subscription, held[row]):
                self.append(subscription, held[row], trim=False)
        # subs-since-gap: numbered first and trimmed then, so that what the log does not keep is a leading gap.
        self.trim(subscription)
        return honored

    def _hold(self, event):
        if event.private:
            return
        self.events.setdefault(event.name, []).append(event)
        self.by_identity[event.scope, event.name, event.event_id] = event
        if self.types.get(event.name) and self.types[event.name].initial and isinstance(event.data, dict):
            self.states[event.name, canonical({"topic": event.data.get("topic")})] = event.data

    def _forget(self, event):
        self.by_identity.pop((event.scope, event.name, event.event_id), None)
        self.forgotten[event.name] = event.accepted_at
        # A log can still have the event: its row is deleted when nothing refers to it.
        if not any(entry.event is event for one in self.live() for entry in one.log.entries):
            self.store.delete_event(event)

    def _kept_for(self, name):
        trigger = self.types.get(name)
        return max(trigger.retention["maxAgeMs"], (trigger.history or {}).get("maxAgeMs", 0)) if trigger else DAY

    # ------------------------------------------------------------------ trigger types and permissions

    def permit(self, owner, name, allowed, told=True):
        """end-revoked; with `told` false, the next regular check finds out."""
        (self.denied.discard if allowed else self.denied.add)((owner, name))
        if not allowed and told:
            for subscription in self.of_owner(owner):
                if any(one["name"] == name for one in subscription.select):
                    self.end(subscription, "revoked")

    def remove(self, name, reason):
        """type-breaking"""
        self.types.pop(name, None)
        for subscription in self.live():
            if any(one["name"] == name for one in subscription.select):
                self.end(subscription, reason)
