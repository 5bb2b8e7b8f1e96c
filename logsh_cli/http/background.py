"""A value that is being made on another thread while the caller waits for something else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Background(Generic[T]):
    """Starts at once; worth it for what lets go of the interpreter: disk, network, OpenSSL reading certificates."""

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._value: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._build())
        except BaseException as error:  # noqa: BLE001 - raised again where the value is asked for
            self._error = error

    def result(self) -> T:
        """Wait for the value; raises what making it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value[0]
