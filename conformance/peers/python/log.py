"""One subscription's log: numbers, gaps, retention, acknowledgement, and the one function that makes deliveries."""

from dataclasses import dataclass, field

from model import Event, token

MOST_GAPS = 100  # in one delivery; with one event of 240 KiB they fit into the body of a callback (cb-body-limit)


@dataclass
class Entry:
    """One number: an event, or the reason of a gap. An entry never turns from a gap into an event (gap-final)."""

    at: int
    event: Event | None = None
    reason: str | None = None


@dataclass
class Covered:
    """What a delivery covers: from `after + 1` to `last` (dlv-coverage)."""

    after: int
    last: int
    events: list = field(default_factory=list)  # of (sequence, Event)
    gaps: list = field(default_factory=list)

    def gap_at(self, sequence):
        return any(gap["from"] <= sequence <= gap["to"] for gap in self.gaps)


def weight(sequence, event):
    """Bytes of an event in a delivery."""
    return event.size + len(f'"sequence":{sequence},')


class Log:
    def __init__(self, epoch=None, trimmed=0, acked=0, sent=0):
        self.epoch = epoch or token(16)
        self.trimmed, self.acked, self.sent = trimmed, acked, sent
        self.entries = []
        self.events = self.bytes = 0  # of the retained events: a gap counts for neither bound

    @property
    def head(self):
        return self.trimmed + len(self.entries)

    @property
    def oldest(self):
        """gap-oldest"""
        return self.trimmed + 1

    def entry(self, sequence):
        """The entry of a retained number, or None."""
        return self.entries[sequence - self.trimmed - 1] if self.trimmed < sequence <= self.head else None

    def append(self, entry):
        """Gives the next number (log-contiguous)."""
        self.entries.append(entry)
        self._count(entry, 1)
        return self.head

    def close(self, sequence, reason):
        """Turns an event into a gap. A gap keeps the reason that it first had (gap-same-everywhere)."""
        entry = self.entry(sequence)
        if entry is None or entry.reason is not None:
            return False
        self._count(entry, -1)
        entry.event, entry.reason = None, reason
        return True

    def trim(self, retention, now):
        """Removes from the low end what the retention does not keep (gap-retention-announced). Returns how many numbers."""
        removed = 0
        while removed < len(self.entries):
            entry = self.entries[removed]
            if not (entry.at + retention["maxAgeMs"] < now or self.events > retention["maxEvents"] or self.bytes > retention.get("maxBytes", self.bytes)):
                break
            self._count(entry, -1)
            removed += 1
        del self.entries[:removed]
        self.trimmed += removed
        return removed

    def acknowledge(self, sequence):
        """ack-cumulative: everything up to the number; lower numbers change nothing."""
        self.acked = max(self.acked, sequence)

    def cover(self, after, max_events, max_bytes, force=True):
        """The delivery that starts after `after`: at most so many events and bytes of them, with `force` at least one event.

        Gaps count for neither. Every drain uses this function, so a gap has the same reason everywhere (gap-same-everywhere).
        """
        covered, used = Covered(after, after), 0
        if after < self.trimmed:
            # pos-old-valid: a leading gap for what is no longer held.
            covered.gaps.append({"from": after + 1, "to": self.trimmed, "reason": "retention"})
            covered.last = self.trimmed
        for sequence in range(covered.last + 1, self.head + 1):
            entry = self.entry(sequence)
            if entry.reason is not None:
                before = covered.gaps[-1] if covered.gaps else None
                if before and before["to"] == sequence - 1 and before["reason"] == entry.reason:
                    before["to"] = sequence
                elif len(covered.gaps) < MOST_GAPS:
                    covered.gaps.append({"from": sequence, "to": sequence, "reason": entry.reason})
                else:
                    break
            else:
                used += weight(sequence, entry.event)
                first = force and not covered.events
                if len(covered.events) >= max_events or used > max_bytes and not first:
                    break
                covered.events.append((sequence, entry.event))
            covered.last = sequence
        # ack-sent: a delivery that starts above `sent` leaves numbers out, so it does not raise the bound.
        if after <= self.sent:
            self.sent = max(self.sent, covered.last)
        return covered

    def renumber(self):
        """A new epoch after lost writes: the unacknowledged rest, gaps included, from 1 (log-epoch-rotate, log-epoch-renumber)."""
        for entry in self.entries[: max(0, self.acked - self.trimmed)]:
            self._count(entry, -1)
        del self.entries[: max(0, self.acked - self.trimmed)]
        self.trimmed = max(0, self.trimmed - self.acked)
        self.epoch, self.acked, self.sent = token(16), 0, 0

    def _count(self, entry, by):
        if entry.event is not None:
            self.events += by
            self.bytes += by * entry.event.size
