"""Time as a value, so that a test can bring its own."""

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
