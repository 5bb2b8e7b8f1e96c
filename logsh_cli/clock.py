"""Time as values: a clock that a test can replace, and the seconds there are for something as a whole."""

from __future__ import annotations

import time as _time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(NamedTuple):
    """Epoch seconds, monotonic seconds, and a way to let them pass."""

    time: Callable[[], float] = _time.time
    monotonic: Callable[[], float] = _time.monotonic
    sleep: Callable[[float], None] = _time.sleep


class Budget:
    """``seconds`` from now on, in which everything has to happen.

    Args:
        seconds: how long; ``math.inf`` for no limit.
        monotonic: the clock, in seconds; a test may pass its own.
    """

    __slots__ = ("_end", "_monotonic")

    def __init__(self, seconds: float, monotonic: Callable[[], float] = _time.monotonic) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self._end - self._monotonic())
