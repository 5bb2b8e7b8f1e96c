"""What goes over the wire, as values: the request to send and the answer that came back. No I/O.

The one place that knows the service's path, its headers and the shape of its JSON bodies.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli import __version__
from logsh_cli.config.urls import EVENT_PATH
from logsh_cli.output.text import REDACTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USER_AGENT = f"logsh-cli/{__version__}"
MAX_ANSWER_BYTES = 64 * 1024
"""More of an answer than this is never read: it can't be one of Logsh's, which are a few hundred bytes."""

_MAX_MESSAGE = 500


class Request(NamedTuple):
    """One HTTP request, whole: nothing is added to it on the way out but ``Host`` and ``Content-Length``."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    def redacted(self) -> dict[str, Any]:
        """The request as ``--dry-run`` and ``-v`` show it: the key replaced, the body as JSON."""
        headers = {name: f"Bearer {REDACTED}" if name == "Authorization" else v for name, v in self.headers.items()}
        return {"method": self.method, "url": self.url, "headers": headers, "body": json.loads(self.body)}


class Answer(NamedTuple):
    """The service's answer, reduced to what decisions and messages need.

    ``name``, ``message`` and ``details`` come from a JSON error body and are ``None`` where there is none.
    ``retry_after`` is the header as it came; ``date`` the server's own clock, as it came.
    """

    status: int
    name: str | None = None
    message: str | None = None
    details: str | None = None
    retry_after: str | None = None
    content_type: str | None = None


def event_url(api_url: str) -> str:
    """The endpoint below a base URL: ``https://logsh.co`` and ``https://logsh.co/`` give the same."""
    return api_url.rstrip("/") + EVENT_PATH


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON, as it is stored and sent.

    Raises:
        UnicodeEncodeError: a string holds a lone surrogate, which has no UTF-8 form.
    """
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def build_request(api_url: str, key: str | None, body: bytes) -> Request:
    """The POST for one event. Compression is not asked for: answers are small, and none can then be a bomb."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
    }
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return Request("POST", event_url(api_url), headers, body)


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, redact: Callable[[str], str] = lambda text: text
) -> Answer:
    """Make sense of an answer that may be JSON, HTML, empty, cut off or in any charset; never raises.

    ``headers`` are looked up by lower-case name. ``redact`` sees every text before it is cut to size: a service that
    repeats the key must not bring it into a message, or by way of that into the outbox.
    """
    name, message, details = (None if text is None else _cut(redact(text)) for text in _error_fields(body))
    kind = headers.get("content-type")
    return Answer(status, name, message, details, headers.get("retry-after"), None if kind is None else redact(kind))


def _error_fields(body: bytes) -> tuple[str | None, str | None, str | None]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None, None, None
    if not isinstance(parsed, dict):
        return None, None, None
    return _text(parsed.get("name")), _text(parsed.get("message")), _text(parsed.get("details"))


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
