"""The scripted server's ways to treat a request: Logsh's own answers, and what a broken network makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Mapping

_CHUNK = 64 * 1024


class Hangup(Exception):
    """Ends a connection from within an answer."""


class Wire:
    """The server's end of one connection, as an answer sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._sock = sock
        self._stopping = stopping
        self.before_answer: Callable[[], None] | None = None
        """Called once, before the first byte of an answer goes out or the connection ends without one."""

    def write(self, data: bytes) -> None:
        self._begin()
        self._sock.sendall(data)

    def close(self) -> None:
        """End the connection here and now; the answer goes no further."""
        self._begin()
        raise Hangup

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the life of the server."""
        if self._stopping.wait(seconds):
            self.close()

    def wait_for(self, gate: threading.Event) -> None:
        while not gate.wait(0.02):
            self.wait(0)

    def drip(self, data: bytes, interval: float) -> None:
        """Write byte by byte."""
        for at in range(len(data)):
            self.write(data[at : at + 1])
            self.wait(interval)

    def _begin(self) -> None:
        if self.before_answer is not None:
            self.before_answer()
            self.before_answer = None


@dataclass(frozen=True)
class Answer:
    """The treatment of one request; ``accepts`` says whether the service then has the event."""

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
    """The page of a web server that is not a Logsh."""
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
