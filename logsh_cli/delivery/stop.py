"""Being told to stop while something must not be cut off: the first signal asks, the second one insists."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from logsh_cli.errors import stop_signal

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self


_STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
"""Windows has the first two."""


class StopRequest:
    """While entered, a signal to stop sets ``event`` instead of raising; a second one raises if it may ``insist``."""

    def __init__(self, *, insist: bool = True) -> None:
        self.event = threading.Event()
        self._insist = insist
        self._stop = KeyboardInterrupt()
        self._previous: dict[int, object] = {}

    def __bool__(self) -> bool:
        return self.event.is_set()

    def error(self) -> KeyboardInterrupt:
        """Return the signal that came, as the exception it would have been."""
        return self._stop

    def __enter__(self) -> Self:
        for signum in (signal.Signals[name] for name in _STOPS if name in signal.Signals.__members__):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]  # what signal.signal itself gave back

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if self and self._insist:
            raise self._stop
        self._stop = stop_signal(signum)
        self.event.set()
