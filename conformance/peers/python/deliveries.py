"""Drains logs to callbacks: when an attempt is due, what it carries, and what its answer changes."""

import random

from callback import BODY_LIMIT, MOST_EVENTS, meaning, is_proof, webhook_id
from model import DAY, HOUR, background, instant, token

EVENT_BYTES = BODY_LIMIT - 16_384  # the rest is for the members of the delivery and for its gaps
MINUTE = 60_000


def heading(subscription, after, events=(), gaps=()):
    """A delivery, the same object on every drain (dlv-same-object)."""
    log = subscription.log
    return {
        "subscriptionId": subscription.id,
        "key": subscription.key,
        "epoch": log.epoch,
        "afterSequence": after,
        "events": [{"sequence": number, **event.as_json()} for number, event in events],
        **({"gaps": list(gaps)} if gaps else {}),
        "head": log.head,
        "acked": log.acked,
        "etag": subscription.etag,
        **({"expiresAt": instant(subscription.expires_at)} if subscription.expires_at is not None else {}),
        # end-last: the last delivery covers no number.
        **({"terminated": {"reason": subscription.ended}} if subscription.ended else {}),
    }


class Deliveries:
    """One thread looks for what is due; every request has a thread of its own."""

    def __init__(self, world, caller):
        self.world, self.caller = world, caller

    def start(self):
        background(self._run)

    def _run(self):
        world = self.world
        while True:
            with world.change():
                for subscription in list(world.subscriptions.values()):
                    self._begin(subscription)
            with world.condition:
                wake = min([at for at in map(self.due_at, world.subscriptions.values()) if at is not None] + [world.next_instant() or world.clock.now() + MINUTE])
                world.condition.wait(max(0.005, min(1.0, (wake - world.clock.now()) / 1000)))

    # ------------------------------------------------------------------ what is due

    def due_at(self, subscription):
        """When this subscription's next request is due; None if there is none, or one can still be answered (cb-one-lease)."""
        callback = subscription.callback
        if callback is None or subscription.busy:
            return None
        if subscription.ended:
            return subscription.notice_at
        if callback.suspended_at is not None:
            return callback.probe_at  # retry-suspend
        checks = [callback.checked_at + DAY] if subscription.expires_at is None else []
        if subscription.log.acked < subscription.log.head and not subscription.paused:  # sub-paused
            checks.append(callback.retry_at or 0)
        return min(checks, default=None)

    def _begin(self, subscription):
        at, now = self.due_at(subscription), self.world.clock.now()
        if at is None or at > now:
            return
        callback = subscription.callback
        subscription.busy = True
        if subscription.ended:
            self._notify(subscription, callback)
        elif callback.suspended_at is not None or callback.checked_at + DAY <= now and subscription.expires_at is None:
            self._probe(subscription, callback)
        else:
            self._attempt(subscription, callback, now)

    def _in_background(self, subscription, ask, then):
        """Makes a request without the lock, and handles its answer with it."""

        def work():
            answer = ask()
            with self.world.change():
                subscription.busy = False
                # The subscription can have been loaded anew, or have been forgotten.
                if self.world.subscriptions.get(subscription.id) is subscription:
                    then(answer)
                self.world.condition.notify_all()

        background(work)

    # ------------------------------------------------------------------ deliveries

    def _attempt(self, subscription, callback, now):
        log = subscription.log
        covered = log.cover(log.acked, min(MOST_EVENTS, callback.batch or MOST_EVENTS), EVENT_BYTES)  # cb-start
        self.world.save(subscription)  # `sent`, which is flushed before the request is made (log-durable-sent)
        self.world.store.commit()
        params = heading(subscription, covered.after, covered.events, covered.gaps)
        message_id = webhook_id(subscription.id, log.epoch, covered.after, covered.last, covered.gaps)
        signed = callback.secrets(now)
        self._in_background(
            subscription,
            lambda: self.caller.post(callback.url, signed, message_id, subscription.id, params),
            lambda answer: self._answered(subscription, callback, signed, covered, answer),
        )

    def _answered(self, subscription, callback, signed, covered, answer):
        # ans-current-only
        known = [callback.secret, callback.previous]
        if subscription.ended or subscription.callback is not callback or any(one not in known for one in signed):
            return
        now = self.world.clock.now()
        outcome = meaning(covered.after, covered.last, answer, now)
        getattr(self, f"_{outcome['kind']}")(subscription, callback, covered, outcome, now)
        self.world.save(subscription)

    def _acked(self, subscription, callback, covered, outcome, now):
        number, rejected = outcome["ackSequence"], outcome["reject"]
        callback.reset()  # retry-success
        callback.last_delivery = now
        if callback.suspended_at is None:
            callback.last_error = None
        callback.batch = None if callback.batch is None or callback.batch * 2 >= MOST_EVENTS else callback.batch * 2
        if rejected is not None and covered.gap_at(rejected):
            number = rejected  # ans-reject-gap
        elif rejected is not None:
            self.world.close(subscription, rejected, "rejected")  # ans-reject
        subscription.log.acknowledge(number)
        if number < covered.last and rejected is None:
            callback.retry_at = now + 100  # ans-partial

    def _gone(self, subscription, callback, covered, outcome, now):
        callback.suspend(now, "gone")  # ans-gone

    def _too_large(self, subscription, callback, covered, outcome, now):
        """ans-413: fewer events, then a gap."""
        if not covered.events:
            return self._failed(subscription, callback, covered, "http_4xx", now, configuration=True)
        if len(covered.events) > 1:
            callback.batch = len(covered.events) // 2
            return None
        callback.batch, callback.last_error = 1, "http_4xx"
        callback.reset()
        return self.world.close(subscription, covered.events[0][0], "too_large")

    def _config(self, subscription, callback, covered, outcome, now):
        self._failed(subscription, callback, covered, outcome["category"], now, configuration=True)

    def _transient(self, subscription, callback, covered, outcome, now):
        self._failed(subscription, callback, covered, outcome["category"], now, retry_after=outcome["retryAfterMs"])

    def _failed(self, subscription, callback, covered, category, now, configuration=False, retry_after=None):
        callback.attempts += 1
        callback.last_error = category
        callback.failing_since = callback.failing_since if callback.failing_since is not None else now
        # ans-retry-after, retry-backoff, retry-cap
        callback.retry_at = now + max(retry_after or 0, random.uniform(0, min(300_000, 1000 * 2 ** min(callback.attempts - 1, 20))))
        if configuration:
            callback.config_since = callback.config_since if callback.config_failures else now
            callback.config_failures += 1
            callback.transient_since = None
        else:
            callback.config_failures = 0
            callback.transient_since = callback.transient_since if callback.transient_since is not None else now
            held_up = callback.skip_after is not None and now - callback.transient_since >= callback.skip_after
            if held_up and covered.events:
                callback.reset()
                return self.world.close(subscription, covered.events[0][0], "skipped")  # retry-skip
        misplaced = callback.config_failures >= 5 and now - callback.config_since >= 10 * MINUTE  # retry-config-limit
        if misplaced or now - callback.failing_since >= DAY:  # retry-time-limit
            callback.suspend(now, category)
        return None

    # ------------------------------------------------------------------ challenges

    def challenge(self, url, secret, subscription_id, key):
        """Asks an endpoint to prove that it knows the secret; returns the failure category or None. Exactly one request (cbv-one-request)."""
        text = token()  # cbv-challenge
        params = {"subscriptionId": subscription_id, "key": key, "challenge": text}
        answer = self.caller.post(url, [secret], webhook_id(subscription_id, "", 0, 0, []), subscription_id, params)
        if answer.category:
            return answer.category
        if 200 <= answer.status <= 299:
            return None if is_proof(secret, text, answer.body) else "challenge_failed"  # cbv-proof
        outcome = meaning(0, 0, answer, self.world.clock.now())
        return {"gone": "gone", "too_large": "http_4xx"}.get(outcome["kind"]) or outcome["category"]

    def _probe(self, subscription, callback):
        """cbv-daily and retry-probe"""
        secret = callback.secret

        def then(category):
            now = self.world.clock.now()
            if subscription.ended or subscription.callback is not callback or callback.secret != secret:
                return
            callback.checked_at = now
            if category is None:
                callback.verified_at = now
                if callback.suspended_at is not None:
                    callback.resume()  # sub-resume-continues
            elif callback.suspended_at is None:
                callback.suspend(now, category)
            else:
                callback.probes += 1
                callback.probe_at = now + min(HOUR, MINUTE * 2 ** min(callback.probes, 10))
            self.world.save(subscription)

        self._in_background(subscription, lambda: self.challenge(callback.url, secret, subscription.id, subscription.key), then)

    # ------------------------------------------------------------------ the end

    def _notify(self, subscription, callback):
        """end-callback: until an answer is 2xx, for as long as the tombstone lives."""
        params = heading(subscription, subscription.log.acked)
        signed = callback.secrets(self.world.clock.now())

        def then(answer):
            if not answer.category and 200 <= answer.status <= 299:
                subscription.notice_at = subscription.callback = None
            else:
                callback.attempts += 1
                wait = random.uniform(0, min(300_000, 1000 * 2 ** min(callback.attempts - 1, 20)))
                subscription.notice_at = self.world.clock.now() + int(wait)
            self.world.save(subscription)

        message_id = webhook_id(subscription.id, subscription.log.epoch, 0, 0, [])
        self._in_background(subscription, lambda: self.caller.post(callback.url, signed, message_id, subscription.id, params), then)
