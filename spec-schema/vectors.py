#!/usr/bin/env python3
"""Runs the test vectors with Python's standard library alone.

A second reading of the specification: every rule below was written from the text of sep/0000-triggers.md, in another language than the
reference implementation, and has to come to the same verdicts. Families that need Ed25519 are left out, because the standard library has none.

    python3 spec-schema/vectors.py            # all families; exit code 1 if any case differs
    python3 spec-schema/vectors.py log        # families with "log" in their name
"""

import base64
import binascii
import calendar
import hashlib
import hmac
import ipaddress
import json
import pathlib
import re
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent / "draft" / "vectors"
NEEDS_ED25519 = {"callback-url-token", "delivery-jws"}
MAX = 2**53 - 1


class Refused(Exception):
    """What the vector calls invalid; the argument is the reason where there are several."""


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


# ------------------------------------------------------------------ messages to callbacks


def webhook_id(case):
    gaps = ",".join(f"{gap['from']}-{gap['to']}" for gap in case["gaps"])
    fields = [case["subscriptionId"], case["epoch"], str(case["afterSequence"]), str(case["last"]), gaps]
    made = "msg_" + base64url(hashlib.sha256("\n".join(fields).encode()).digest())[:32]
    if made != case["webhookId"]:
        raise Refused("another id")
    return {}


def secret_bytes(secret):
    if not secret.startswith("whsec_"):
        raise Refused("secret_malformed")
    try:
        data = base64.b64decode(secret[6:], validate=True)
    except binascii.Error:
        raise Refused("secret_malformed")
    if not 24 <= len(data) <= 64 or base64.b64encode(data).decode() != secret[6:]:
        raise Refused("secret_malformed")
    return data


