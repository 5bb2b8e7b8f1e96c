"""Connect, secure, read and write, every step within one budget.

httpcore's own streams do the work, but their timeouts start anew with each operation, so that an answer which drips
byte by byte never runs into one, and none covers the name look-up. Here each step may take what is left of the budget.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import ssl
import time
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

import httpcore
from httpcore._backends.sync import SyncStream  # its backend connects to one address after the other; ours races them

from logsh_cli.errors import Unreachable
from logsh_cli.http import tls
from logsh_cli.http.connector import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logsh_cli.clock import Budget
    from logsh_cli.http.wire import Exchange

    AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
    Lookup = Callable[[str, int], Sequence[AddressInfo]]
    """Host name and port to what ``socket.getaddrinfo`` returns; raises ``OSError``."""

NEXT_ADDRESS_AFTER_S = 0.25
"""The time for which one address is tried alone: the "Connection Attempt Delay" that RFC 8305 recommends."""

_LONGEST_WAIT_S = 24 * 3600.0  # a socket takes no infinite timeout
_WRITE_BYTES = 16 * 1024  # a TLS record; httpcore gives a whole buffer one timeout for each of its parts
_IN_PROGRESS = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)}
_HINT = "check the network, a proxy or firewall in between, and the host and port in api_url"
_LOOKUP_HINT = "check the network and its name server, and the host in api_url"


class Network(httpcore.NetworkBackend):
    """Makes connections that keep to the budget of the attempt under way, and note how far it came.

    The timeouts that httpcore passes are not looked at, here and in ``Stream``: the budget says how long. There are
    ``tls_layers`` of TLS around the event; bytes below the last one are for proxies.
    """

    exchange: Exchange
    budget: Budget

    def __init__(self, connect_timeout: float, tls_layers: int, lookup: Lookup) -> None:
        self.connect_timeout = connect_timeout
        self.tls_layers = tls_layers
        self._lookup = lookup

    def patience(self, limit: float = _LONGEST_WAIT_S) -> float:
        """Return the seconds that the next step may take, at most ``limit``; ``TimeoutError`` if none are left."""
        left = min(limit, self.budget.remaining())
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> Stream:
        """Connect to whichever address of ``host`` answers first; ``Unreachable`` if none does."""
        exchange = self.exchange
        exchange.reused = False
        where = exchange.host if exchange.proxy is None else f"the proxy {exchange.proxy}"
        start = time.monotonic()
        patience = self.patience()
        try:
            # Nothing can interrupt the resolver, but the thread can be left behind with it.
            addresses = Background(lambda: self._lookup(host, port)).result(patience)
        except TimeoutError as error:
            raise Unreachable(f"{where}: the name look-up took too long", hint=_LOOKUP_HINT) from error
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unreachable(f"{where}: the name look-up failed: {reason}", hint=_LOOKUP_HINT) from error
        looked_up = time.monotonic()
        exchange.lookup_ms = (looked_up - start) * 1000
        try:
            sock = connect_to_first(addresses, self.patience(self.connect_timeout))
        except TimeoutError as error:
            waited = f"{time.monotonic() - looked_up:.1f} s"
            raise Unreachable(f"{where}: no connection within {waited}", hint=_HINT) from error
        except OSError as error:
            raise Unreachable(f"{where}: {error.strerror or error}", hint=_HINT) from error
        exchange.connect_ms = (time.monotonic() - looked_up) * 1000
        with contextlib.suppress(OSError):  # it may have hung up by now; reading will tell
            address, peer_port = sock.getpeername()[:2]
            exchange.peer = f"[{address}]:{peer_port}" if ":" in address else f"{address}:{peer_port}"
        return Stream(SyncStream(sock), self)


class Stream(httpcore.NetworkStream):
    """One of httpcore's streams under the budget; ``layer`` counts the layers of TLS."""

    def __init__(self, inner: httpcore.NetworkStream, network: Network, layer: int = 0) -> None:
        self._inner = inner
        self._network = network
        self._layer = layer
        self._carries_the_event = layer == network.tls_layers
        self.close = inner.close  # type: ignore[method-assign] # at once: a TLS farewell could block
        self.get_extra_info = inner.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, *_: Any, **__: Any) -> bytes:
        """Return whatever comes next; empty at the end."""
        try:
            data = self._inner.read(max_bytes, self._network.patience())
        except httpcore.ReadError as error:
            # What a socket reports as the end, TLS inside TLS reports as an error.
            if not isinstance(error.__cause__, (ssl.SSLZeroReturnError, ssl.SSLEOFError)):
                raise
            data = b""
        if data and self._carries_the_event:
            self._network.exchange.note_first_byte()
        return data

    def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        """Send all of it."""
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._inner.write(buffer[start : start + _WRITE_BYTES], self._network.patience())
            if self._carries_the_event:
                self._network.exchange.sent = True

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, *_: Any, **__: Any) -> Stream:
        """Return the secured connection; ``TlsFailure`` if it can't be secured."""
        network, exchange = self._network, self._network.exchange
        # As bytes, here and for the resolver: httpx has made it ASCII, and a codec to do so again costs 1 ms.
        name: Any = None if server_hostname is None else server_hostname.encode("ascii")
        start = time.monotonic()
        try:
            # One limit for the whole handshake: the ssl module counts a socket's timeout from its beginning.
            secured = self._inner.start_tls(ssl_context, name, network.patience(network.connect_timeout))
        except BaseException as error:
            self.close()
            if not isinstance(error, (TimeoutError, httpcore.ConnectTimeout, httpcore.ConnectError)):
                raise
            where = f"the proxy {exchange.proxy}" if self._layer + 1 < network.tls_layers else exchange.host
            raise tls.explain(error.__cause__ or error, where) from error
        exchange.tls_ms = (time.monotonic() - start) * 1000
        exchange.tls_version = secured.get_extra_info("ssl_object").version()
        if isinstance(sock := secured.get_extra_info("socket"), ProxySocket):
            sock.patience = network.patience
        return Stream(secured, network, self._layer + 1)


