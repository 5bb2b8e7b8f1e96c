"""Clients that are closed at the end, however a test ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logsh_cli.http.client import Client

KEY = "logsh_canary_5f2d"


class Connect(Protocol):
    """Makes a client; the keywords are those of ``Client``."""

    def __call__(
        self, url: str, key: str | None = KEY, *, env: Mapping[str, str] | None = None, **options: Any
    ) -> Client: ...


@contextlib.contextmanager
def closing_clients() -> Iterator[Connect]:
    from logsh_cli.http.client import Client  # noqa: PLC0415 - most users of this package start processes instead

    with contextlib.ExitStack() as stack:

        def connect(url: str, key: str | None = KEY, *, env: Mapping[str, str] | None = None, **options: Any) -> Client:
            client = Client(url, key, env=env or {}, **options)
            stack.callback(client.close)
            return client

        yield connect
