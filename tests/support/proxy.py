"""A CONNECT proxy on loopback that takes names to where a test has its server."""

from __future__ import annotations

import base64
import selectors
import socket
import ssl
from typing import TYPE_CHECKING

from tests.support.answers import Wire, error, http
from tests.support.server import Listener, read_headers

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from tests.support.answers import Answer


class ConnectProxy(Listener):
    """Records each CONNECT and tunnels it.

    Args:
        routes: where ``host:port`` of a CONNECT really leads; others get 502.
        credentials: ``user:password`` that must be given, else 407.
        tls: makes it an https:// proxy.
    """

    def __init__(
        self,
        routes: Mapping[str, tuple[str, int]],
        *,
        credentials: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self._routes = dict(routes)
        self._credentials = credentials
        self.lines: list[str] = []
        """The request lines, ``CONNECT host:port HTTP/1.1``."""
        self.headers: list[dict[str, str]] = []
        self.answer: Answer | None = None
        """Given, it is what every CONNECT gets."""

    def route(self, name: str, address: tuple[str, int]) -> None:
        """Lead ``host:port`` there from now on."""
        self._routes[name] = address

    @property
    def url(self) -> str:
        """For ``https_proxy``, without credentials."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def converse(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:  # noqa: ARG002
        wire = Wire(sock, stopping)
        with sock.makefile("rb", buffering=0) as incoming:
            line = incoming.readline().decode("latin-1").strip()
            headers = dict(read_headers(incoming))
        if not line:
            return
        self.lines.append(line)
        self.headers.append(headers)
        if self.answer is not None:
            self.answer.play(wire)
            return
        if self._credentials is not None:
            wanted = "Basic " + base64.b64encode(self._credentials.encode()).decode()
            if headers.get("proxy-authorization") != wanted:
                wire.write(http(407, b"", {"Proxy-Authenticate": 'Basic realm="test"'}))
                return
        destination = self._routes.get(line.split(" ")[1])
        if destination is None:
            error(502, "bad_gateway", "no such host").play(wire)
            return
        with socket.create_connection(destination) as onward:
            onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _tunnel(sock, onward)


def _tunnel(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                while True:
                    data = source.recv(65536)
                    if not data:
                        return
                    sink.sendall(data)
                    # What TLS has already decrypted does not make its socket readable.
                    if not (isinstance(source, ssl.SSLSocket) and source.pending()):
                        break
