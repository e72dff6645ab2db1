"""The store: SQLite, written before every answer that depends on it.

With a folder the server is `durable`: `commit` returns after SQLite has flushed (log-durable-accept, log-durable-number, log-durable-ack).
Without one the same tables are in memory, and a crash loses everything.

Two files are outside of the folder. `key` encrypts callback URLs and secrets (ssrf-at-rest). `commits` counts the commits: a store that was
restored from a backup has made fewer of them, so the server knows that it lost writes (log-epoch-rotate).
"""

import base64
import dataclasses
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import sqlite3

from log import Entry, Log
from model import Callback, Event, Subscription, compact

TABLES = """
create table if not exists meta (name text primary key, value text) without rowid;
create table if not exists events (row integer primary key, document text);
create table if not exists subscriptions (id text primary key, document text) without rowid;
create table if not exists entries (subscription text, number integer, at integer, event integer, reason text, primary key (subscription, number)) without rowid;
"""


class Cipher:
    """Encrypt-then-MAC with HMAC-SHA256, in counter mode, because the standard library has no cipher. Use AES-GCM where there is one."""

    def __init__(self, key):
        self._encrypt, self._authenticate = (hmac.digest(key, name, hashlib.sha256) for name in (b"encrypt", b"authenticate"))

    def _apply(self, nonce, data):
        blocks = (hmac.digest(self._encrypt, nonce + index.to_bytes(4, "big"), hashlib.sha256) for index in range(len(data) // 32 + 1))
        return bytes(one ^ other for one, other in zip(data, b"".join(blocks)))

    def seal(self, text):
        nonce = secrets.token_bytes(16)
        sealed = nonce + self._apply(nonce, text.encode())
        return base64.b64encode(sealed + hmac.digest(self._authenticate, sealed, hashlib.sha256)).decode()

    def open(self, sealed):
        data = base64.b64decode(sealed)
        data, tag = data[:-32], data[-32:]
        if not hmac.compare_digest(tag, hmac.digest(self._authenticate, data, hashlib.sha256)):
            raise ValueError("the store's key is not the one that the store was written with")
        return self._apply(data[:16], data[16:]).decode()


SECRET_MEMBERS = ("url", "secret", "previous")
LOG_MEMBERS = ("epoch", "trimmed", "acked", "sent")


class Store:
    def __init__(self, folder=None, outside=None):
        self.durable = folder is not None
        self._outside = pathlib.Path(outside) if outside else None
        if self._outside:
            self._outside.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key = self._read_key()
        self._cipher = Cipher(self.key)
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(pathlib.Path(folder) / "store.db" if folder else ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(TABLES)
        self.commits = int(self.meta("commits") or 0)
        self.dirty = False

    def _read_key(self):
        path = self._outside / "key" if self._outside else None
        if path and path.exists():
            return path.read_bytes()
        key = secrets.token_bytes(32)
        if path:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(key)
                os.fsync(file.fileno())
        return key

    # ------------------------------------------------------------------ transactions

    def write(self, sql, *values):
        if not self.dirty:
            self._db.execute("begin immediate")
            self.dirty = True
        return self._db.execute(sql, values)

    def commit(self):
        """Flushes what was written. Call before anybody hears of it."""
        if not self.dirty:
            return
        self.commits += 1
        self.set_meta("commits", str(self.commits))
        self._db.execute("commit")
        self.dirty = False
        self._witness()

    def rollback(self):
        if self.dirty:
            self._db.execute("rollback")
        self.dirty = False
        self.commits = int(self.meta("commits") or 0)

    def _witness(self):
        # After the commit: a crash in between leaves a store that is ahead, which is no loss.
        if self.durable and self._outside:
            with open(os.open(self._outside / "commits", os.O_WRONLY | os.O_CREAT, 0o600), "r+b") as file:
                file.write(f"{self.commits:020d}".encode())
                file.flush()
                os.fdatasync(file.fileno())

    def lost_writes(self):
        """Whether commits that were acknowledged are missing. Afterwards the store counts on from the higher number."""
        path = self._outside / "commits" if self.durable and self._outside else None
        witnessed = int(path.read_bytes()) if path and path.exists() else 0
        lost = witnessed > self.commits
        self.commits = max(self.commits, witnessed)
        return lost

    # ------------------------------------------------------------------ records

    def meta(self, name):
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return row and row[0]

    def set_meta(self, name, value):
        self.write("insert or replace into meta values (?, ?)", name, value)

    def save_event(self, event):
        document = dataclasses.asdict(event)
        del document["row"]
        event.row = self.write("insert or replace into events values (?, ?)", event.row, compact(document)).lastrowid

    def delete_event(self, event):
        self.write("delete from events where row = ?", event.row)

    def save_subscription(self, subscription):
        document = {name: value for name, value in vars(subscription).items() if name not in ("busy", "log", "callback")}
        document["log"] = {name: getattr(subscription.log, name) for name in LOG_MEMBERS}
        if subscription.callback:
            document["callback"] = dataclasses.asdict(subscription.callback)
            for name in SECRET_MEMBERS:
                if document["callback"][name] is not None:
                    document["callback"][name] = self._cipher.seal(document["callback"][name])
        self.write("insert or replace into subscriptions values (?, ?)", subscription.id, compact(document))

    def delete_subscription(self, subscription):
        self.write("delete from subscriptions where id = ?", subscription.id)
        self.delete_log(subscription)

    def delete_log(self, subscription):
        self.write("delete from entries where subscription = ?", subscription.id)

    def save_entry(self, subscription, number):
        entry = subscription.log.entry(number)
        self.write("insert or replace into entries values (?, ?, ?, ?, ?)", subscription.id, number, entry.at, entry.event and entry.event.row, entry.reason)

    def trim_log(self, subscription):
        self.write("delete from entries where subscription = ? and number <= ?", subscription.id, subscription.log.trimmed)

    def save_whole_log(self, subscription):
        self.delete_log(subscription)
        for number in range(subscription.log.oldest, subscription.log.head + 1):
            self.save_entry(subscription, number)

    def load(self):
        """All events and subscriptions, in their order."""
        events = []
        for row, document in self._db.execute("select row, document from events order by row"):
            events.append(Event(**json.loads(document), row=row))
        by_row = {event.row: event for event in events}
        subscriptions = []
        for (document,) in self._db.execute("select document from subscriptions"):
            members = json.loads(document)
            members["log"] = Log(**members["log"])
            if "callback" in members:
                for name in SECRET_MEMBERS:
                    if members["callback"][name] is not None:
                        members["callback"][name] = self._cipher.open(members["callback"][name])
                members["callback"] = Callback(**members["callback"])
            subscription = Subscription(**members)
            rows = self._db.execute("select at, event, reason from entries where subscription = ? order by number", (subscription.id,))
            for at, event, reason in rows:
                subscription.log.append(Entry(at, by_row.get(event), reason))
            subscriptions.append(subscription)
        return events, sorted(subscriptions, key=lambda one: one.ordinal)
