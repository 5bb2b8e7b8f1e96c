"""Makes HTTP clients for one destination, as quickly as can be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from logsh_cli.config.resolve import Destination
    from logsh_cli.http.client import Client

T = TypeVar("T")


class Background(Generic[T]):
    """A value that a thread makes while the caller does something else; made at once where no thread can be started."""

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._done = threading.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:
            self._run()

    def _run(self) -> None:
        try:
            self._value.append(self._build())
        except BaseException as error:  # noqa: BLE001 - raised again where the value is asked for
            self._error = error
        self._done.set()

    def result(self, patience: float | None = None) -> T:
        """Wait for the value, at most ``patience`` seconds; ``TimeoutError``, or what making it raised."""
        if not self._done.wait(patience):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value[0]


class Connector:
    """Call it for a client; any thread may, and gets one of its own. ``tell`` is handed on to each.

    Certificates are read once for all, and while httpx is being loaded: OpenSSL leaves the interpreter to others.
    """

    def __init__(
        self, destination: Destination, env: Mapping[str, str], tell: Callable[[str], None] | None = None
    ) -> None:
        self._destination = destination
        self._env = env
        self._tell = tell
        self._lock = threading.Lock()
        self._trust: Background[ssl.SSLContext] | None = None

    def __call__(self) -> Client:
        """Return a client, unconnected. Raises ``BadConfig`` when the certificates or the proxy can't be used."""
        if self._destination.api_url.startswith("https:"):
            with self._lock:
                if self._trust is None:
                    from logsh_cli.http.tls import make_context  # noqa: PLC0415 - loads ssl

                    self._trust = Background(lambda: make_context(self._destination.ca_file, self._env))
        from logsh_cli.http.client import Client  # noqa: PLC0415 - httpx; and only now, while the certificates are read

        to = self._destination
        context = None if self._trust is None else self._trust.result()
        return Client(to.api_url, to.key, ca_file=to.ca_file, env=self._env, context=context, tell=self._tell)
