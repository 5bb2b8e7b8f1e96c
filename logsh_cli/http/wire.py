"""The request, the answer and the record of both, as values. No I/O.

The one place that knows the service's path, its headers and the shape of its JSON bodies.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from logsh_cli import Record, __version__
from logsh_cli.config import EVENT_PATH
from logsh_cli.output.text import REDACTED, shown_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from logsh_cli.errors import LogshError

USER_AGENT = f"logsh-cli/{__version__}"
MAX_ANSWER_BYTES = 64 * 1024
"""More of an answer than this is never read: Logsh's are a few hundred bytes."""

_MAX_TEXT = 500
_HTML_BEGINS = rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)\b"  # compiled when used: hardly ever


class Request(Record):
    """One HTTP request, whole: nothing is added to it on the way out but ``Host`` and ``Content-Length``."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    def redacted(self) -> dict[str, Any]:
        """Return the request as ``--dry-run`` and ``-v`` show it: the key replaced, the body as JSON."""
        headers = {name: f"Bearer {REDACTED}" if name == "Authorization" else v for name, v in self.headers.items()}
        return {"method": self.method, "url": self.url, "headers": headers, "body": json.loads(self.body)}


class Answer(Record):
    """The service's answer, reduced to what decisions and messages need.

    ``name``, ``message`` and ``details`` come from a JSON body and are ``None`` where there is none. ``retry_after`` is
    the header as it came. ``denies_success`` is true of a body that no success has: it came whole and is an HTML page,
    or JSON that says ``"status": false``.
    """

    status: int
    name: str | None = None
    message: str | None = None
    details: str | None = None
    retry_after: str | None = None
    content_type: str | None = None
    denies_success: bool = False


class Exchange:
    """One attempt: how far it came, and what ``-v`` shows of it. What was not reached stays ``None``.

    ``first_byte_ms`` and ``total_ms`` count from the start, the other times are of those steps alone, ``None`` on a
    connection that was open already (``reused``). ``host`` is ``name:port``, ``proxy`` is without its credentials.
    """

    sent = False
    """True as soon as any byte of the request has left: the service may have the event."""
    reused = True
    peer: str | None = None
    """The address that was connected to (the proxy's, if there is one)."""
    tls_version: str | None = None
    http_version: str | None = None
    status: int | None = None
    location: str | None = None
    """The target of a redirect; none is ever followed."""
    lookup_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None
    answer: Answer | None = None
    failure: LogshError | None = None

    def __init__(self, request: Request, host: str, proxy: str | None = None) -> None:
        self._start = time.monotonic()
        self._request = request
        self.host = host
        self.proxy = proxy

    @property
    def request(self) -> dict[str, Any]:
        """The request as it may be shown, the key replaced."""
        return self._request.redacted()

    def note_first_byte(self) -> None:
        """Remember when the answer began, unless it has begun already."""
        self.first_byte_ms = self.first_byte_ms or self._elapsed_ms()

    def note_end(self) -> None:
        """Remember when the attempt was over."""
        self.total_ms = self._elapsed_ms()

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self._start) * 1000

    def told(self) -> Iterator[str]:
        """Give the attempt in lines: ``>`` is the request, ``<`` the answer, the others say what happened."""
        request = self.request
        yield f"> {request['method']} {request['url']}"
        for name, value in request["headers"].items():
            yield f"> {name}: {value}"
        yield f"> {json.dumps(request['body'], ensure_ascii=False)}"
        if self.proxy is not None:
            yield f"through the proxy {self.proxy}"
        if self.peer is not None:
            yield f"connected to {self.peer}{f', {self.tls_version}' if self.tls_version else ''}"
        elif self.sent and self.reused:
            yield f"over the open connection to {self.host}"
        if self.status is not None:
            yield f"< {self.http_version or 'HTTP'} {self.status}"
        answer = self.answer or Answer(0)
        said = {
            "Location": self.location and f"{self.location} (not followed)",
            "Content-Type": answer.content_type,
            "Retry-After": answer.retry_after,
            "name": answer.name,
            "message": answer.message,
            "details": answer.details,
        }
        yield from (f"< {label}: {text}" for label, text in said.items() if text is not None)
        if self.failure is not None:
            yield f"no answer: {self.failure.message}"
        steps = {
            "name look-up": self.lookup_ms,
            "connection": self.connect_ms,
            "TLS": self.tls_ms,
            "first byte after": self.first_byte_ms,
            "all in": self.total_ms,
        }
        yield "timings: " + ", ".join(f"{step} {ms:.1f} ms" for step, ms in steps.items() if ms is not None)


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return compact UTF-8 JSON, as it is stored and sent; ``UnicodeEncodeError`` for a lone surrogate."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def build_request(api_url: str, key: str | None, body: bytes) -> Request:
    """Return the POST for one event. It asks for no compression: answers are small, and none can then be a bomb."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
    }
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return Request("POST", api_url.rstrip("/") + EVENT_PATH, headers, body)


def read_answer(status: int, headers: Mapping[str, str], body: bytes, redact: Callable[[str], str]) -> Answer:
    """Make sense of an answer that may be JSON, HTML, empty, cut off (no ``body``) or in any charset; never raises.

    ``redact`` sees every text before it is cut: a service that repeats the key must not bring it into a message.
    """

    def shown(value: object) -> str | None:
        return None if value is None or value == "" else cut(redact(shown_value(value)))

    kind = headers.get("content-type", "")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    fields = said if isinstance(said, dict) else {}
    return Answer(
        status,
        name=shown(fields.get("name")),
        message=shown(fields.get("message")),
        details=shown(fields.get("details")),
        retry_after=shown(headers.get("retry-after")),
        content_type=shown(kind),
        denies_success=fields.get("status") is False or (said is None and _is_page(kind, body)),
    )


def cut(text: str) -> str:
    """Return the text as it may go into a message or the outbox: at most 500 characters, ending in ``…`` if cut."""
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _is_page(content_type: str, body: bytes) -> bool:
    """Tell a page for browsers, which a portal or a proxy puts in the service's place."""
    declared = content_type.lower().startswith(("text/html", "application/xhtml"))
    return bool(body.strip()) if declared else re.match(_HTML_BEGINS, body) is not None
