"""``--verbose``: what went out, what came back and how long each step took, for every attempt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logsh_cli.http.wire import Answer, Exchange


def narrate(exchange: Exchange) -> Iterator[str]:
    """Give one attempt in lines: ``>`` is the request, ``<`` the answer, the others say what happened."""
    request = exchange.request
    yield f"> {request['method']} {request['url']}"
    for name, value in request["headers"].items():
        yield f"> {name}: {value}"
    yield f"> {json.dumps(request['body'], ensure_ascii=False)}"
    if exchange.proxy is not None:
        yield f"through the proxy {exchange.proxy}"
    if exchange.peer is not None:
        secured = f", {exchange.tls_version}" if exchange.tls_version else ""
        yield f"connected to {exchange.peer}{secured}"
    elif exchange.sent and exchange.reused:
        yield f"over the open connection to {exchange.host}"
    if exchange.status is not None:
        yield f"< {exchange.http_version or 'HTTP'} {exchange.status}"
    if exchange.location is not None:
        yield f"< Location: {exchange.location} (not followed)"
    if exchange.answer is not None:
        yield from _said(exchange.answer)
    if exchange.failure is not None:
        yield f"no answer: {exchange.failure.message}"
    steps = {
        "name look-up": exchange.lookup_ms,
        "connection": exchange.connect_ms,
        "TLS": exchange.tls_ms,
        "first byte after": exchange.first_byte_ms,
        "all in": exchange.total_ms,
    }
    yield "timings: " + ", ".join(f"{step} {ms:.1f} ms" for step, ms in steps.items() if ms is not None)


def _said(answer: Answer) -> Iterator[str]:
    fields = {
        "Content-Type": answer.content_type,
        "Retry-After": answer.retry_after,
        "name": answer.name,
        "message": answer.message,
        "details": answer.details,
    }
    for label, value in fields.items():
        if value is not None:
            yield f"< {label}: {value}"
