"""JSON-RPC over Streamable HTTP, in revision 2026-07-28 and, with sessions, in those before it. See docs/session.md."""

import http.server
import json
import secrets
import select
import socket
import threading
import traceback

from errors import INTERNAL, Refusal
from methods import EXTENSION
from model import compact
from stream import MOST_STREAMS, Stream

MODERN, HANDSHAKE = "2026-07-28", ["2025-11-25", "2025-06-18", "2025-03-26"]
MOST_BODY = 4_194_304
STALLED_S = 60  # stream-stalled
META_VERSION, META_CLIENT = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
INFO = {"name": "python-triggers-server", "version": "1"}


class Rejection(Exception):
    """A rejection by the base protocol: a JSON-RPC error with an HTTP status of its own."""

    def __init__(self, status, code, message, **data):
        super().__init__(message)
        self.status, self.error = status, {"code": code, "message": message, **({"data": data} if data else {})}


def whole_numbers(text):
    """1.0 is the integer 1. What no double can hold stays infinite, and the validator refuses it."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def read_json(data):
    try:
        return json.loads(data, parse_float=whole_numbers)
    except (ValueError, RecursionError):
        raise Rejection(400, -32700, "Parse error") from None


class Endpoint:
    """What all connections share."""

    def __init__(self, methods, tokens):
        self.methods, self.tokens = methods, tokens
        self.sessions = {}  # session id -> (owner, revision)
        self.streams = []  # of (scope, Stream): the scope is a session, or None
        self.lock = threading.Lock()

    def owner(self, header):
        """The owner of a verified token, None without a token (iso-iss-sub). A wrong token is rejected before anything is read."""
        if header is None:
            return None
        scheme, _, given = header.partition(" ")
        found = [owner for token, owner in self.tokens.items() if secrets.compare_digest(token.encode(), given.encode())]
        if scheme.lower() != "bearer" or not found:
            raise Rejection(401, -32001, "The access token is not valid")
        return found[0]

    def capabilities(self, place):
        return {place: {EXTENSION: self.methods.settings()}}

    def discover(self):
        return {"supportedVersions": [MODERN, *HANDSHAKE], "capabilities": self.capabilities("extensions"), "ttlMs": 0, "cacheScope": "private",
                "_meta": {"io.modelcontextprotocol/serverInfo": INFO}}

    def initialize(self, params, owner):
        asked = params.get("protocolVersion") if isinstance(params, dict) else None
        revision = asked if asked in HANDSHAKE else HANDSHAKE[0]
        session = secrets.token_urlsafe(24)
        with self.lock:
            while len(self.sessions) >= 10_000:
                self.sessions.pop(next(iter(self.sessions)))
            self.sessions[session] = (owner, revision)
        return session, {"protocolVersion": revision, "capabilities": self.capabilities("experimental"), "serverInfo": INFO}

    def cancel(self, scope, request_id):
        """stream-cancel: request ids are unique within a session only."""
        with self.lock:
            for one, stream in self.streams:
                if one == scope and type(stream.request_id) is type(request_id) and stream.request_id == request_id:
                    stream.canceled = True


def handler(endpoint):
    """The request handler of the MCP endpoint. Every request has a thread."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass  # sub-no-secret: nothing of a request reaches a log

        def do_GET(self):
            self.answer(405, {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "Method not allowed"}})

        def do_DELETE(self):
            with endpoint.lock:
                known = endpoint.sessions.pop(self.headers.get("mcp-session-id"), None)
            self.answer(204 if known else 404)

        def do_POST(self):
            request_id, self.session = None, None
            try:
                length = self.headers.get("content-length", "")
                if not length.isdecimal() or int(length) > MOST_BODY:
                    self.close_connection = True
                    raise Rejection(413, -32600, "The request is too large, or has no length")
                body = self.rfile.read(int(length))
                if self.path.split("?")[0] != "/mcp":
                    raise Rejection(404, -32600, "Not found")
                origin = self.headers.get("origin")
                if origin and origin.split("//")[-1].rsplit(":", 1)[0] not in ("127.0.0.1", "localhost", "[::1]"):
                    raise Rejection(403, -32600, "Origin not allowed")
                owner = endpoint.owner(self.headers.get("authorization"))
                message = read_json(body)
                if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
                    raise Rejection(400, -32600, "Invalid request")
                if "id" not in message:
                    return self.notified(message, owner)
                if not isinstance(message["id"], (str, int)) or isinstance(message["id"], bool):
                    raise Rejection(400, -32600, "Invalid request")
                request_id = message["id"]
                result = self.result(message, owner)
                if result is not None:
                    self.answer(200, {"jsonrpc": "2.0", "id": request_id, "result": result})
            except Rejection as why:
                self.answer(why.status, {"jsonrpc": "2.0", "id": request_id, "error": why.error})
            except Refusal as why:
                # The errors of the extension are ordinary answers.
                self.answer(200, {"jsonrpc": "2.0", "id": request_id, "error": why.as_json()})
            except (ConnectionError, TimeoutError):
                self.close_connection = True
            except Exception:  # err-internal
                traceback.print_exc()
                self.answer(200, {"jsonrpc": "2.0", "id": request_id, "error": INTERNAL})

        # -------------------------------------------------------------- revisions

        def revision(self, message, owner):
            """The revision of a request, and whether its headers and body agree."""
            params = message.get("params", {})
            meta = params.get("_meta", {}) if isinstance(params, dict) else {}
            in_body = meta.get(META_VERSION) if isinstance(meta, dict) else None
            header, session = self.headers.get("mcp-protocol-version"), self.headers.get("mcp-session-id")
            if in_body is None and header != MODERN:
                with endpoint.lock:
                    known = endpoint.sessions.get(session)
                if session is None:
                    raise Rejection(400, -32600, "The header Mcp-Session-Id is missing")
                if known is None or known[0] != owner:
                    raise Rejection(404, -32001, "Session not found")
                self.session = session
                return known[1]
            if header != (in_body or header):
                raise Rejection(400, -32020, "Headers and body disagree")
            if in_body != MODERN:
                if in_body is None:
                    raise Rejection(400, -32602, "Invalid params: _meta lacks the protocol version")
                raise Rejection(400, -32022, "Unsupported protocol version", supported=[MODERN, *HANDSHAKE], requested=str(in_body)[:64])
            if self.headers.get("mcp-method") != message["method"]:
                raise Rejection(400, -32020, "Headers and body disagree")
            if not isinstance(meta.get(META_CLIENT), dict):
                raise Rejection(400, -32602, "Invalid params: _meta lacks the client's capabilities")
            return MODERN

        def notified(self, message, owner):
            params = message.get("params")
            session = self.headers.get("mcp-session-id")
            with endpoint.lock:
                mine = session in endpoint.sessions and endpoint.sessions[session][0] == owner
            if message["method"] == "notifications/cancelled" and isinstance(params, dict) and mine:
                endpoint.cancel(session, params.get("requestId"))
            self.answer(202)

        def result(self, message, owner):
            """The result of a request; None if the answer was a stream."""
            method, params = message["method"], message.get("params", {})
            if method == "initialize":
                self.new_session, result = endpoint.initialize(params, owner)
                return result
            modern = self.revision(message, owner) == MODERN
            if method == "server/discover" and modern:
                return {"resultType": "complete", **endpoint.discover()}
            if method == "ping" and not modern:
                return {}
            if method not in endpoint.methods.table:
                raise Rejection(404, -32601, "Method not found")
            if method == "triggers/stream":
                return self.stream(params, owner, message["id"], modern)
            # Results of the revisions with a handshake carry no resultType.
            return {**({"resultType": "complete"} if modern else {}), **endpoint.methods.call(method, params, owner)}

        # -------------------------------------------------------------- streams

        def stream(self, params, owner, request_id, modern):
            stream = Stream(endpoint.methods, params, owner, request_id)
            entry = (self.session, stream)
            with endpoint.lock:
                if sum(one.owner == owner for _, one in endpoint.streams) >= MOST_STREAMS:
                    raise Refusal("ResourceExhausted", "limit", limit="streams", max=MOST_STREAMS)
                endpoint.streams.append(entry)
            self.connection.settimeout(STALLED_S)
            started = False
            try:
                for message in stream.messages(self.connected):
                    if not started:
                        # An error before the first message is an ordinary answer, so the head comes with the first delivery.
                        self.send_response(200)
                        self.send_header("Content-Type", "text/event-stream")
                        self.send_header("Cache-Control", "no-store")
                        self.send_header("Transfer-Encoding", "chunked")
                        self.end_headers()
                        started = True
                    self.send_event(message)
                if not stream.canceled:
                    self.send_event({"jsonrpc": "2.0", "id": request_id, "result": {"resultType": "complete"} if modern else {}})  # stream-end
                self.chunk(b"")
            except OSError:
                self.close_connection = True  # the client is gone, or has taken no bytes for a minute
            finally:
                with endpoint.lock:
                    endpoint.streams.remove(entry)
            return None

        def send_event(self, message):
            self.chunk(b"event: message\ndata: " + compact(message).encode() + b"\n\n")

        def chunk(self, data):
            """Writes while the client reads: a send that takes no byte for a minute fails."""
            rest = memoryview(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
            while rest:
                rest = rest[self.connection.send(rest) :]

        def connected(self):
            """Whether the client still has its end of the connection open."""
            readable, _, _ = select.select([self.connection], [], [], 0)
            try:
                return not readable or self.connection.recv(1, socket.MSG_PEEK) != b""
            except OSError:
                return False

        # -------------------------------------------------------------- answers

        new_session = None

        def answer(self, status, message=None):
            body = b"" if message is None else compact(message).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            if self.new_session:
                self.send_header("Mcp-Session-Id", self.new_session)
                self.new_session = None
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(body)

    return Handler


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a connection that broke


def serve(port, handler_class):
    """Listens on loopback and returns the URL."""
    server = Server(("127.0.0.1", port), handler_class)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
