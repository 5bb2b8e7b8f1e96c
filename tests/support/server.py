"""A service on loopback that answers by a script of ``tests.support.answers``.

    with Server() as server:
        server.script(answers.error(503, "unavailable", "later"), answers.drop())   # then server.default, a 201
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
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tests.support.answers import *  # noqa: F403 - offered here as well, so that a test needs one import
from tests.support.answers import OBSERVED, Answer, Column, Hangup, Wire, error, html404

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

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
        """The number that were made so far, those that failed a TLS handshake included."""

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

    def wait_until_idle(self, timeout: float = PATIENCE_S) -> None:
        """Wait until every connection there was has been closed from this side."""
        patience = time.monotonic() + timeout
        while self._open:
            assert time.monotonic() < patience, f"{len(self._open)} connections are still open after {timeout} s"
            time.sleep(0.005)

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
        except (Hangup, OSError, ValueError):
            pass  # the client left, or this connection is meant to end
        finally:
            _close_politely(sock)
            with self._lock:
                self._open.discard(sock)

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        """Speak with one client, to the end. This one listens and says nothing."""
        stopping.wait()


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

    def forget_script(self) -> None:
        """Answer everything with ``default`` from now on."""
        with self._changed:
            self._script.clear()

    def wait_for(self, count: int, timeout: float = PATIENCE_S) -> list[Received]:
        """Wait until this many requests have arrived, and return them; fails the test if they don't."""
        return self._wait_for(self.requests, count, timeout)

    def wait_for_events(self, count: int, timeout: float = PATIENCE_S) -> list[Any]:
        """The same for events that were taken."""
        return self._wait_for(self.events, count, timeout)

    def _wait_for(self, what: list[Any], count: int, timeout: float) -> list[Any]:
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(what) >= count, timeout)
            assert arrived, f"{len(what)} of {count} arrived within {timeout} s"
            return list(what)

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:
        wire = Wire(sock, stopping)
        with sock.makefile("rb") as incoming:
            while (request := _read_request(incoming, sock, number)) is not None:
                answer = self._choose(request)
                with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                # A held answer counts when it is let go, so that `events` never runs ahead of what the service has.
                wire.before_answer = partial(self._take, request) if answer.accepts else None
                answer.play(wire)

    def _take(self, request: Received) -> None:
        with self._changed:
            self.events.append(request.json)
            self._changed.notify_all()

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
