"""From a host name to an open TCP connection, in bounded time."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
    Lookup = Callable[[str, int], Sequence[AddressInfo]]
    """Host name and port to what ``socket.getaddrinfo`` returns; raises ``OSError``."""

NEXT_ADDRESS_AFTER_S = 0.25
"""How long one address is tried alone: the "Connection Attempt Delay" that RFC 8305 recommends."""

_IN_PROGRESS = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)}


def system_lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """Ask the system's resolver; blocks for as long as that likes."""
    return cast("Sequence[AddressInfo]", socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def look_up(host: str, port: int, patience: float, lookup: Lookup = system_lookup) -> Sequence[AddressInfo]:
    """The addresses of ``host``.

    Raises:
        TimeoutError: no answer within ``patience`` seconds.
        OSError, UnicodeError: the name has no address, or can't be a name.
    """
    outcome: list[Sequence[AddressInfo] | Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            outcome.append(lookup(host, port))
        except Exception as error:  # noqa: BLE001 - carried over to the thread that waits
            outcome.append(error)
        done.set()

    # Nothing can interrupt the resolver, but a daemon thread can be left behind with it.
    threading.Thread(target=ask, name="logsh-lookup", daemon=True).start()
    if not done.wait(patience):
        raise TimeoutError
    result = outcome[0]
    if isinstance(result, Exception):
        raise result
    return result


def connect_to_first(addresses: Sequence[AddressInfo], patience: float) -> socket.socket:
    """A connection to the first address that answers, the families taking turns: RFC 8305, simplified.

    The next address is tried as soon as one fails, or beside it after a quarter of a second, so that a network that
    swallows IPv6 costs no more than that.

    Raises:
        TimeoutError: none answered within ``patience`` seconds.
        OSError: all refused; its text has each reason once.
    """
    waiting = _families_in_turn(addresses)
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
                        trying.register(_begin(waiting.popleft()), selectors.EVENT_WRITE)
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
    if code not in _IN_PROGRESS:
        sock.close()
        raise OSError(code, _reason(code))
    return sock


def _reason(code: int) -> str:
    names: dict[int, str] = getattr(socket, "errorTab", {})  # Windows only, where strerror knows no socket errors
    return names.get(code) or os.strerror(code)


def _families_in_turn(addresses: Sequence[AddressInfo]) -> deque[AddressInfo]:
    """The resolver's order, but no two addresses of a family in a row while there are others."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return deque(address for address in chain.from_iterable(zip_longest(first, others)) if address is not None)
