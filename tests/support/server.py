"""A service on loopback that answers by a script: what Logsh says, and what a broken network makes of it.

    with Server() as server:
        server.script(error(503, "unavailable", "later"), drop())   # then server.default, a 201
        ...
        assert [body["event"] for body in server.events] == ["deploy.done"]

It speaks HTTP/1.1 with keep-alive on a free port, one thread a connection, with TLS if given a context. A request
is recorded before the first byte of its answer goes out, so whoever has an answer can look at the record.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

EVENT_PATH = "/api/event"
PATIENCE_S = 30.0
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Received:
    """One request as it came; header names in lower case, ``connection`` counting from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.time)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """The server's end of one connection, as an answer sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._sock = sock
        self._stopping = stopping

    def write(self, data: bytes) -> None:
        self._sock.sendall(data)

    def close(self) -> None:
        """End the connection here and now; the answer goes no further."""
        raise _Hangup

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the life of the server."""
        if self._stopping.wait(seconds):
            raise _Hangup

    def wait_for(self, gate: threading.Event) -> None:
        while not gate.wait(0.02):
            self.wait(0)

    def drip(self, data: bytes, interval: float) -> None:
        """Write byte by byte."""
        for at in range(len(data)):
            self.write(data[at : at + 1])
            self.wait(interval)


class _Hangup(Exception):
    pass


@dataclass(frozen=True)
class Answer:
    """What to do with one request; ``accepts`` says whether the service then has the event."""

    name: str
    play: Callable[[Wire], None]
    accepts: bool = False

    def __repr__(self) -> str:
        return self.name


# What the service says


