"""The methods of the extension. Each one checks in the order of gen-check-order, and checks everything before it changes anything (gen-atomic)."""

import hashlib
import hmac
import random

import destinations
from callback import secret_bytes
from deliveries import heading
from errors import Refusal, invalid, unsupported
from model import Callback, instant, milliseconds, token
from schema import canonical, demand, same
from world import DEFAULT_TTL, MAX_SUSPENDED, MAX_TTL, MIN_TTL, MOST_SUBSCRIPTIONS

EXTENSION, REVISION = "io.modelcontextprotocol/triggers", "2026-12-01"
OPTIONS = {"conditionalReads": "log", "history": "log", "multiSelect": "log", "listChanged": "stream", "pause": "callback", "skip": "callback", "reject": "callback"}
PAGE = 50
PULL_EVENTS, PULL_BYTES, PULL_WAIT_MS = 1_000, 983_040, 25_000  # pull-clamp, pull-bytes
NEXT_POLL_MS = 1_000
ROTATION_MS = 300_000  # sig-rotation
MOST_WAITING = 200  # pulls and streams of one owner, each
FAILED_VERIFICATIONS, FAILURE_WINDOW_MS = 40, 600_000  # of an owner at a host; three times as many of all owners (cbv-rate)

# Which parameters belong to which level or option (subs-unsupported).
FEATURES = {"callback": "callback", "removeCallback": "callback", "resume": "callback", "revokePrevious": "callback", "paused": "pause",
            "since": "history", "ifNoneMatch": "conditionalReads"}


def grant(asked, durable, minimum=MIN_TTL, maximum=MAX_TTL, default=DEFAULT_TTL):
    """The lifetime for a request that suggests one or none; None is no expiry (ttl-clamp, ttl-default, ttl-null)."""
    if asked.get("noExpiry"):
        return None if durable else maximum
    return min(max(asked.get("ttlMs", default), minimum), maximum)


