"""What a command's ending means: how it is called, told, measured, and whether it is worth telling. Pure.

The words and the tables are the contract of ``logsh run``.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from logsh_cli.clock import option_seconds
from logsh_cli.errors import UsageError
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from logsh_cli.job.ending import Ending

Status: TypeAlias = Literal["succeeded", "failed", "killed", "timed_out", "not_started"]
On: TypeAlias = Literal["always", "failure", "success", "change"]
NotifyOn: TypeAlias = Literal["failure", "change", "always", "never"]

SUCCEEDED: Status = "succeeded"
STATUSES: tuple[Status, ...] = ("succeeded", "failed", "killed", "timed_out", "not_started")
SUCCESS_CODES = frozenset({0})

_MAX_VALUE = 500
_HIGHEST_CODE = 255
_NAMELESS = "command"
_TENTHS_BELOW_S = 10
_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Outcome(NamedTuple):
    """How a run is judged. ``reason`` says why a command could not start; times are in seconds."""

    status: Status
    exit_code: int | None
    signal_name: str | None
    duration_s: float
    reason: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether nothing is wrong."""
        return self.status == SUCCEEDED


def as_status(stored: str | None) -> Status | None:
    """A stored outcome; one that another version wrote under a name unknown here counts as none."""
    return next((status for status in STATUSES if status == stored), None)


def judge(ending: Ending, success_codes: Collection[int] = SUCCESS_CODES) -> Outcome:
    """Name an ending. Only a command that ended by itself can have succeeded, whatever code it left a timeout with."""
    status: Status
    match ending.kind:
        case "exited":
            status = SUCCEEDED if ending.exit_code in success_codes else "failed"
        case "signaled":
            status = "killed"
        case "timed_out" | "not_started" as same:
            status = same
    signal_name = None if ending.signal is None else _signal_name(ending.signal)
    return Outcome(status, ending.exit_code, signal_name, ending.duration_s, ending.reason)


def describe(outcome: Outcome, prefix: str | None = None) -> str:
    """The event's description, ``[PREFIX: ]succeeded in 3m 12s``, within 150 UTF-16 units.

    What is too long is shortened at the prefix: how the run ended is what the event is there to say.
    """
    from logsh_cli.event import SAFE_LENGTH, shorten, utf16_length  # noqa: PLC0415 - not needed before the command runs

    took = duration_in_words(outcome.duration_s)
    match outcome.status:
        case "succeeded":
            told = f"succeeded in {took}"
        case "failed":
            told = f"failed with exit code {outcome.exit_code} after {took}"
        case "killed":
            told = f"killed by {outcome.signal_name} after {took}"
        case "timed_out":
            told = f"timed out after {took}"
        case "not_started":
            told = shorten(f"could not start: {outcome.reason or 'unknown reason'}", SAFE_LENGTH)
    room = SAFE_LENGTH - utf16_length(told) - len(": ")
    shown = shorten(prefix.strip(), room) if prefix else ""
    return f"{shown}: {told}" if shown else told


def metadata(outcome: Outcome, host: str, command: str, tail_text: str | None = None) -> dict[str, str | int | float]:
    """What goes with the event; without what is not known. Strings fit into the 500 units that the service allows.

    ``command`` is a base name: arguments hold secrets. ``tail_text`` is redacted and cut already.
    """
    from logsh_cli.event import shorten  # noqa: PLC0415 - as above

    values = {
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal_name,
        "duration_s": round(outcome.duration_s, 3),
        "host": host,
        "command": command,
        "output": tail_text,
    }
    return {
        name: shorten(value, _MAX_VALUE) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None and value != ""
    }


def wants_report(on: On, outcome: Outcome, previous: Status | None) -> bool:
    """``--on``: whether this outcome is reported. ``previous`` is the last one stored, ``None`` if there is none."""
    match on:
        case "always":
            return True
        case "failure":
            return not outcome.succeeded
        case "success":
            return outcome.succeeded
        case "change":
            return is_change(outcome, previous)


def wants_push(notify_on: NotifyOn, outcome: Outcome, previous: Status | None) -> bool:
    """``--notify-on``: whether a report of this outcome pushes."""
    match notify_on:
        case "always":
            return True
        case "never":
            return False
        case "failure":
            return not outcome.succeeded
        case "change":
            return is_change(outcome, previous)


def is_change(outcome: Outcome, previous: Status | None) -> bool:
    """Whether it broke or recovered: a job that fails now with this code, now by that signal, is broken all along.

    With nothing stored a failure is a change and a success is not.
    """
    return outcome.succeeded != (previous is None or previous == SUCCEEDED)


def duration_in_words(seconds: float) -> str:
    """``0.4s``, ``12s``, ``3m 12s``, ``2h 5m``, ``3d 4h``: the two largest units, the second only if it is not zero."""
    if round(seconds, 1) < _TENTHS_BELOW_S:
        return f"{max(0.0, seconds):.1f}s".replace(".0s", "s")
    left = round(seconds)
    for large, small in (("d", "h"), ("h", "m"), ("m", "s")):
        if left >= _UNIT_S[large]:
            count, rest = divmod(left, _UNIT_S[large])
            fraction = rest // _UNIT_S[small]
            return f"{count}{large} {fraction}{small}" if fraction else f"{count}{large}"
    return f"{left}s"


def parse_duration(text: str, label: str = "--timeout", *, allow_zero: bool = False) -> float:
    """Seconds from ``90``, ``90s``, ``15m``, ``1.5h``, ``1h30m`` or ``2d``.

    Raises:
        UsageError: it is something else, nothing, or more than a clock can count; ``label`` says whose value it is.
    """
    seconds = option_seconds(label, text) or 0.0
    if seconds == 0 and not allow_zero:
        raise UsageError(f"{label} must be a duration such as 90s, 15m or 2h; yours is {excerpt(text)}")
    return seconds


def parse_success_codes(text: str, label: str = "--success-codes") -> frozenset[int]:
    """Exit codes from ``0,24``.

    Raises:
        UsageError: there is none, or one is not a number from 0 to 255.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) <= len("255") for word in words) or any(
        int(word) > _HIGHEST_CODE for word in words
    ):
        raise UsageError(f"{label} must be exit codes from 0 to 255, such as 0,24; yours is {excerpt(text)}")
    return frozenset(int(word) for word in words)


def default_event_name(argv: Sequence[str | bytes]) -> str:
    """The command's base name; what can't be shown or sent of it is replaced."""
    path = os.fsencode(argv[0]).decode(errors="replace") if argv else ""
    separators = r"[/\\]" if os.name == "nt" else "/"
    words = [word for word in re.split(separators, path) if word]
    name = "".join(char if char.isprintable() else "\ufffd" for char in (words[-1] if words else ""))
    return name.strip() or _NAMELESS


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Python names only the first and the last of the real-time signals.
        first = getattr(signal, "SIGRTMIN", None)
        return f"SIGRTMIN+{number - first}" if first is not None and number > first else f"signal {number}"
