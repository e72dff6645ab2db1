"""What the server stores: trigger types, events, subscriptions, callbacks. See "The data" in docs/porting.md."""

import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

HOUR, DAY = 3_600_000, 86_400_000
EVENT_LIMIT = 245_760  # gap-too-large
TEN_YEARS = 315_576_000_000


def compact(value):
    """JSON without insignificant whitespace."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def token(size=24):
    """Random characters of the base64url alphabet; 24 bytes have 192 bits (sub-id-unguessable)."""
    return secrets.token_urlsafe(size)


class Clock:
    """The server's only clock, in milliseconds since 1970. The control interface sets it ahead."""

    def __init__(self, ahead_ms=0):
        self.ahead_ms = ahead_ms

    def now(self):
        return int(time.time() * 1000) + self.ahead_ms


_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def instant(ms):
    """gen-instants: UTC, three decimals, `Z`."""
    at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def milliseconds(text):
    """Reads every RFC 3339 date-time (gen-instants); raises ValueError for what is none, such as month 13."""
    match = _INSTANT.fullmatch(text)
    if not match:
        raise ValueError("no date-time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if second > 60:
        raise ValueError("no such second")
    zone = match[8]
    offset = 0
    if zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 23 or minutes > 59:
            raise ValueError("no such offset")
        offset = (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)
    # Python has no year 0, and no event is that old.
    at = datetime(max(year, 1), month, day, hour, minute, tzinfo=timezone.utc)
    return round((at - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() * 1000) + second * 1000 - offset * 60_000 + int((match[7] or "0")[:3].ljust(3, "0"))


@dataclass
class TriggerType:
    """One row of `triggers/list`."""

    name: str
    description: str
    retention: dict
    input_schema: dict
    payload_schema: dict
    drains: list
    history: dict | None = None
    initial: bool = False

    def as_json(self):
        more = {**({"history": self.history} if self.history else {}), **({"initial": True} if self.initial else {})}
        return {"name": self.name, "description": self.description, "inputSchema": self.input_schema, "payloadSchema": self.payload_schema,
                "drains": self.drains, "retention": self.retention, "ordering": "arrival", **more}


@dataclass
class Event:
    """An accepted event. `fault` is the reason why it can only be a gap: `invalid`, `too_large`, `redacted`."""

    name: str
    event_id: str
    timestamp: int
    accepted_at: int
    data: object
    scope: str = ""
    audience: list | None = None
    fault: str | None = None
    private: bool = False  # the present state for one log only; not part of the history
    row: int | None = None
    size: int = 0

    def as_json(self):
        return {"eventId": self.event_id, "name": self.name, "timestamp": instant(self.timestamp), "acceptedAt": instant(self.accepted_at), "data": self.data}

    def measure(self):
        """Bytes of UTF-8 of the event's JSON, without `sequence`."""
        self.size = len(compact(self.as_json()).encode())
        return self.size


@dataclass
class Callback:
    """A callback and its health. The URL is used byte for byte as registered (curl-opaque)."""

    url: str
    secret: str
    verified_at: int
    skip_after: int | None = None
    previous: str | None = None
    previous_until: int | None = None
    attempts: int = 0
    config_failures: int = 0
    config_since: int | None = None
    transient_since: int | None = None
    failing_since: int | None = None
    last_error: str | None = None
    last_delivery: int | None = None
    suspended_at: int | None = None
    retry_at: int | None = None
    batch: int | None = None
    probe_at: int | None = None
    probes: int = 0
    checked_at: int = 0

    def parameters(self):
        """What the client sent (subs-same)."""
        return {"url": self.url, "secret": self.secret, **({} if self.skip_after is None else {"skipAfterMs": self.skip_after})}

    def secrets(self, now):
        """The secrets that sign, the new one first; the previous one for five minutes (sig-rotation, sig-rotation-end)."""
        rotating = self.previous is not None and now < self.previous_until
        return [self.secret, self.previous] if rotating else [self.secret]

    def state(self):
        return "suspended" if self.suspended_at is not None else "failing" if self.attempts else "ok"

    def reset(self):
        """The failure counters; `last_error` stays until a success (retry-success)."""
        self.attempts = self.config_failures = self.probes = 0
        self.config_since = self.transient_since = self.failing_since = self.retry_at = None

    def suspend(self, now, category):
        self.last_error = category
        if self.suspended_at is None:
            self.suspended_at, self.probes = now, 0
            self.probe_at = now + 60_000

    def resume(self):
        self.suspended_at = self.probe_at = None
        self.reset()


@dataclass
class Subscription:
    """A subscription, alive or (with `ended`) the tombstone of one."""

    id: str
    owner: str
    key: str
    ordinal: int
    select: list
    retention: dict
    created_at: int
    log: object
    ttl: int | None = None
    expires_at: int | None = None
    version: int = 1
    paused: bool = False
    callback: Callback | None = None
    read_at: int = 0
    permitted_at: int = 0
    ended: str | None = None
    ended_at: int | None = None
    notice_at: int | None = None  # when the notice of the end is due at the callback
    busy: bool = field(default=False, compare=False)  # a request to an endpoint can still be answered (cb-one-lease)

    @property
    def etag(self):
        """Strong, and new with every epoch: a store that lost writes counts the same versions again (etag-config)."""
        return f"{self.log.epoch[:8]}-{self.version}"

    def configuration(self):
        """What the ETag covers, apart from the epoch."""
        return [self.select, self.callback and self.callback.parameters(), self.ttl, self.paused]


class Turns:
    """Lets calls about the same key run one after the other, also while one of them waits for an endpoint (subs-same)."""

    def __init__(self, condition):
        self._condition, self._taken = condition, set()

    def take(self, *names):
        """Call with the lock held. Waits until all names are free."""
        while self._taken & set(names):
            self._condition.wait()
        self._taken |= set(names)

    def give(self, *names):
        self._taken -= set(names)
        self._condition.notify_all()


def background(work):
    threading.Thread(target=work, daemon=True).start()
