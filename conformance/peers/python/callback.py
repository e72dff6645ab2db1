"""Requests to callbacks: signature, answers, one attempt over HTTP. Nothing here knows subscriptions; `deliveries.py` does."""

import base64
import binascii
import calendar
import hashlib
import hmac
import http.client
import json
import re
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass

import destinations
from errors import invalid
from model import compact

BODY_LIMIT = 262_144  # cb-body-limit
ANSWER_LIMIT = 8_192  # cb-answer-limit
DEADLINE_MS = 10_000  # cb-deadline
MOST_EVENTS = 100  # cb-batch


# ------------------------------------------------------------------ secrets and signatures


def secret_bytes(secret):
    """The key of a secret; refuses every other form (sig-secret-format)."""
    try:
        data = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # Decoders accept several spellings of the same bytes; a secret has one.
    if not 24 <= len(data) <= 64 or "whsec_" + base64.b64encode(data).decode() != secret:
        raise invalid("/callback/secret", "whsec_ and standard base64 of 24 to 64 bytes")
    return data


def mac(secret, content):
    return base64.b64encode(hmac.digest(secret_bytes(secret), content, hashlib.sha256)).decode()


def webhook_id(subscription_id, epoch, after, last, gaps):
    """cb-id-range: the same id means the same events. cb-id-random: a delivery that covers no number has a random one."""
    if last == after:
        return "msg_" + secrets.token_urlsafe(24)
    runs = ",".join(f"{gap['from']}-{gap['to']}" for gap in gaps)
    fields = "\n".join([subscription_id, epoch, str(after), str(last), runs])
    return "msg_" + base64.urlsafe_b64encode(hashlib.sha256(fields.encode()).digest()).decode()[:32]


def is_proof(secret, challenge, answer):
    """cbv-proof: the answer to a challenge, compared in constant time (sig-constant-time)."""
    if not isinstance(answer, dict) or answer.get("challenge") != challenge or not isinstance(answer.get("proof"), str):
        return False
    return hmac.compare_digest(answer["proof"].encode(), mac(secret, f"challenge.{challenge}".encode()).encode())


# ------------------------------------------------------------------ answers


@dataclass
class Answer:
    """What came back. `category` is set if nothing did."""

    status: int = 0
    body: object = None
    retry_after: str | None = None
    category: str | None = None


_CONFIGURATION = {400, 401, 403, 404, 415, 422}
_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")  # the last one means UTC


def retry_after_ms(text, now):
    """ans-retry-after: seconds or a date, at most an hour."""
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        return min(3_600_000, int(text[:9]) * 1000)
    for form in _DATES:
        try:
            return min(3_600_000, max(0, calendar.timegm(time.strptime(text, form)) * 1000 - now))
        except ValueError:
            continue
    return None


def _natural(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def meaning(after, last, answer, now):
    """The table of answers. `vectors/callback-answer.json` has its cases."""
    status, body = answer.status, answer.body
    if answer.category:
        return {"kind": "transient", "category": answer.category, "retryAfterMs": None}
    if 200 <= status <= 299:
        return _acknowledgement(after, last, body) or {"kind": "transient", "category": "no_ack", "retryAfterMs": None}
    if 300 <= status <= 399 or status in _CONFIGURATION:
        return {"kind": "config", "category": "http_4xx"}  # ans-no-redirect
    if status == 410:
        return {"kind": "gone"}
    if status == 413:
        return {"kind": "too_large"}
    wish = retry_after_ms(answer.retry_after, now) if status in (429, 503) else None
    return {"kind": "transient", "category": "http_4xx" if 400 <= status <= 499 else "http_5xx", "retryAfterMs": wish}


def _acknowledgement(after, last, body):
    """ans-ack, ans-no-ack, ans-reject, ans-reject-other"""
    number = body.get("ackSequence") if isinstance(body, dict) else None
    if not _natural(number) or not after <= number <= last:
        return None
    if "reject" not in body:
        return {"kind": "acked", "ackSequence": number, "reject": None} if number > after or after == last else None
    rejected = body["reject"].get("sequence") if isinstance(body["reject"], dict) else None
    fits = _natural(rejected) and rejected == number + 1 and rejected <= last
    return {"kind": "acked", "ackSequence": number, "reject": rejected} if fits else None


# ------------------------------------------------------------------ one request


class Caller:
    """Makes requests to endpoints, one connection each: no redirects, cookies, proxies, codings or retries (ssrf-no-ambient, cb-no-extra)."""

    def __init__(self, clock, unsafe_loopback=False):
        self._clock, self._unsafe = clock, unsafe_loopback
        self._tls = ssl.create_default_context()
        self._places = threading.BoundedSemaphore(64)

    def post(self, url, secrets_, message_id, subscription_id, params):
        """Sends one notification and returns the Answer, at the latest when the deadline has passed (cb-deadline)."""
        body = compact({"jsonrpc": "2.0", "method": "notifications/triggers/delivery", "params": params}).encode()
        answer, connections = [], []

        def attempt():
            answer.append(self._attempt(url, secrets_, message_id, subscription_id, body, connections))

        with self._places:
            # The name is resolved in a thread as well: a resolver has no deadline.
            worker = threading.Thread(target=attempt, daemon=True)
            worker.start()
            worker.join(DEADLINE_MS / 1000)
            made = answer[0] if answer else Answer(category="timeout")
            for connection in connections:
                _cut(connection)
        return made

    def _attempt(self, url, secrets_, message_id, subscription_id, body, connections):
        scheme, host, port, target = destinations.parts(url)
        try:
            stream = destinations.connect(host, port, self._unsafe, DEADLINE_MS / 1000)
        except OSError as why:
            return Answer(category="timeout" if isinstance(why, TimeoutError) else "connection_refused")
        connections.append(stream)
        if scheme == "https":
            try:
                # ssrf-name-kept: the certificate is checked for the name in the URL.
                stream = self._tls.wrap_socket(stream, server_hostname=host)
            except (OSError, ValueError) as why:
                return Answer(category="timeout" if isinstance(why, TimeoutError) else "tls_error")
            connections.append(stream)
        # sig-timestamp, cb-id-retry: every attempt has its own time and signatures.
        timestamp = str(self._clock.now() // 1000)
        content = f"{message_id}.{timestamp}.".encode() + body
        headers = {
            "Host": url.split("/", 3)[2],
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": "triggers-python",
            "MCP-Subscription-Id": subscription_id,
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            # sig-rotation: the new secret's signature first.
            "webhook-signature": " ".join("v1," + mac(secret, content) for secret in secrets_),
            "Connection": "close",
        }
        request = "".join([f"POST {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"])
        try:
            stream.sendall(request.encode() + body)
        except OSError:
            pass  # The endpoint can have answered before it read everything.
        return _read(stream)


def _read(stream):
    answer = http.client.HTTPResponse(stream, method="POST")
    try:
        answer.begin()
    except TimeoutError:
        return Answer(category="timeout")
    except (OSError, http.client.HTTPException, ValueError):
        return Answer(category="connection_refused")
    status, retry_after = answer.status, answer.headers.get("retry-after")
    try:
        text = answer.read(ANSWER_LIMIT) if 200 <= status <= 299 else b""
        return Answer(status, json.loads(text), retry_after)
    except TimeoutError:
        return Answer(category="timeout")
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return Answer(status, None, retry_after)
    finally:
        answer.close()


def _cut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that still reads
    except OSError:
        pass
    connection.close()
