"""A local Logsh in this process: the documented contract over HTTP on 127.0.0.1, no account needed.

What it answers is decided in ``rules``; here are the sockets, the threads and the record of what came.
"""

from __future__ import annotations

import contextlib
import re
import socketserver
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, Self

from logsh_cli import Record, __version__
from logsh_cli.errors import UsageError
from logsh_cli.sandbox.rules import MAX_BODY_BYTES, SLOW_S, fault_reply, judge, misrouted

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from logsh_cli.sandbox.rules import Reply

HOST: Final = "127.0.0.1"
_MAX_DISCARDED_BYTES: Final = 64 * MAX_BODY_BYTES
_CHUNK: Final = 64 * 1024
_MAX_LINE: Final = 64 * 1024


class Received(Record):
    """One request as it came.

    ``event`` is the body of an accepted event and ``None`` for everything else: then ``reason`` says why.
    ``status`` is what was answered, ``None`` if nothing was. ``headers`` have lower-case names and no key in them.
    """

    at: datetime
    status: int | None
    event: dict[str, Any] | None
    reason: str | None
    headers: Mapping[str, str]


class SandboxServer(socketserver.ThreadingTCPServer):
    """Serves from ``with`` to its end, one thread a connection.

    Not ``http.server``'s own class: that looks its host name up in the DNS, which can take seconds.

    ``on_request`` is called for each request before its answer goes out, on the server's threads: what it raises ends
    that connection, nothing else. The first requests for the event path get ``faults`` as their answers. ``port`` 0
    takes a free one; one that is taken is a ``UsageError``.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    # On Windows this option would let two sandboxes share a port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, on_request: Callable[[Received], None], *, port: int = 0, faults: Sequence[str] = ()) -> None:
        self.faults = iter(faults)
        self._on_request = on_request
        self._open: set[socket.socket] = set()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"the sandbox cannot listen on {HOST}:{port}: {error.strerror or error}",
                hint="choose another port with --port, or leave it out for a free one",
            ) from None
        self.port = int(self.server_address[1])
        self.url = f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        """Start to answer. Connections queue from construction on, so none is refused in between."""
        threading.Thread(target=self.serve_forever, args=(0.05,), name="sandbox", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and close what is open: an answer that ``slow`` holds back goes nowhere."""
        self.shutdown()
        self.server_close()
        for connection in self._open.copy():
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def record(self, status: int | None, headers: Mapping[str, str], *, event: Any = None, reason: str | None) -> None:
        """Tell the observer of one request."""
        self._on_request(Received(datetime.now(UTC), status, event, reason, headers))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection, which is closed at the end if it is still open then."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the inherited signature
        """Tell of a fault of ours; a client that went away is no news."""
        error = sys.exception()
        if not isinstance(error, OSError):
            with contextlib.suppress(Exception):
                self.record(None, {}, reason=f"a fault in the sandbox: {type(error).__name__}: {error}")


class _Handler(BaseHTTPRequestHandler):
    server: SandboxServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one segment

    def handle_one_request(self) -> None:
        # The inherited one looks for a method named do_POST and so on; here every method has an answer.
        self.raw_requestline = self.rfile.readline(_MAX_LINE + 1)
        if not self.raw_requestline:
            self.close_connection = True
        elif len(self.raw_requestline) > _MAX_LINE:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(414)
        elif self.parse_request():
            try:
                body = self._read_body()
            except ValueError:
                self.send_error(400)
                return
            self._answer(body)

    def _answer(self, body: bytes | None) -> None:
        sandbox = self.server
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() != "authorization"}
        reply = misrouted(self.command, self.path, self.headers.get("Host"), sandbox.port)
        fault = None if reply else next(sandbox.faults, None)
        if fault == "drop":
            self.close_connection = True
            sandbox.record(None, headers, reason="--fail drop")
            return
        judged = self.headers.get("Authorization"), self.headers.get("Content-Type"), body
        reply = reply or fault_reply(fault) or judge(*judged)
        sandbox.record(reply.status, headers, event=reply.event, reason=reply.reason)
        # Recorded before the wait: a service that is slow to answer has the event all the same.
        if fault == "slow":
            time.sleep(SLOW_S)
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Say "100 Continue" at once: the client waits for it before it sends the body."""
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def _read_body(self) -> bytes | None:
        """Return the whole body, or ``None`` when it is too long; then the connection is not used again.

        Raises ``ValueError`` if the request does not say where its body ends, or ends before it.
        """
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        given = self.headers.get("Content-Length", "0").strip()
        if not re.fullmatch("[0-9]{1,18}", given):
            raise ValueError(given)
        return self._read_exactly(int(given))

    def _read_chunks(self) -> bytes | None:
        body = bytearray()
        while size := int(self.rfile.readline(_MAX_LINE).partition(b";")[0], 16):
            chunk = self._read_exactly(size, MAX_BODY_BYTES - len(body))
            if chunk is None:
                return None
            body += chunk
            self.rfile.readline(3)
        while self.rfile.readline(_MAX_LINE) not in (b"\r\n", b"\n", b""):
            pass
        return bytes(body)

    def _read_exactly(self, size: int, limit: int = MAX_BODY_BYTES) -> bytes | None:
        if size > limit:
            self._discard(size)
            return None
        body = self.rfile.read(max(size, 0))
        if len(body) != size:
            raise ValueError(size)
        return body

    def _discard(self, size: int) -> None:
        # Closing on a client that is still writing would reset the connection, and take the answer with it.
        self.close_connection = True
        left = min(size, _MAX_DISCARDED_BYTES)
        while left > 0 and (got := len(self.rfile.read(min(left, _CHUNK)))):
            left -= got

    def version_string(self) -> str:
        """The ``Server`` header."""
        return f"logsh-sandbox/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the inherited signature
        """Say nothing: the observer hears of every request."""
