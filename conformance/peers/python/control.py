"""The control interface, for tests only: docs/conformance.md, "Testing a server". The kit's proxy adds crash, remember and lose."""

import base64
import hashlib
import hmac
import http.server
import json
import time
import traceback

import destinations
from errors import Refusal
from model import DAY, HOUR, TriggerType, compact, milliseconds

PRINCIPALS = {  # iss, sub, client_id (iso-iss-sub)
    "main": ("https://a.example", "user", "app"),
    "other": ("https://a.example", "another", "app"),
    "stranger": ("https://a.example", "stranger", "app"),
    "namesake": ("https://b.example", "user", "app"),
    "sibling": ("https://a.example", "user", "app-2"),
}
OWNERS = {name: compact(triple) for name, triple in PRINCIPALS.items()}
TEXT, TOPIC = {"type": "string"}, {"topic": {"type": "string", "description": "Admits the events with this topic."}}


def trigger_type(name, **more):
    input_schema = {"type": "object", "properties": TOPIC, "additionalProperties": False}
    payload = {"type": "object", "properties": {"topic": TEXT, "n": {"type": "integer"}, "pad": TEXT}, "required": ["topic", "n"], "additionalProperties": False}
    defaults = {"retention": {"maxAgeMs": DAY, "maxEvents": 1_000}, "drains": ["callback", "stream", "pull"], "input_schema": input_schema}
    return TriggerType(name=name, description="Events for the conformance kit.", payload_schema=payload, **{**defaults, **more})


def conformance_types():
    with_topic = {"type": "object", "properties": TOPIC, "required": ["topic"], "additionalProperties": False}
    history = {"maxAgeMs": HOUR}
    return {
        "plain": trigger_type("conformance.plain"),
        "history": trigger_type("conformance.history", history=history),
        "short": trigger_type("conformance.short", retention={"maxAgeMs": HOUR, "maxEvents": 20, "maxBytes": 1_000_000}, history=history),
        "pullOnly": trigger_type("conformance.pull_only", drains=["pull"]),
        "initial": trigger_type("conformance.initial", initial=True, input_schema=with_topic),
    }


def tokens(key):
    """Tokens that a restart does not change."""
    names = {name: hmac.digest(key, f"token {name}".encode(), hashlib.sha256) for name in PRINCIPALS}
    return {name: base64.urlsafe_b64encode(digest).decode().rstrip("=") for name, digest in names.items()}


class Control:
    def __init__(self, world, tokens_):
        self.world, self.tokens = world, tokens_
        self.verbs = {"emit": self.emit, "unwatch": self.unwatch, "advance": self.advance, "permit": self.permit, "redact": self.redact,
                      "remove": self.remove, "declare": self.declare}
        for one in world.types:
            world.denied.add((OWNERS["stranger"], one))

    def offer(self):
        return {"verbs": list(self.verbs), "types": {use: one.name for use, one in conformance_types().items()}, "tokens": self.tokens,
                "names": {"inside": destinations.INSIDE}, "aheadMs": self.world.clock.ahead_ms}

    def emit(self, events):
        with self.world.change():
            for one in events:
                if one["name"] not in self.world.types:
                    print("an event of a trigger type that this server does not offer", flush=True)  # type-unknown-event
                    continue
                timestamp = milliseconds(one["timestamp"]) if "timestamp" in one else None
                audience = [OWNERS[name] for name in one["audience"]] if "audience" in one else None
                self.world.accept(one["name"], one["data"], one.get("eventId"), timestamp, one.get("scope", ""), audience)

    def unwatch(self, name, arguments=None):
        with self.world.change():
            self.world.unwatched(name, arguments or {})

    def advance(self, ms):
        with self.world.condition:
            self.world.clock.ahead_ms += ms
        with self.world.change():
            self.world.store.set_meta("advanced", str(self.world.clock.ahead_ms))
        time.sleep(0.02)  # what is due begins in other threads

    def permit(self, principal, name, allowed, told=True):
        with self.world.change():
            self.world.permit(OWNERS[principal], name, allowed, told)
            self.world.store.set_meta("touched", "")  # wakes streams, whose list has changed

    def redact(self, name, eventId):
        with self.world.change():
            self.world.redact(name, eventId)

    def remove(self, name, reason):
        with self.world.change():
            self.world.remove(name, reason)
            self.world.store.set_meta("touched", "")

    def declare(self, name):
        with self.world.change():
            self.world.types[name] = trigger_type(name)
            self.world.denied.add((OWNERS["stranger"], name))
            self.world.store.set_meta("touched", "")


def handler(control):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer(200, control.offer())

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            verb = control.verbs.get(body.pop("do", None))
            if verb is None:
                return self.answer(400, {"error": "unknown_verb", "message": "this server has no such verb"})
            try:
                verb(**body)
                return self.answer(200, {})
            except (TypeError, KeyError, ValueError, Refusal):
                traceback.print_exc()
                return self.answer(400, {"error": "invalid", "message": "the members do not fit the verb"})
            except Exception:
                traceback.print_exc()
                return self.answer(500, {"error": "failed", "message": "the verb failed"})

        def answer(self, status, message):
            data = compact(message).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
