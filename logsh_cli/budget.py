"""The seconds there are for something as a whole, however many steps it takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Budget:
    """``seconds`` from now on, in which everything has to happen.

    Args:
        seconds: how long; ``math.inf`` for no limit.
        monotonic: the clock, in seconds; a test may pass its own.
    """

    __slots__ = ("_end", "_monotonic", "_start")

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._start = monotonic()
        self._end = self._start + seconds

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - self._monotonic())

    def spent(self) -> float:
        """Seconds since the start, beyond the end as well."""
        return self._monotonic() - self._start