def signature(case):
    keys = [secret_bytes(secret) for secret in case["secrets"]]
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    if any(name not in case["headers"] for name in names):
        raise Refused("missing_header")
    message_id, timestamp, header = (case["headers"][name] for name in names)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", message_id):
        raise Refused("malformed_id")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise Refused("malformed_timestamp")
    entries = header.split(" ")
    if len(header) > 4096 or len(entries) > 10:
        raise Refused("malformed_signature")
    if abs(case["nowMs"] - int(timestamp) * 1000) > 300_000:
        raise Refused("stale")
    content = f"{message_id}.{timestamp}.".encode() + base64.b64decode(case["bodyBase64"])
    expected = ["v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    if not any(hmac.compare_digest(one.encode(), other.encode()) for one in entries for other in expected):
        raise Refused("no_match")
    return {}


def challenge_proof(case):
    proof = base64.b64encode(hmac.new(secret_bytes(case["secret"]), b"challenge." + case["challenge"].encode(), hashlib.sha256).digest()).decode()
    answer = case["answer"]
    if answer.get("challenge") != case["challenge"] or answer.get("proof") != proof:
        raise Refused("challenge_failed")
    return {}


def coverage(case):
    delivery = case["delivery"]
    gaps = delivery.get("gaps", [])
    if any(gap["to"] < gap["from"] for gap in gaps):
        raise Refused("a gap ends before it starts")
    events = [(event["sequence"], event["sequence"]) for event in delivery["events"]]
    runs = [(gap["from"], gap["to"]) for gap in gaps]
    if events != sorted(events) or runs != sorted(runs):
        raise Refused("order")
    last = delivery["afterSequence"]
    for start, end in sorted(events + runs):
        if start != last + 1:
            raise Refused("a number is missing or comes twice")
        last = end
    if last > delivery["head"] or delivery["acked"] > delivery["head"]:
        raise Refused("above head")
    return {"last": last}


def apply(case):
    delivery, left, told = case["delivery"], set(case["left"]), []
    epoch, sequence = case["applied"]["epoch"], case["applied"]["sequence"]

    def result(refused=None, **more):
        made = {"told": told, "applied": {"epoch": epoch, "sequence": sequence}, **more}
        return {"expected": made if refused is None else {**made, "refused": refused}, "verdict": "valid" if refused is None else "invalid"}

    if delivery["epoch"] in left:
        return result("left")
    if delivery["epoch"] != epoch:
        told.append({"told": "lost", "epoch": epoch, "sequence": sequence})
        epoch, sequence = delivery["epoch"], 0
    if delivery["afterSequence"] > sequence:
        if delivery["afterSequence"] > delivery["acked"]:
            return result("missing")
        told.append({"told": "elsewhere", "from": sequence + 1, "to": delivery["afterSequence"]})
        sequence = delivery["afterSequence"]
    last = delivery["afterSequence"]
    parts = [(event["sequence"], event["sequence"], None) for event in delivery["events"]]
    parts += [(gap["from"], gap["to"], gap["reason"]) for gap in delivery.get("gaps", [])]
    for start, end, reason in sorted(parts):
        last = end
        if end <= sequence:
            continue
        told.append({"told": "event", "sequence": end} if reason is None else {"told": "gap", "from": max(start, sequence + 1), "to": end, "reason": reason})
        sequence = end
    return result(ackSequence=min(sequence, last))


# ------------------------------------------------------------------ lifetime


TEN_YEARS_MS = 315_576_000_000


def ttl_grant(case):
    policy, wanted = case["policy"], case.get("ttlMs", case["policy"]["defaultMs"])
    if not is_integer(wanted) or not 1 <= wanted <= TEN_YEARS_MS:
        raise Refused("InvalidParams")
    if case.get("noExpiry") and policy["allowNoExpiry"]:
        return {"expected": {}}
    granted = policy["maxMs"] if case.get("noExpiry") else min(max(wanted, policy["minMs"]), policy["maxMs"])
    return {"expected": {"ttlMs": granted, "renewAfterMs": {"from": granted * 5 // 10, "below": granted * 8 // 10}}}


# ------------------------------------------------------------------ answers

CONFIG = set(range(300, 400)) | {400, 401, 403, 404, 415, 422}
DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")


def retry_after_ms(text, now_ms):
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+", text.strip()):
        return min(3_600_000, int(text) * 1000)
    for form in DATES:
        try:
            at = calendar.timegm(time.strptime(text.strip(), form)) * 1000
        except ValueError:
            continue
        return min(3_600_000, max(0, at - now_ms))
    return None


def acceptable(ack, reject, after, to):
    if not is_integer(ack) or not after <= ack <= to:
        return False
    if reject is not None:
        return reject == ack + 1 and reject <= to
    return ack > after or after == to


def classify(answer, sent, now_ms):
    status, body = answer["status"], answer.get("body")
    if 200 <= status <= 299:
        ack = body.get("ackSequence") if isinstance(body, dict) else None
        reject = body.get("reject", {}) if isinstance(body, dict) else {}
        number = reject.get("sequence") if isinstance(reject, dict) else None
        understood = isinstance(body, dict) and ("reject" not in body or is_integer(number))
        if understood and acceptable(ack, number, sent["afterSequence"], sent["last"]):
            return {"kind": "acked", "ackSequence": ack, "reject": number}
        return {"kind": "transient", "category": "no_ack", "retryAfterMs": None}
    if status in CONFIG:
        return {"kind": "config", "category": "http_4xx"}
    if status == 410:
        return {"kind": "gone"}
    if status == 413:
        return {"kind": "too_large"}
    wish = retry_after_ms(answer.get("retryAfter"), now_ms) if status in (429, 503) else None
    return {"kind": "transient", "category": "http_4xx" if 400 <= status <= 499 else "http_5xx", "retryAfterMs": wish}


def callback_answer(case, file):
    outcome = classify(case["answer"], case["sent"], file["nowMs"])
    return {"expected": outcome, "verdict": "valid" if outcome["kind"] == "acked" else "invalid"}


# ------------------------------------------------------------------ the log


class Log:
    """One log with a callback, as the section "The log" and the sections on its drains describe it."""

    def __init__(self, given, now):
        self.now, self.epoch = now, "epoch-one"
        self.head, self.acked, self.sent = given.get("head", 0), given.get("acked", 0), given.get("sent", 0)
        self.floor = given.get("floor", 0)
        self.suspended, self.skip_after = given.get("suspended", False), given.get("skipAfterMs")
        self.most = given.get("retention", {}).get("maxEvents", 10_000)
        health = given.get("health", {})
        self.failures, self.config_failures = health.get("attempts", 0), health.get("configFailures", 0)
        self.config_since, self.transient_since = health.get("configFailingSince"), health.get("transientSince")
        self.failing_since, self.last_error = health.get("failingSince"), health.get("lastError")
        self.attempt, self.attempts, self.retry_at, self.batch_limit, self.callback, self.ended = None, 0, None, None, True, False

    def append(self, count, **_):
        room = min(count, MAX - self.head)
        if room < count:
            self.ended = True
            return [{"type": "terminated", "reason": "failed"}]
        self.head += count
        # Trimming has slack, so that not every event trims: a tenth, at least 64.
        if self.head - self.floor > self.most + max(64, self.most // 10):
            self.floor = self.head - self.most
            return [{"type": "trim", "upTo": self.floor}]
        return []

    def claim(self, to, events, first, **_):
        free = self.callback and self.attempt is None
        if to == self.acked:
            allowed = free
        else:
            waiting = self.retry_at is not None and self.retry_at > self.now
            allowed = free and not self.suspended and not waiting and self.acked < to <= self.head
        if not allowed:
            raise Refused("not_deliverable")
        self.attempts += 1
        self.attempt = {"id": self.attempts, "after": self.acked, "to": to, "events": events, "first": first}
        self.sent, self.retry_at = max(self.sent, to), None
        return [{"type": "attempt", "id": self.attempts, "after": self.acked, "to": to}]

    def answer(self, attempt, outcome, **_):
        if self.attempt is None or self.attempt["id"] != attempt:
            raise Refused("stale_attempt")
        sent, self.attempt = self.attempt, None
        kind = outcome["kind"]
        if kind == "acked":
            if acceptable(outcome["ack"], outcome["reject"], sent["after"], sent["to"]):
                return self.acknowledged(sent, outcome["ack"], outcome["reject"])
            return self.failed(sent, "no_ack", False)
        if kind == "gone":
            self.suspended, self.last_error = True, "gone"
            return []
        if kind == "too_large":
            if sent["events"] == 0:
                return self.failed(sent, "http_4xx", True)
            if sent["events"] > 1:
                self.batch_limit = sent["events"] // 2
                return []
            self.batch_limit, self.last_error = 1, "http_4xx"
            return self.skip(sent, "too_large")
        return self.failed(sent, outcome["category"], kind == "config")

    def acknowledged(self, sent, ack, reject):
        # Rejecting what this delivery reported as a gap says that the report was read.
        known = reject is not None and ack == sent["after"] and reject != sent["first"]
        self.acked = max(self.acked, reject if known else ack)
        self.failures = self.config_failures = 0
        self.failing_since, self.transient_since = None, None
        self.retry_at = self.now + 100 if self.acked < sent["to"] else None
        if not self.suspended:
            self.last_error = None
        if reject is not None and reject > max(self.acked, self.floor):
            return [{"type": "gap", "from": reject, "to": reject, "reason": "rejected"}]
        return []

    def failed(self, sent, category, config):
        self.failures += 1
        self.config_since = (self.now if self.config_failures == 0 else self.config_since) if config else None
        self.transient_since = None if config else self.now if self.transient_since is None else self.transient_since
        self.config_failures = self.config_failures + 1 if config else 0
        self.failing_since = self.now if self.failing_since is None else self.failing_since
        self.last_error = category
        self.retry_at = self.now + min(300_000, 1000 * 2 ** (self.failures - 1))
        stuck = not config and self.skip_after is not None and self.now - self.transient_since >= self.skip_after
        # The report of a gap cannot be skipped.
        if stuck and sent["first"] is not None:
            self.retry_at = None
            return self.skip(sent, "skipped")
        misplaced = self.config_failures >= 5 and self.now - self.config_since >= 600_000
        if misplaced or self.now - self.failing_since >= 86_400_000:
            self.retry_at = None
            self.suspended = True
        return []

    def skip(self, sent, reason):
        self.failures = self.config_failures = 0
        self.failing_since = self.transient_since = None
        if sent["first"] <= max(self.acked, self.floor):
            return []
        return [{"type": "gap", "from": sent["first"], "to": sent["first"], "reason": reason}]

    def drain(self, after, to, **_):
        # What starts above `sent` leaves out numbers, so it does not raise the bound.
        if after <= self.sent:
            self.sent = max(self.sent, to)
        return []

    def verified(self, ok, **_):
        if ok and self.suspended:
            self.suspended, self.failures, self.config_failures, self.failing_since, self.transient_since = False, 0, 0, None, None
        if not ok and not self.suspended:
            self.suspended, self.last_error = True, "challenge_failed"
        return []

    def ack(self, position, **_):
        if position["epoch"] != self.epoch:
            raise Refused("epoch")
        if not is_integer(position["sequence"]) or position["sequence"] > self.sent:
            raise Refused("position")
        self.acked = max(self.acked, position["sequence"])
        return []

    def trim(self, upTo, **_):
        if upTo <= self.floor:
            return []
        self.floor = min(upTo, self.head)
        return [{"type": "trim", "upTo": self.floor}]

    def rotate(self, epoch, **_):
        by = self.acked
        self.epoch, self.head, self.acked, self.sent, self.floor = epoch, self.head - by, 0, 0, max(0, self.floor - by)
        self.attempt = None
        return [] if by == 0 else [{"type": "trim", "upTo": by}, {"type": "renumber", "by": by}]

    def recover(self, **_):
        self.attempt = None
        return []

    def tick(self, afterMs=0, **_):
        self.now += afterMs
        return []

    def shows(self, member):
        return {
            "state": "suspended" if self.suspended else "failing" if self.failures else "ok", "oldest": self.floor + 1, "lastError": self.last_error,
            "batchLimit": self.batch_limit, "callback": self.callback, "epoch": self.epoch, "head": self.head, "acked": self.acked, "sent": self.sent,
        }[member]


def log(case, file):
    state, effects, refused = Log(case["given"], file["nowMs"]), [], None
    for given in case["inputs"]:
        try:
            effects = getattr(state, given["type"])(**{name: value for name, value in given.items() if name != "type"})
            refused = None
        except Refused as why:
            effects, refused = [], str(why)
    shown = {name: state.shows(name) for name in case["expected"] if name not in ("effects", "refused")}
    made = {**shown, "effects": effects, **({} if refused is None else {"refused": refused})}
    return {"expected": made, "verdict": "valid" if refused is None else "invalid"}


# ------------------------------------------------------------------ where a callback may go

# What is not to be reached, whatever the registries of IANA say of parts of it (SEP: Destination rules).
REFUSED_NETWORKS = [ipaddress.ip_network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
    "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)]
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
REFUSED_NETWORKS_6 = [ipaddress.ip_network(text) for text in (
    "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)]


def may_be_reached(text):
    """An address as a resolver gives it."""
    if "%" in text:
        return False
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 4:
        return not any(address in network for network in REFUSED_NETWORKS)
    if address.ipv4_mapped is not None:
        return may_be_reached(str(address.ipv4_mapped))
    return address in GLOBAL_UNICAST and not any(address in network for network in REFUSED_NETWORKS_6)


def callback_address(case):
    # Every address of a name has to be one that may be reached: which one is taken is not ours to choose.
    if not case["addresses"] or not all(map(may_be_reached, case["addresses"])):
        raise Refused("destination")
    return {}


# ------------------------------------------------------------------ ETags


def subscription_etag(case):
    """Which of the observations have the same ETag: each is followed by what happened before the next."""
    covered = {"select", "callback", "secret", "ttlMs", "paused", "skipAfterMs", "epoch"}
    state, versions, groups = dict(case["given"]), 0, [0]
    for change in case["steps"]:
        different = {name for name, value in change.items() if state.get(name) != value}
        state.update(change)
        versions += 1 if different & covered else 0
        groups.append(versions)
    return {"etags": groups}


# ------------------------------------------------------------------ to and from SEP-3415

SKETCH_CODES = {"NotFound": -32011, "Forbidden": -32012, "ResourceExhausted": -32013, "Unsupported": -32014, "CallbackEndpointError": -32015}
SEP_CODES = {"NotFound": -32023, "Forbidden": -32024, "ResourceExhausted": -32025, "Unsupported": -32026, "CallbackEndpointError": -32027}
MODES = {"callback": "webhook", "stream": "push", "pull": "poll"}
EXTENSION = "io.modelcontextprotocol/triggers"


def said(profile, name, data):
    return {"code": -32602 if name == "InvalidParams" else (SEP_CODES if profile == "sep" else SKETCH_CODES)[name], "data": data}


def events_path(path):
    path = re.sub(r"^/select/0/", "/", path)
    return re.sub(r"^/callback(?=/|$)", "/delivery", path)


def events_data(name, data):
    if name == "NotFound":
        return {"kind": "event" if data["kind"] == "trigger" else data["kind"]}
    if name == "Forbidden":
        return {"kind": {"permission": "event", "authentication": "principal"}[data["kind"]]}
    if name == "Unsupported" and data["feature"] in MODES:
        return {"feature": "deliveryMode", "value": MODES[data["feature"]]}
    if name == "CallbackEndpointError":
        return {"reason": "challenge_failed" if data["category"] == "no_ack" else data["category"]}
    if name == "InvalidParams":
        return {"path": events_path(data["path"]), "expected": data["expected"]}
    if name == "ResourceExhausted":
        return {member: value for member, value in data.items() if member != "kind"}
    return data


ENDINGS = {
    "trigger_removed": ("NotFound", {"kind": "event"}), "schema_changed": ("Unsupported", {"feature": "payloadSchema", "reason": "schema_changed"}),
    "revoked": ("Forbidden", {"reason": "revoked"}),
}


def events_mapping(case):
    if "event" in case:
        event, at = case["event"], case["log"]
        number = {"subscriptionId": at["subscriptionId"], "epoch": at["epoch"], "sequence": event["sequence"], "head": at["head"], "acceptedAt": event["acceptedAt"]}
        shown = {name: value for name, value in event.items() if name not in ("sequence", "acceptedAt", "_meta")}
        return {"occurrence": {**shown, "_meta": {**event.get("_meta", {}), EXTENSION: number}}}
    if "reason" in case:
        return {"error": said(case["profile"], *ENDINGS[case["reason"]]) if case["reason"] in ENDINGS else None}
    if "error" in case:
        return {"error": said(case["profile"], case["name"], events_data(case["name"], case["data"]))}
    number = case["occurrence"].get("_meta", {}).get(EXTENSION, {})
    if not is_integer(number.get("sequence")) or number["sequence"] < 1 or not all(isinstance(number.get(name), str) for name in ("subscriptionId", "epoch")):
        return {"number": None, "verdict": "invalid"}
    return {"number": {name: number[name] for name in ("subscriptionId", "epoch", "sequence")}}


FAMILIES = {
    "webhook-id": webhook_id, "standard-webhooks-signature": signature, "challenge-proof": challenge_proof,
    "delivery-coverage": coverage, "delivery-apply": apply, "ttl-grant": ttl_grant, "callback-answer": callback_answer, "log": log, "callback-address": callback_address,
    "subscription-etag": subscription_etag, "events-mapping": events_mapping,
}


def differences(case, file, run):
    """What Python makes of a case where the vector says something else; empty = they agree."""
    try:
        made = run(case, file) if run.__code__.co_argcount == 2 else run(case)
        made = {"verdict": "valid", **made}
    except Refused as why:
        made = {"verdict": "invalid", **({"reason": str(why)} if "reason" in case else {})}
    return {name: (value, case.get(name)) for name, value in made.items() if name in case and value != case[name] or name == "verdict" and value != case["verdict"]}


def main(wanted):
    failed = 0
    for path in sorted(FOLDER.glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        family, cases = file["family"], file["cases"]
        if wanted and wanted not in family:
            continue
        if family not in FAMILIES:
            reason = "needs Ed25519" if family in NEEDS_ED25519 else "not read here"
            print(f"{family:30} left out: {reason}")
            failed += 0 if family in NEEDS_ED25519 else 1
            continue
        wrong = 0
        for case in cases:
            found = differences(case, file, FAMILIES[family])
            if found:
                wrong += 1
                for name, (made, stated) in found.items():
                    print(f"{family} {case['id']} ({case['comment']}): {name} is {json.dumps(made)} here and {json.dumps(stated)} in the vector")
        print(f"{family:30} {len(cases) - wrong} passed, {wrong} failed")
        failed += wrong
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
