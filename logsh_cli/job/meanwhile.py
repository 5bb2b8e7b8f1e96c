"""Done on a thread while the command runs: its signals can't wait for us, since two of a kind that wait become one."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logsh_cli.app import AppContext
    from logsh_cli.job import RunOptions
    from logsh_cli.job.report import JobReport

_SWITCH_S = 0.0005
"""Signals are handed on by the main thread, which has to get the interpreter for it."""


class Meanwhile(threading.Thread):
    """Load what will tell of the command, and report its start. ``report`` is there once that is loaded."""

    def __init__(self, app: AppContext, given: RunOptions) -> None:
        super().__init__(name="meanwhile", daemon=True)
        self.report: JobReport | None = None
        self._app = app
        self._given = given
        self._is_imported = threading.Event()
        self._is_over = threading.Event()
        sys.setswitchinterval(_SWITCH_S)
        with suppress(RuntimeError):  # no thread can be started: then it is loaded at the end
            self.start()

    def run(self) -> None:
        """The thread's work."""
        with suppress(Exception):  # an upgrade under way, no memory: it will show again, and be told, at the end
            try:
                from logsh_cli.job.report import JobReport  # noqa: PLC0415 - the command runs already
            finally:
                self._is_imported.set()
            self.report = JobReport(self._app, self._given)
            self.report.meanwhile(self._is_over)

    def end(self) -> None:
        """The command has ended: load nothing more. An import that fails must not be met half way by another one."""
        self._is_over.set()
        if self.ident is not None:
            self._is_imported.wait()

    def wait(self, timeout_s: float) -> None:
        """Wait until the start has been reported, if it is."""
        if self.ident is not None:
            self.join(timeout_s)