def http(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP answer, as bytes."""
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body


def ok(status: int = 201) -> Answer:
    """The event is taken: 200 as documented, 201 as observed."""
    return raw(http(status, b'{"status":true}'), accepts=True, name=f"ok({status})")


def error(
    status: int,
    name: str = "internal_server_error",
    message: str = "Something went wrong.",
    headers: Mapping[str, str] | None = None,
    details: object = None,
) -> Answer:
    """A JSON error in the service's own shape."""
    body = json.dumps({"status": False, "name": name, "message": message, "details": details}).encode()
    return raw(http(status, body, headers), name=f"error({status}, {name})")


HTML_404 = b"<!DOCTYPE html><html><body><h1>404</h1><p>This page could not be found.</p></body></html>"


def html404() -> Answer:
    """The page of a web server that is no Logsh."""
    return raw(http(404, HTML_404, {"Content-Type": "text/html; charset=utf-8"}), name="html404()")


def empty(status: int = 500) -> Answer:
    """A status without a word."""
    return raw(http(status, b""), accepts=_success(status), name=f"empty({status})")


def wrong_charset(status: int = 403) -> Answer:
    """JSON in UTF-16 that calls itself UTF-8."""
    body = json.dumps({"status": False, "name": "validation_error", "message": "Überlänge"}, ensure_ascii=False)
    plain = http(status, body.encode("utf-16"), {"Content-Type": "application/json; charset=utf-8"})
    return raw(plain, name=f"wrong_charset({status})")


def redirect(url: str, status: int = 302) -> Answer:
    """Go elsewhere; a client must not."""
    return raw(http(status, b"", {"Location": url}), name=f"redirect({status})")


# What a broken network makes of it


def raw(data: bytes, *, accepts: bool = False, hang_up: bool = False, name: str = "raw(…)") -> Answer:
    """These bytes, whatever they are."""

    def play(wire: Wire) -> None:
        wire.write(data)
        if hang_up:
            wire.close()

    return Answer(name, play, accepts)


def drop() -> Answer:
    """The connection ends without an answer, and the event is lost."""
    return Answer("drop()", Wire.close)


def accept_then_drop() -> Answer:
    """The connection ends without an answer, but the service has the event."""
    return Answer("accept_then_drop()", Wire.close, accepts=True)


def drip_headers(interval: float = 0.05) -> Answer:
    """An answer whose status line and headers come byte by byte and never end."""

    def play(wire: Wire) -> None:
        wire.drip(b"HTTP/1.1 200 OK\r\n", interval)
        while True:
            wire.drip(b"X-Filler: and so on\r\n", interval)

    return Answer("drip_headers()", play)


def drip_body(interval: float = 0.05, status: int = 201, body: bytes | None = None) -> Answer:
    """Headers at once, then the body byte by byte; without a ``body`` given it never ends."""

    def play(wire: Wire) -> None:
        if body is not None:
            wire.write(http(status, body)[: -len(body)])
            wire.drip(body, interval)
            return
        wire.write(http(status, b"", {"Content-Length": "1000000000"}))
        while True:
            wire.drip(b" ", interval)

    return Answer(f"drip_body({status})", play, _success(status))


def huge(megabytes: int = 50, status: int = 500) -> Answer:
    """An answer of this size."""

    def play(wire: Wire) -> None:
        size = megabytes * 1024 * 1024
        wire.write(http(status, b"", {"Content-Length": str(size)}))
        for _ in range(size // _CHUNK):
            wire.write(b"x" * _CHUNK)

    return Answer(f"huge({megabytes}, {status})", play, _success(status))


def endless(status: int = 500) -> Answer:
    """A chunked answer that goes on as long as somebody reads."""

    def play(wire: Wire) -> None:
        wire.write(f"HTTP/1.1 {status} Scripted\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            wire.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    return Answer(f"endless({status})", play, _success(status))


def cut_off(status: int = 201, *, chunked: bool = False) -> Answer:
    """Headers that promise more body than comes before the connection ends."""
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 500"
    body = '40\r\n{"status"' if chunked else '{"status"'
    text = f"HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n{framing}\r\n\r\n{body}"
    return raw(text.encode(), accepts=_success(status), hang_up=True, name=f"cut_off({status})")


def cut_off_headers() -> Answer:
    """The connection ends within the headers."""
    text = b"HTTP/1.1 201 Created\r\nContent-Ty"
    return raw(text, accepts=True, hang_up=True, name="cut_off_headers()")


def slow(seconds: float, answer: Answer | None = None) -> Answer:
    """Another answer (a 201), this much later."""
    late = answer or ok()

    def play(wire: Wire) -> None:
        wire.wait(seconds)
        late.play(wire)

    return Answer(f"slow({seconds}, {late})", play, late.accepts)


def gated(gate: threading.Event, answer: Answer | None = None) -> Answer:
    """Another answer (a 201), once ``gate`` is set."""
    held = answer or ok()

    def play(wire: Wire) -> None:
        wire.wait_for(gate)
        held.play(wire)

    return Answer(f"gated({held})", play, held.accepts)


def _success(status: int) -> bool:
    return 200 <= status < 300


# The two columns of the contract


@dataclass(frozen=True)
class Column:
    """One column of the contract: how the service says each thing."""

    accepted: Answer
    refused: Answer
    unauthorized: Answer
    limited: Answer
    quota_spent: Answer


_NO_KEY = "Your Bearer Token is missing, invalid or expired."
_LIMIT = "Rate limit was exceeded."
DOCUMENTED = Column(
    accepted=ok(200),
    refused=error(400, "bad_request", "Invalid body parameters provided."),
    unauthorized=error(401, "unauthorized", _NO_KEY),
    limited=error(429, "rate_limit_exceeded", _LIMIT),
    quota_spent=error(402, "payment_required", "Your monthly quota is spent."),
)
OBSERVED = Column(
    accepted=ok(201),
    refused=error(403, "validation_error", "Icon must be a valid emoji 🔥."),
    unauthorized=error(401, "unauthorized", _NO_KEY),
    limited=error(429, "rate_limit_exceeded", _LIMIT, {"Retry-After": "1"}),
    quota_spent=error(429, "rate_limit_exceeded", _LIMIT),
)
COLUMNS = {"documented": DOCUMENTED, "observed": OBSERVED}
"""For ``parametrize``: every contract test runs over both."""


class Listener:
    """A port on 127.0.0.1 with a thread for each connection, which can go away and come back."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listening: socket.socket | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.port = 0
        self.connections = 0
        """How many were made so far, those that failed a TLS handshake included."""

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def start(self) -> Self:
        """Listen; the second time on the same port as before."""
        self._stopping = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listening.getsockname()[1]
        accepting = threading.Thread(target=self._accept, args=(self._listening, self._stopping), daemon=True)
        accepting.start()
        self._threads = [accepting]
        return self

    def stop(self) -> None:
        """Refuse new connections and cut those there are."""
        if self._listening is None:
            return
        self._stopping.set()
        # Closing a socket does not wake a thread that waits on it; a visitor does, on every system.
        with contextlib.suppress(OSError):
            socket.create_connection(self.address, 1).close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listening.close()
        self._listening = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self, listening: socket.socket, stopping: threading.Event) -> None:
        while True:
            sock, _ = listening.accept()
            if stopping.is_set():
                sock.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, stopping, self.connections), daemon=True)
            self._threads = [alive for alive in self._threads if alive.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(sock)
            if self._tls is not None:
                plain, sock = sock, self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._open.symmetric_difference_update({plain, sock})
                sock.settimeout(PATIENCE_S)
                sock.do_handshake()
            self.converse(sock, stopping, number)
        except (_Hangup, OSError, ValueError):
            pass  # the client left, or this connection is meant to end
        finally:
            with self._lock:
                self._open.discard(sock)
            _close_politely(sock)

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:
        raise NotImplementedError


class Server(Listener):
    """The scripted service.

    Args:
        key: the one key that is accepted; any other gets the column's 401. ``None`` takes whatever comes.
        column: how the service says things; also what ``default`` is at first.
        validate: refuse bodies without workspace, event and description, as the service does.
        tls: a server context of ``tests.support.certs``.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        column: Column = OBSERVED,
        validate: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self._key = key
        self._validate = validate
        self._column = column
        self._script: deque[Answer] = deque()
        self._changed = threading.Condition()
        self.default = column.accepted
        self.requests: list[Received] = []
        self.events: list[Any] = []
        """The bodies of the POSTs that the service took, parsed, in order."""

    @property
    def url(self) -> str:
        """The base URL, for ``LOGSH_API_URL``."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def script(self, *answers: Answer) -> None:
        """Answer the next requests so, one each, and those after them with ``default``."""
        with self._changed:
            self._script.extend(answers)

    def wait_for(self, count: int, timeout: float = PATIENCE_S) -> list[Received]:
        """Wait until this many requests have arrived, and return them; fails the test if they don't."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.requests) >= count, timeout)
            assert arrived, f"{len(self.requests)} of {count} requests arrived within {timeout} s"
            return list(self.requests)

    def wait_for_events(self, count: int, timeout: float = PATIENCE_S) -> list[Any]:
        """The same for events that were taken."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.events) >= count, timeout)
            assert arrived, f"{len(self.events)} of {count} events arrived within {timeout} s"
            return list(self.events)

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:
        wire = Wire(sock, stopping)
        with sock.makefile("rb") as incoming:
            while (request := _read_request(incoming, sock, number)) is not None:
                answer = self._choose(request)
                with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                if not answer.accepts:
                    answer.play(wire)
                    continue
                self._accept_event(request, answer, wire)

    def _accept_event(self, request: Received, answer: Answer, wire: Wire) -> None:
        # A held answer counts when it is let go, so that `events` never runs ahead of what the service has.
        recorded = False

        def record() -> None:
            nonlocal recorded
            if not recorded:
                recorded = True
                with self._changed:
                    self.events.append(request.json)
                    self._changed.notify_all()

        try:
            answer.play(_Recording(wire, record))
        except _Hangup:
            record()
            raise

    def _choose(self, request: Received) -> Answer:
        if request.path != EVENT_PATH:
            return html404()
        if request.method != "POST":
            return error(405, "method_not_allowed", "Method not allowed.")
        with self._changed:
            if self._script:
                return self._script.popleft()
        if self._key is not None and request.headers.get("authorization", "").split(" ")[-1] != self._key:
            return self._column.unauthorized
        if self._validate and not _looks_like_an_event(request.body):
            return self._column.refused
        return self.default


class _Recording(Wire):
    """Calls ``record`` just before the first byte goes out, or the connection ends."""

    def __init__(self, wire: Wire, record: Callable[[], None]) -> None:
        super().__init__(wire._sock, wire._stopping)  # noqa: SLF001 - the same wire, watched
        self._record = record

    def write(self, data: bytes) -> None:
        self._record()
        super().write(data)

    def close(self) -> None:
        self._record()
        super().close()


def _read_request(incoming: Any, sock: socket.socket, number: int) -> Received | None:
    """The next request of a connection, or None when the client has left; ValueError when it is none."""
    first = incoming.readline()
    if not first:
        return None
    method, path, _ = first.decode("latin-1").split(" ", 2)
    headers = dict(read_headers(incoming))
    if headers.get("expect", "").lower() == "100-continue":  # curl, with a large body
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = int(headers.get("content-length", "0"))
    body = incoming.read(length)
    return Received(method, path, headers, body, number) if len(body) == length else None


def read_headers(incoming: Any) -> Iterator[tuple[str, str]]:
    """Header names, in lower case, and values up to the empty line."""
    while (line := incoming.readline().decode("latin-1")) not in {"\r\n", "\n", ""}:
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()


def _looks_like_an_event(body: bytes) -> bool:
    try:
        parsed = json.loads(body)
    except ValueError:
        return False
    required = ("workspace", "event", "description")
    return isinstance(parsed, dict) and all(isinstance(parsed.get(name), str) and parsed[name] for name in required)


def _close_politely(sock: socket.socket) -> None:
    # Closing with unread bytes in the buffer sends RST, and the client may lose an answer already on its way.
    with contextlib.suppress(OSError, ValueError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(0)
        while sock.recv(_CHUNK):
            pass
    sock.close()
