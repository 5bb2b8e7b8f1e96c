"""Being told to stop while many things are under way: the first signal asks, the second one insists."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from logsh_cli.errors import TermSignal

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Self


_STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
"""HUP ends us as TERM does, QUIT as INT does. Windows has the first two."""


class StopRequest:
    """While entered, a signal to stop is noted instead of raised; a second one raises as if nothing were arranged."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._previous: dict[int, object] = {}
        self.event = threading.Event()

    def __bool__(self) -> bool:
        return self._signum is not None

    def error(self) -> KeyboardInterrupt:
        """The signal that came, as the exception it would have been."""
        name = "" if self._signum is None else signal.Signals(self._signum).name.removeprefix("SIG")
        return TermSignal(name) if name in ("TERM", "HUP") else KeyboardInterrupt()

    def __enter__(self) -> Self:
        for signum in (signal.Signals[name] for name in _STOPS if name in signal.Signals.__members__):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]  # what signal.signal itself gave back

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if self._signum is not None:
            raise self.error()
        self._signum = signum
        self.event.set()