class Methods:
    def __init__(self, world, deliveries, levels, unsafe_loopback=False):
        self.world, self.deliveries, self.levels, self.unsafe_loopback = world, deliveries, levels, unsafe_loopback
        self.options = [name for name, level in OPTIONS.items() if level in levels]
        self.waiting = {}  # how many pulls of each owner wait
        self.failures = {}  # instants of failed verifications, by (owner, host) and by host
        self.table = {
            "triggers/list": ("ListTriggersRequestParams", self.list),
            "triggers/subscribe": ("SubscribeRequestParams", self.subscribe),
            "triggers/update": ("UpdateRequestParams", self.update),
            "triggers/get": ("GetRequestParams", self.get),
            "triggers/subscriptions": ("SubscriptionsRequestParams", self.subscriptions),
            "triggers/unsubscribe": ("UnsubscribeRequestParams", self.unsubscribe),
            "triggers/pull": ("PullRequestParams", self.pull),
            "triggers/ack": ("AckRequestParams", self.ack),
        }
        self.table["triggers/stream"] = ("StreamRequestParams", None)  # see stream.py

    def settings(self):
        """cap-extensions, cap-experimental"""
        bounds = {"minTtlMs": MIN_TTL, "maxTtlMs": MAX_TTL, **({"maxSuspendedMs": MAX_SUSPENDED} if {"durable", "callback"} <= set(self.levels) else {})}
        return {"revision": REVISION, "levels": self.levels, **({"options": self.options} if self.options else {}), **bounds}

    def call(self, method, params, owner):
        """The result of a method, without `resultType`; raises Refusal."""
        self.admit(method, params, owner)
        return self.table[method][1](params, owner)

    def admit(self, method, params, owner):
        """Shape, levels and options, authentication: what needs no state."""
        demand({"$ref": f"#/$defs/{self.table[method][0]}"}, params)
        callback = params.get("callback")
        if callback:
            secret_bytes(callback["secret"])
        if "since" in params:
            try:
                milliseconds(params["since"])
            except ValueError:
                raise invalid("/since", "a date-time that exists") from None
        if method == "triggers/stream" and "stream" not in self.levels:
            raise unsupported("stream")
        for name, feature in FEATURES.items():
            if name in params and feature not in [*self.levels, *self.options]:
                raise unsupported(name)
        if len(params.get("select", ())) > 1 and "multiSelect" not in self.options:
            raise unsupported("multiSelect")
        if callback and "skipAfterMs" in callback and "skip" not in self.options:
            raise unsupported("skipAfterMs")
        if callback and "limits" in callback:
            raise unsupported("limits")
        if owner is None and method != "triggers/list":
            raise Refusal("Forbidden", "authentication")  # iso-principal

    # ------------------------------------------------------------------ what several methods check

    def find(self, subscription_id, owner):
        """The live subscription of this owner. For everybody else it is as if it had never existed (iso-own, iso-not-found)."""
        found = self.world.subscriptions.get(subscription_id)
        if found is None or found.owner != owner:
            raise Refusal("NotFound", "subscription")
        if found.ended:
            final = {"epoch": found.log.epoch, "head": found.log.head, "acked": found.log.acked}
            raise Refusal("NotFound", "subscription", reason=found.ended, final=final)  # end-tombstone
        return found

    def check_select(self, select, owner):
        """subs-unknown-trigger, subs-arguments"""
        visible = {one.name: one for one in self.world.visible(owner)}
        if any(one["name"] not in visible for one in select):
            raise Refusal("NotFound", "trigger")
        for index, selection in enumerate(select):
            demand(visible[selection["name"]].input_schema, selection.get("arguments", {}), f"/select/{index}/arguments")
        return [visible[one["name"]] for one in select]

    def check_url(self, params):
        """Annex C. After existence and arguments: the schema has checked the form, and this is about what may be called."""
        if "callback" in params:
            destinations.check(params["callback"]["url"], self.unsafe_loopback)

    @staticmethod
    def check_drain(types, drain):
        """subs-unsupported: a log can be drained only in the ways that every selected type has."""
        if any(drain not in one.drains for one in types):
            raise unsupported(drain)

    def types_of(self, subscription):
        return [self.world.types[one["name"]] for one in subscription.select if one["name"] in self.world.types]

    @staticmethod
    def check_etag(subscription, params):
        if "ifMatch" in params and params["ifMatch"] != subscription.etag:
            raise Refusal("Conflict", "etag", etag=subscription.etag)  # upd-if-match

    @staticmethod
    def check_position(subscription, position, acknowledging=False):
        """pos-epoch, pos-beyond-head, ack-sent"""
        log = subscription.log
        state = {"epoch": log.epoch, "head": log.head, "acked": log.acked}
        if position["epoch"] != log.epoch:
            raise Refusal("Conflict", "epoch", **state)
        if position["sequence"] > (max(log.sent, log.acked) if acknowledging else log.head):
            raise Refusal("Conflict", "position", **state, sent=log.sent)

    def verify(self, owner, callback, subscription_id, key):
        """Asks a new endpoint, without the lock, and limits how often that fails (subs-verified, cbv-rate)."""
        host, now = destinations.parts(callback["url"])[1], self.world.clock.now()
        with self.world.condition:
            for name, most in (((owner, host), FAILED_VERIFICATIONS), (host, FAILED_VERIFICATIONS * 3)):
                recent = [at for at in self.failures.get(name, ()) if at + FAILURE_WINDOW_MS > now]
                self.failures[name] = recent
                if len(recent) >= most:
                    raise Refusal("ResourceExhausted", "limit", limit="verifications", max=most, retryAfterMs=recent[0] + FAILURE_WINDOW_MS - now)
        category = self.deliveries.challenge(callback["url"], callback["secret"], subscription_id, key)
        if category:
            with self.world.condition:
                for name in ((owner, host), host):
                    self.failures[name].append(now)
            raise Refusal("CallbackEndpointError", "callback", category=category)

    # ------------------------------------------------------------------ what several methods answer

    def shown(self, subscription):
        """A subscription. The grant's members are absent if there is no expiry."""
        log, now = subscription.log, self.world.clock.now()
        left = None if subscription.expires_at is None else max(0, subscription.expires_at - now)
        # ttl-renew-jitter, ttl-renew-hint
        lifetime = {} if left is None else {"ttlMs": subscription.ttl, "expiresAt": instant(subscription.expires_at), "renewAfterMs": int(left * random.uniform(0.5, 0.8))}
        return {
            "subscriptionId": subscription.id, "etag": subscription.etag, "epoch": log.epoch, "key": subscription.key, "select": subscription.select,
            **lifetime,
            "head": log.head, "acked": log.acked, "oldest": log.oldest, "retention": subscription.retention,
            **({"callback": self.callback_shown(subscription, now)} if subscription.callback else {}),
            **({"paused": True} if subscription.paused else {}),
            "createdAt": instant(subscription.created_at),
        }

    def callback_shown(self, subscription, now):
        """sub-no-secret: the origin of the URL, and never the secret."""
        callback = subscription.callback
        return {
            "origin": destinations.origin(callback.url),
            "verifiedAt": instant(callback.verified_at),
            **({"skipAfterMs": callback.skip_after} if callback.skip_after is not None else {}),
            **({"previousSecretUntil": instant(callback.previous_until)} if len(callback.secrets(now)) == 2 else {}),  # sig-rotation-shown
            **self.condition_shown(subscription),
        }

    def condition_shown(self, subscription):
        callback = subscription.callback
        instants = {"lastDeliveryAt": callback.last_delivery, "failingSince": callback.failing_since, "suspendedAt": callback.suspended_at,
                    "endsAt": self.world.ends_at(subscription)}
        shown = {name: instant(at) for name, at in instants.items() if at is not None}
        error = {"lastError": callback.last_error} if callback.last_error else {}
        return {"state": callback.state(), "health": {"attempts": callback.attempts, **shown, **error}}

    # ------------------------------------------------------------------ triggers/list

    def list(self, params, owner):
        with self.world.change():
            rows = [one.as_json() | {"drains": [drain for drain in one.drains if drain in self.drains()]} for one in self.world.visible(owner)]
            if "history" not in self.options:
                rows = [{name: value for name, value in row.items() if name != "history"} for row in rows]
        etag = self.list_etag(owner, rows)
        common = {"etag": etag, "ttlMs": 0, "cacheScope": "private"}  # list-private
        if "cursor" not in params and params.get("ifNoneMatch") == etag:
            return {"notModified": True, **common}  # list-not-modified
        start = self.read_cursor(params, f"list {owner} {etag}")
        more = {"nextCursor": self.cursor(start + PAGE, f"list {owner} {etag}")} if len(rows) > start + PAGE else {}
        return {"triggers": rows[start : start + PAGE], **more, **common}

    def list_etag(self, owner, rows=None):
        """list-etag: what this caller sees, as a hash."""
        rows = [one.as_json() for one in self.world.visible(owner)] if rows is None else rows
        return hashlib.sha256(canonical(rows).encode()).hexdigest()[:32]

    def drains(self):
        return ["pull", *(name for name in ("stream", "callback") if name in self.levels)]

    def cursor(self, number, subject):
        """Only cursors that were given out, to this caller and for this list, are read again."""
        return f"{number}.{hmac.digest(self.world.store.key, f'cursor {subject} {number}'.encode(), hashlib.sha256).hex()[:32]}"

    def read_cursor(self, params, subject):
        number = params.get("cursor", "0").split(".")[0]
        if "cursor" in params and (not number.isdecimal() or len(number) > 16 or params["cursor"] != self.cursor(int(number), subject)):
            raise invalid("/cursor", "the nextCursor of the previous page")
        return int(number)

    # ------------------------------------------------------------------ triggers/subscribe

    def subscribe(self, params, owner):
        name = ("key", owner, params["key"])
        with self.world.condition:
            self.world.turns.take(name)
        try:
            verified, subscription_id = None, "sub_" + token()  # subs-id-first
            while True:
                with self.world.change():
                    result = self.try_subscribe(params, owner, subscription_id, verified)
                if result is not None:
                    return result
                self.verify(owner, params["callback"], subscription_id, params["key"])
                verified = self.world.clock.now()
        finally:
            with self.world.condition:
                self.world.turns.give(name)

    def try_subscribe(self, params, owner, subscription_id, verified):
        """The result, or None if the endpoint has to be asked first. After that, everything is checked again."""
        world = self.world
        select = [{"arguments": {}, **one} for one in params["select"]]
        types = self.check_select(select, owner)
        self.check_url(params)
        if "callback" in params:
            self.check_drain(types, "callback")
        if "since" in params and any(one.history is None for one in types):
            raise unsupported("since")
        existing = next((one for one in world.of_owner(owner) if one.key == params["key"]), None)
        if existing:
            callback = existing.callback and existing.callback.parameters()
            if not same(existing.select, select) or not same(callback, params.get("callback")):
                raise Refusal("Conflict", "key", subscriptionId=existing.id, etag=existing.etag)  # subs-conflict
            # subs-same, ttl-endpoint: a renewal never asks the endpoint.
            before = canonical(existing.configuration())
            self.renew(existing, params)
            self.changed(existing, before)
            return {**self.shown(existing), "created": False}
        if len(world.of_owner(owner)) >= MOST_SUBSCRIPTIONS:
            raise Refusal("ResourceExhausted", "limit", limit="subscriptions", max=MOST_SUBSCRIPTIONS)  # lim-quota-named
        if "callback" in params and verified is None:
            return None
        callback = self.new_callback(params["callback"], verified) if "callback" in params else None
        made = world.create(subscription_id, owner, params["key"], select, callback=callback)
        self.renew(made, params)
        world.begin_with_present_state(made)
        since = {"since": instant(world.begin_with_history(made, milliseconds(params["since"])))} if "since" in params else {}
        world.save(made)
        return {**self.shown(made), "created": True, **since}

    def renew(self, subscription, params):
        subscription.ttl = grant(params, "durable" in self.levels)
        subscription.expires_at = None if subscription.ttl is None else self.world.clock.now() + subscription.ttl
        self.world.save(subscription)

    def changed(self, subscription, before):
        """etag-config: compares the whole configuration, so that what stays the same never counts as a change."""
        if canonical(subscription.configuration()) != before:
            subscription.version += 1
        self.world.save(subscription)

    @staticmethod
    def new_callback(given, verified):
        return Callback(given["url"], given["secret"], verified, given.get("skipAfterMs"), checked_at=verified)

    # ------------------------------------------------------------------ triggers/update

    def update(self, params, owner):
        verified = None
        while True:
            with self.world.change():
                subscription, result = self.try_update(params, owner, verified)
            if result is not None:
                return result
            # Meanwhile the subscription can change or end, so everything is checked again (upd-if-match, end-tombstone).
            self.verify(owner, params["callback"], subscription.id, subscription.key)
            verified = self.world.clock.now()

    def try_update(self, params, owner, verified):
        """The subscription, and its new state or None if the endpoint has to be asked first (upd-verify)."""
        subscription = self.find(params["subscriptionId"], owner)
        select = [{"arguments": {}, **one} for one in params["select"]] if "select" in params else subscription.select
        # iso-scopes: a new selection needs the permission of the request that brings it, and so does a new callback.
        types = self.check_select(select, owner) if "select" in params or "callback" in params else self.types_of(subscription)
        self.check_url(params)
        given, current = params.get("callback"), subscription.callback
        if given or current and "select" in params and "removeCallback" not in params:
            self.check_drain(types, "callback")
        self.check_etag(subscription, params)
        known = given and current and (current.url, current.secret) == (given["url"], given["secret"])
        if given and not known and verified is None:
            return subscription, None
        before = canonical(subscription.configuration())
        if "select" in params:
            subscription.select, subscription.retention = select, self.world.retention_of(select)  # upd-select
        if "ttlMs" in params or "noExpiry" in params:
            self.renew(subscription, params)
        if given:
            self.replace_callback(subscription, given, known, verified)
        if "removeCallback" in params:
            subscription.callback = None  # upd-detach
        if params.get("revokePrevious") and subscription.callback:
            subscription.callback.previous = subscription.callback.previous_until = None  # sig-rotation-end
        if "resume" in params and subscription.callback and subscription.callback.suspended_at is not None:
            subscription.callback.resume()  # upd-resume
        subscription.paused = params.get("paused", subscription.paused)
        self.changed(subscription, before)
        self.world.trim(subscription)
        return subscription, self.shown(subscription)

    def replace_callback(self, subscription, given, known, verified):
        current = subscription.callback
        if current is None or current.url != given["url"]:
            subscription.callback = self.new_callback(given, verified)
            return
        current.skip_after = given.get("skipAfterMs")
        if not known:
            # upd-rotate: the same URL with another secret. The older of two previous ones is dropped (sig-rotation).
            current.previous, current.previous_until = current.secret, self.world.clock.now() + ROTATION_MS
            current.secret, current.verified_at, current.checked_at = given["secret"], verified, verified
            current.resume()  # sub-only-client-resumes

    # ------------------------------------------------------------------ reading and ending

    def get(self, params, owner):
        with self.world.change():
            found = self.find(params["subscriptionId"], owner)
            if params.get("ifNoneMatch") != found.etag:
                return self.shown(found)  # get-full
            log = found.log
            return {
                "notModified": True, "etag": found.etag, "epoch": log.epoch, "head": log.head, "acked": log.acked, "oldest": log.oldest,
                **({"expiresAt": instant(found.expires_at)} if found.expires_at is not None else {}),
                **({"callback": self.condition_shown(found)} if found.callback else {}),
            }  # get-not-modified

    def subscriptions(self, params, owner):
        """list-subs-own: in order of creation; the cursor names the last one shown, because others can end meanwhile."""
        start = self.read_cursor(params, f"subscriptions {owner}")
        with self.world.change():
            mine = sorted((one for one in self.world.of_owner(owner) if one.ordinal > start), key=lambda one: one.ordinal)
            page = mine[:PAGE]
            more = {"nextCursor": self.cursor(page[-1].ordinal, f"subscriptions {owner}")} if len(mine) > PAGE else {}
            return {"subscriptions": [self.shown(one) for one in page], **more}

    def unsubscribe(self, params, owner):
        with self.world.change():
            found = self.find(params["subscriptionId"], owner)
            self.check_etag(found, params)
            self.world.end(found, "unsubscribed")  # uns-ends, end-key-free
            return {}

    def ack(self, params, owner):
        with self.world.change():
            found = self.find(params["subscriptionId"], owner)
            self.check_position(found, params["position"], acknowledging=True)
            self.acknowledge(found, params["position"])
            return {"epoch": found.log.epoch, "acked": found.log.acked, "head": found.log.head}

    def acknowledge(self, subscription, position):
        """log-durable-ack: flushed at the end of the transaction, before the answer."""
        subscription.log.acknowledge(position["sequence"])
        self.was_read(subscription)
        self.world.save(subscription)

    def was_read(self, subscription):
        """end-suspended: reading puts off the end of a subscription whose callback is suspended."""
        if self.world.ends_at(subscription) is not None:
            subscription.read_at = self.world.clock.now()
            self.world.save(subscription)

    # ------------------------------------------------------------------ triggers/pull

    def pull(self, params, owner):
        world, most = self.world, min(params.get("maxEvents", 100), PULL_EVENTS)
        deadline = self.world.clock.now() + min(params.get("waitMs", 0), PULL_WAIT_MS)
        with world.change():
            found = self.find(params["subscriptionId"], owner)
            self.check_drain(self.types_of(found), "pull")
            if "after" in params:
                self.check_position(found, params["after"])
            if "ack" in params:
                # pull-ack-first; nothing is acknowledged if `after` is wrong.
                self.check_position(found, params["ack"], acknowledging=True)
                self.acknowledge(found, params["ack"])
            after = params["after"]["sequence"] if "after" in params else found.log.acked  # pull-after
            waits = most > 0 and after >= found.log.head and params.get("waitMs", 0) > 0
            if waits and self.waiting.get(owner, 0) >= MOST_WAITING:
                raise Refusal("ResourceExhausted", "limit", limit="waitingPulls", max=MOST_WAITING)
        if waits:
            self.wait(found, owner, after, deadline)
        with world.change():
            if found.ended:
                return {**heading(found, after), "hasMore": False, "nextPollMs": 0}  # end-pull
            self.was_read(found)
            if most == 0:
                return self.page(found, heading(found, after), after)  # pull-max
            sent = found.log.sent
            covered = found.log.cover(after, most, PULL_BYTES)
            if found.log.sent != sent:
                world.save(found)  # log-durable-sent
            return self.page(found, heading(found, after, covered.events, covered.gaps), covered.last)

    @staticmethod
    def page(subscription, delivery, last):
        more = last < subscription.log.head
        return {**delivery, "hasMore": more, "nextPollMs": 0 if more else NEXT_POLL_MS}  # pull-has-more

    def wait(self, subscription, owner, after, deadline):
        """pull-wait: until there is a number, the subscription ends, or the time has passed."""
        condition = self.world.condition
        with condition:
            self.waiting[owner] = self.waiting.get(owner, 0) + 1
            while not subscription.ended and after >= subscription.log.head and self.world.clock.now() < deadline:
                condition.wait(max(0.001, (deadline - self.world.clock.now()) / 1000))
            self.waiting[owner] -= 1
