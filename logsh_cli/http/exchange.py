"""The record of one attempt: what ``-v`` shows of it, and how far it came. A value; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logsh_cli.http.wire import Request


class Exchange:
    """Filled in as the attempt goes on; what was not reached stays ``None``.

    Durations are in milliseconds. ``lookup_ms``, ``connect_ms`` and ``tls_ms`` are of those steps alone, and ``None``
    on a connection that was open already (``reused``); ``first_byte_ms`` and ``total_ms`` count from the start.

    Args:
        request: what is sent; it holds the key, so only ``request`` gives it out, redacted.
        host: where the event goes, as ``name:port``.
        proxy: the proxy in between, without its credentials.
    """

    # Not a dataclass: with this many fields that costs a millisecond at every start.

    sent = False
    """Whether any byte of the request has left; once true, the service may have the event."""
    reused = True
    peer: str | None = None
    """The address that was connected to (the proxy's, if there is one)."""
    tls_version: str | None = None
    certificate: dict[str, Any] | None = None
    """The service's, as ``ssl.SSLSocket.getpeercert`` gives a verified one."""
    http_version: str | None = None
    status: int | None = None
    location: str | None = None
    """Where a redirect pointed; none is ever followed."""
    lookup_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None

    def __init__(self, request: Request, host: str, proxy: str | None = None) -> None:
        self._request = request
        self.host = host
        self.proxy = proxy

    @property
    def request(self) -> dict[str, Any]:
        """The request as it may be shown, the key replaced."""
        return self._request.redacted()