class ProxySocket(ssl.SSLSocket):
    """The TLS connection to an https:// proxy: the TLS inside it takes many turns for one step of its own."""

    patience: Callable[[], float]

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive as a socket does, within the budget."""
        self.settimeout(self.patience())
        return super().recv(buflen, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as a socket does, within the budget; ``sendall`` comes here as well."""
        self.settimeout(self.patience())
        return super().send(data, flags)


def system_lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """Ask the system's resolver; blocks for as long as that likes. Raises ``OSError`` and ``UnicodeError``."""
    return cast("Sequence[AddressInfo]", socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM))


def connect_to_first(addresses: Sequence[AddressInfo], patience: float) -> socket.socket:
    """Return a connection to the first address that answers, the families taking turns: RFC 8305, simplified.

    The next one is tried as soon as one fails, or beside it after a quarter of a second: a network that swallows IPv6
    costs no more. ``TimeoutError`` if none answered within ``patience`` seconds, ``OSError`` if all refused.
    """
    waiting = families_in_turn(addresses)
    reasons: list[str] = []
    give_up = time.monotonic() + patience
    next_start = 0.0
    with selectors.DefaultSelector() as trying:
        try:
            while waiting or trying.get_map():
                now = time.monotonic()
                if now >= give_up:
                    raise TimeoutError
                if waiting and (now >= next_start or not trying.get_map()):
                    try:
                        trying.register(_begin(waiting.pop(0)), selectors.EVENT_WRITE)
                    except OSError as error:
                        reasons.append(error.strerror or str(error))
                        continue
                    next_start = now + NEXT_ADDRESS_AFTER_S
                until = min(next_start, give_up) if waiting else give_up
                for key, _ in trying.select(max(0.0, until - now)):
                    sock = cast("socket.socket", key.fileobj)
                    trying.unregister(sock)
                    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not failure:
                        return sock
                    sock.close()
                    reasons.append(_reason(failure))
                    next_start = 0.0
        finally:
            for key in list(trying.get_map().values()):
                cast("socket.socket", key.fileobj).close()
    raise OSError("; ".join(dict.fromkeys(reasons)) or "the name has no address")


def _begin(address: AddressInfo) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(where)
    except BaseException:
        sock.close()
        raise
    if code in _IN_PROGRESS:
        return sock
    sock.close()
    raise OSError(code, _reason(code))


def _reason(code: int) -> str:
    names: dict[int, str] = getattr(socket, "errorTab", {})  # Windows only, where strerror knows no socket errors
    return names.get(code) or os.strerror(code)


def families_in_turn(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Return them in the resolver's order, but no two of a family in a row while there are others."""
    families: dict[int, list[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for turn in zip_longest(*families.values()) for address in turn if address is not None]
