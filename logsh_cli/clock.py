"""Time as values: a clock that a test can replace, the seconds there are for something, durations as text."""

from __future__ import annotations

import math
import re
import time as _time
from typing import TYPE_CHECKING

from logsh_cli import Record
from logsh_cli.errors import UsageError
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"(?:\d+(?:\.\d*)?|\.\d+)[dhms]?|(?:\d+(?:\.\d+)?[dhms])+"
_PART = r"([\d.]+)([dhms]?)"


class BootTime(Record):
    """Seconds since this machine was started, suspended ones included, and a name for that start."""

    id: str
    seconds: float


def boot_time() -> BootTime | None:
    """Return the time since the boot, which no step of the wall clock changes; ``None`` where the system has none."""
    clock = getattr(_time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return None
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - loads no pathlib
            return BootTime(file.read().strip(), _time.clock_gettime(clock))
    except (OSError, ValueError):
        return None


class Clock(Record):
    """Epoch seconds, monotonic seconds, a way to let them pass, which may end early, and the time since the boot."""

    time: Callable[[], float] = _time.time
    monotonic: Callable[[], float] = _time.monotonic
    sleep: Callable[[float], object] = _time.sleep
    boot: Callable[[], BootTime | None] = boot_time


class Budget:
    """So many seconds from now on, ``math.inf`` for no limit, in which everything has to happen."""

    __slots__ = ("_end", "_monotonic")

    def __init__(self, seconds: float, monotonic: Callable[[], float] = _time.monotonic) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self._end - self._monotonic())


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``15m``, ``1.5h``, ``1h30m`` or ``2d``.

    Raises ``ValueError`` for anything else, with a sentence that lacks its subject.
    """
    given = text.strip().lower()
    seconds = math.inf
    if re.fullmatch(_DURATION, given, re.ASCII):
        seconds = sum(float(number) * _UNIT_S[unit] for number, unit in re.findall(_PART, given))
    if not math.isfinite(seconds):
        raise ValueError("must be a duration such as 90s, 15m or 2h")
    return seconds


def option_seconds(label: str, text: str | None) -> float | None:
    """Return the seconds of a duration given to the option ``label``, if it was. Raises ``UsageError``."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        hint = "a number of seconds, or numbers with the units s, m, h or d"
        raise UsageError(f"{label} {error}; got {excerpt(str(text))}", hint=hint) from None
