"""Decide what the sandbox answers: the documented contract, and the faults of ``--fail``. No sockets, no clock.

The contract is the API reference of "Event": 400, 401 and 429 with a message, and success, for which the service says
201 where the reference says 200. Beyond both, ``details`` names every field and rule that was broken, and 404, 405, 413
and 421 look as a web server's do.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from logsh_cli import Record
from logsh_cli.config import EVENT_PATH
from logsh_cli.errors import InvalidEvent, UsageError
from logsh_cli.event import FIELD_LABELS, WHITE_SPACE, build_event, draft_from_json
from logsh_cli.output.text import excerpt

MAX_BODY_BYTES: Final = 1024 * 1024
SLOW_S: Final = 5.0
"""The time for which ``--fail slow`` holds an answer back."""

_NAMED: Final = {
    400: ("bad_request", "Invalid body parameters provided."),
    401: ("unauthorized", "Your Bearer Token is missing, invalid or expired."),
    # Not in the reference, and the phrase of http.HTTPStatus differs between versions of Python.
    413: ("payload_too_large", "The body is too large."),
    429: ("rate_limit_exceeded", "Rate limit was exceeded."),
}
_JSON: Final = ("Content-Type", "application/json")


class Reply(Record):
    """One answer. ``event`` is the accepted body, as sent; ``reason`` says to a person why there is none."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]
    event: dict[str, Any] | None = None
    reason: str | None = None


def parse_faults(spec: str) -> tuple[str, ...]:
    """Return the items of ``--fail 503,429,drop``, in the order in which requests get them.

    Raises ``UsageError``, which names all that are not allowed.
    """
    faults = [item.strip() for item in spec.split(",")]
    bad = [item for item in faults if not re.fullmatch("[45][0-9]{2}|drop|slow|html", item.lower())]
    if bad:
        given = ", ".join(excerpt(item) if item else "an empty item" for item in bad)
        raise UsageError(
            f"--fail takes a status from 400 to 599, drop, slow or html for each request; got {given}",
            hint="separate them by commas, the first request's first: --fail 503,429,drop",
        )
    return tuple(item.lower() for item in faults)


def misrouted(method: str, target: str, host: str | None, port: int) -> Reply | None:
    """Return the answer to a request that is not ``POST /api/event`` at this address, or ``None`` when it is.

    ``host`` is the header: with any other name, a page in a browser could send what a test then takes for its own.
    """
    if (host or "").lower() not in {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}:
        return _error(421, reason=f"Host: {host}: the sandbox answers to 127.0.0.1:{port} only")
    try:
        path = urlsplit(target).path
    except ValueError:
        path = target
    if path != EVENT_PATH:
        return _page(404, "Not Found", reason=f"{method} {target}: the sandbox only has {EVENT_PATH}")
    if method != "POST":
        return _error(405, reason=f"{method}: {EVENT_PATH} takes POST only", extra=(("Allow", "POST"),))
    return None


def fault_reply(fault: str | None) -> Reply | None:
    """Return the answer that a fault makes, if it makes one of its own.

    A 429 asks to wait for one second, as the service's does; ``html`` is what a proxy in front of a service sends when
    the service is away.
    """
    if fault == "html":
        return _page(502, "Bad Gateway", reason="--fail html")
    if fault is None or not fault.isdecimal():
        return None
    return _error(int(fault), reason="--fail", extra=(("Retry-After", "1"),) if fault == "429" else ())


def judge(authorization: str | None, content_type: str | None, body: bytes | None) -> Reply:
    """Return the documented answer to a POST: the key is checked first, then the body.

    Any key is taken: the sandbox has no accounts. ``body`` is ``None`` when it was longer than ``MAX_BODY_BYTES``.
    """
    if not re.match(r"(?i)bearer\s+\S", authorization or ""):
        return _error(401)
    if body is None:
        return _error(413, reason=f"the body is longer than {MAX_BODY_BYTES:,} bytes")
    if (content_type or "").partition(";")[0].strip().lower() != "application/json":
        return _error(400, reason="the header Content-Type must be application/json")
    try:
        parsed = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        return _error(400, reason=f"the body is not JSON ({error})" if body else "the body is empty")
    if problems := _problems(parsed):
        return _error(400, reason="; ".join(problems))
    return Reply(201, b'{"status":true}', (_JSON,), event=parsed)


def _problems(parsed: object) -> list[str]:
    draft, problems = draft_from_json(parsed)
    if isinstance(parsed, dict) and "workspace" not in parsed:
        problems.append("workspace is required")
    try:
        event = build_event(draft, labels=FIELD_LABELS, extra_problems=problems)
    except InvalidEvent as error:
        return error.problems
    if draft.icon is not None and event.icon != draft.icon.strip(WHITE_SPACE):
        return ["icon must be an emoji; a shortcode is for logsh, which sends the emoji"]
    return []


def _error(status: int, *, reason: str | None = None, extra: tuple[tuple[str, str], ...] = ()) -> Reply:
    name, message = _NAMED.get(status, ("error", f"Error {status}."))
    if status not in _NAMED and status in {*HTTPStatus}:
        name, message = HTTPStatus(status).name.lower(), f"{HTTPStatus(status).phrase}."
    body: dict[str, Any] = {"status": False, "name": name, "message": message}
    if reason is not None:
        body["details"] = reason
    return Reply(status, json.dumps(body).encode(), (_JSON, *extra), reason=reason or message)


def _page(status: int, title: str, *, reason: str) -> Reply:
    page = f"<!doctype html>\n<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Reply(status, page.encode(), (("Content-Type", "text/html; charset=utf-8"),), reason=reason)
