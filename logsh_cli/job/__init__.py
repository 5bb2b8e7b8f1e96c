"""Run a command as if logsh were not there, and tell how it ended.

Here: the command line of ``logsh run`` as one value, and the thread beside the command. Both are light: the command has
not been started when this is loaded.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

from logsh_cli import Record
from logsh_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from logsh_cli.app import AppContext
    from logsh_cli.job.report import JobReport

On: TypeAlias = Literal["always", "failure", "success", "change"]
NotifyOn: TypeAlias = Literal["failure", "change", "always", "never"]

SIGNAL_BASE = 128
"""Shells add this to the number of the signal that a command died of."""

_HIGHEST_CODE = 255
_SWITCH_S = 0.0005
"""Signals are handed on by the main thread, which has to get the interpreter for it."""


class RunOptions(Record):
    """The command to run and how to report it: each option by its name, parsed. Times are in seconds."""

    command: Sequence[str]
    event: str | None = None
    desc: str | None = None
    workspace: str | None = None
    icon: str | None = None
    icon_success: str | None = None
    icon_failure: str | None = None
    meta: Sequence[str] | None = None
    ci: bool = False
    on: On = "always"
    notify_on: NotifyOn = "failure"
    notify_after: int = 1
    longer_than: float | None = None
    success_codes: Collection[int] = frozenset({0})
    report_start: bool = False
    run_id: str | None = None
    tail: int | None = None
    quiet_job: bool = False
    timeout: float | None = None
    kill_after: float = 10.0
    background: bool = False
    deadline: float | None = None
    on_missing_key: str | None = None
    profile: str | None = None


def parse_success_codes(text: str) -> frozenset[int]:
    """Return the exit codes of ``0,24,SIGTERM``; a signal counts as 128 and its number, as shells have it.

    Raises ``UsageError`` if there is none, or one is neither a number from 0 to 255 nor a signal.
    """
    codes = [_success_code(word.strip()) for word in text.split(",")]
    if None in codes:
        from logsh_cli.output.text import excerpt  # noqa: PLC0415 - only for the message

        wanted = "exit codes from 0 to 255 or names of signals, such as 0,24,SIGTERM"
        raise UsageError(f"--success-codes must be {wanted}; got {excerpt(text)}")
    return frozenset(code for code in codes if code is not None)


def _success_code(word: str) -> int | None:
    if word.upper().startswith("SIG"):
        number = getattr(signal, word.upper(), None)
        return SIGNAL_BASE + number if isinstance(number, signal.Signals) else None
    is_code = word.isascii() and word.isdecimal() and len(word) <= len("255") and int(word) <= _HIGHEST_CODE
    return int(word) if is_code else None


class Meanwhile(threading.Thread):
    """Load what will tell of the command, and report its start, while it runs; ``report`` is there once that is loaded.

    On a thread, for signals can't wait: two of a kind that wait become one.
    """

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
