"""Run a command as if logsh were not there, and tell how it ended.

Here: the command line of ``logsh run`` as one value; light, since the command has not been started when it is made.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Literal, TypeAlias

from logsh_cli.errors import InvalidEvent, UsageError
from logsh_cli.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection

On: TypeAlias = Literal["always", "failure", "success", "change"]
NotifyOn: TypeAlias = Literal["failure", "change", "always", "never"]

SUCCESS_CODES = frozenset({0})

_HIGHEST_CODE = 255
_SIGNAL_BASE = 128


class RunOptions(Record):
    """The command to run and how to report it; everything as it was given, but parsed. Times are in seconds."""

    argv: tuple[str, ...]
    event: str | None = None
    description: str | None = None
    workspace: str | None = None
    icon: str | None = None
    icon_success: str | None = None
    icon_failure: str | None = None
    metadata: tuple[str, ...] = ()
    ci: bool = False
    on: On = "always"
    notify_on: NotifyOn = "failure"
    notify_after: int = 1
    longer_than_s: float = 0.0
    success_codes: Collection[int] = SUCCESS_CODES
    start: bool = False
    run_id: str | None = None
    tail: int | None = None
    quiet_job: bool = False
    timeout_s: float | None = None
    kill_after_s: float = 10.0
    background: bool = False
    deadline_s: float | None = None
    on_missing_key: str | None = None
    profile: str | None = None

    def check(self) -> None:
        """Refuse metadata that can't be parsed, before anything runs. Raises ``InvalidEvent``."""
        if self.metadata:
            from logsh_cli.event import parse_metadata  # noqa: PLC0415 - only where there is any

            if problems := parse_metadata(self.metadata)[1]:
                raise InvalidEvent(problems)


def parse_success_codes(text: str) -> frozenset[int]:
    """Return the exit codes of ``0,24,SIGTERM``; a signal counts as 128 and its number, as shells have it.

    Raises:
        UsageError: there is none, or one is neither a number from 0 to 255 nor a signal.
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
        return _SIGNAL_BASE + number if isinstance(number, signal.Signals) else None
    is_code = word.isascii() and word.isdecimal() and len(word) <= len("255") and int(word) <= _HIGHEST_CODE
    return int(word) if is_code else None
