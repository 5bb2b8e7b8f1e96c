"""The network under httpcore, bounded by one budget: look-up, connect, TLS, and every read and write.

httpx's own timeouts start anew with each operation, so that an answer which drips byte by byte never runs into one,
and they don't cover the name look-up at all. Here each step may take what is left of the budget, and no more.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import time
from typing import TYPE_CHECKING, Any

import httpcore

from logsh_cli.errors import Unreachable
from logsh_cli.http import dialing, tls

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from logsh_cli.clock import Budget
    from logsh_cli.http.exchange import Exchange

_TLS_RECORD = 16 * 1024
_LONGEST_WAIT_S = 24 * 3600.0  # a socket takes no infinite timeout
_HINT = "check the network, a proxy or firewall in between, and the host and port in api_url"
_LOOKUP_HINT = "check the network and its name server, and the host in api_url"


class Attempt:
    """One attempt under way: the time that it has left, and the record it fills in."""

    def __init__(self, budget: Budget, exchange: Exchange) -> None:
        self.start = time.monotonic()
        self.budget = budget
        self.exchange = exchange

    def patience(self, limit: float = _LONGEST_WAIT_S) -> float:
        """Seconds that the next operation may take, at most ``limit``.

        Raises:
            TimeoutError: the budget is spent.
        """
        left = min(limit, self.budget.remaining())
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class Network(httpcore.NetworkBackend):
    """Makes connections whose every operation keeps to the budget of ``attempt``, the one under way.

    Args:
        connect_timeout: seconds for connecting, all addresses together, and again for each TLS handshake.
        event_layer: how many layers of TLS there are around the event: bytes below that layer are for proxies.
        lookup: the resolver.
    """

    attempt: Attempt

    def __init__(self, connect_timeout: float, event_layer: int, lookup: dialing.Lookup) -> None:
        self.connect_timeout = connect_timeout
        self.event_layer = event_layer
        self._lookup = lookup

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the budget says how long
        local_address: str | None = None,  # noqa: ARG002 - nobody asks for one
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - as above
    ) -> Stream:
        """Connect to whichever address of ``host`` answers first.

        Raises:
            Unreachable: none did, or the name has none, or time ran out.
        """
        attempt, exchange = self.attempt, self.attempt.exchange
        exchange.reused = False
        where = exchange.host if exchange.proxy is None else f"the proxy {exchange.proxy}"
        start = time.monotonic()
        try:
            addresses = dialing.look_up(host, port, attempt.patience(), self._lookup)
        except TimeoutError as error:
            raise Unreachable(f"{where}: the name look-up took too long", hint=_LOOKUP_HINT) from error
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unreachable(f"{where}: the name look-up failed: {reason}", hint=_LOOKUP_HINT) from error
        looked_up = time.monotonic()
        exchange.lookup_ms = (looked_up - start) * 1000
        try:
            sock = dialing.connect_to_first(addresses, attempt.patience(self.connect_timeout))
        except TimeoutError as error:
            waited = f"{time.monotonic() - looked_up:.1f} s"
            raise Unreachable(f"{where}: no connection within {waited}", hint=_HINT) from error
        except OSError as error:
            raise Unreachable(f"{where}: {error.strerror or error}", hint=_HINT) from error
        exchange.connect_ms = (time.monotonic() - looked_up) * 1000
        with contextlib.suppress(OSError):  # it may have hung up by now; reading will tell
            address, peer_port = sock.getpeername()[:2]
            exchange.peer = f"[{address}]:{peer_port}" if ":" in address else f"{address}:{peer_port}"
        return Stream(sock, self)


class Stream(httpcore.NetworkStream):
    """A connection, plain or TLS; ``layer`` counts the layers of TLS."""

    def __init__(self, sock: socket.socket, network: Network, layer: int = 0) -> None:
        self.sock = sock
        self.network = network
        self.layer = layer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the budget says how long
        """Whatever comes next; empty at the end."""
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            self.sock.settimeout(self.network.attempt.patience())
            data = self.sock.recv(max_bytes)
        self._note_received(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the budget says how long
        """All of it."""
        left = memoryview(buffer)
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            while left:
                self.sock.settimeout(self.network.attempt.patience())
                left = left[self.sock.send(left) :]
                self._note_sent()

    def close(self) -> None:
        """At once: a TLS farewell could block."""
        self.sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the budget says how long
    ) -> Stream:
        """Secure the connection.

        Raises:
            TlsFailure: it can't be.
        """
        network, exchange = self.network, self.network.attempt.exchange
        start = time.monotonic()
        try:
            # One limit for the whole handshake: the ssl module counts a socket's timeout from its beginning.
            self.sock.settimeout(network.attempt.patience(network.connect_timeout))
            secured = self._secure(ssl_context, server_hostname)
        except (OSError, httpcore.TimeoutException, httpcore.NetworkError) as error:
            self.close()
            to_proxy = self.layer + 1 < network.event_layer
            where = f"the proxy {exchange.proxy}" if to_proxy else exchange.host
            raise tls.explain(error if isinstance(error, OSError) else error.__cause__, where) from error
        except BaseException:
            self.close()
            raise
        exchange.tls_ms = (time.monotonic() - start) * 1000
        state = secured.get_extra_info("ssl_object")
        exchange.tls_version, exchange.certificate = state.version(), state.getpeercert()
        return secured

    def _secure(self, context: ssl.SSLContext, server_hostname: str | None) -> Stream:
        if isinstance(self.sock, ssl.SSLSocket):
            return _StreamInStream(self, context, server_hostname)
        sock = context.wrap_socket(self.sock, server_hostname=server_hostname)
        return Stream(sock, self.network, self.layer + 1)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for: the TLS state, and whether the other side has hung up on an idle connection."""
        if info == "ssl_object":
            return self.sock if isinstance(self.sock, ssl.SSLSocket) else None
        return _is_readable(self.sock) if info == "is_readable" else None

    def _note_sent(self) -> None:
        if self.layer == self.network.event_layer:
            self.network.attempt.exchange.sent = True

    def _note_received(self, data: bytes) -> None:
        attempt = self.network.attempt
        if data and self.layer == self.network.event_layer and attempt.exchange.first_byte_ms is None:
            attempt.exchange.first_byte_ms = (time.monotonic() - attempt.start) * 1000


class _StreamInStream(Stream):
    """TLS inside TLS, behind an https:// proxy: ``SSLContext.wrap_socket`` takes no socket that is secured already."""

    def __init__(self, outer: Stream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        super().__init__(outer.sock, outer.network, outer.layer + 1)
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._drive(self._tls.do_handshake)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the budget says how long
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            try:
                data: bytes = self._drive(self._tls.read, max_bytes)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
        self._note_received(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the budget says how long
        left = memoryview(buffer)
        self._note_sent()  # a failure from here on leaves open how much of it got out
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            while left:
                left = left[self._drive(self._tls.write, left) :]

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else super().get_extra_info(info)

    def _drive(self, step: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self._flush()
                data = self._outer.read(_TLS_RECORD)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._outer.write(self._outgoing.read())


@contextlib.contextmanager
def _mapped(on_timeout: type[Exception], on_failure: type[Exception]) -> Iterator[None]:
    """Raise as httpcore expects it: after a failed write it still looks for an early answer."""
    try:
        yield
    except TimeoutError as error:
        raise on_timeout(str(error)) from error
    except OSError as error:
        raise on_failure(error.strerror or str(error)) from error


def _is_readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
