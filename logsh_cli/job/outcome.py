"""The meaning of a command's ending: how it is called, told, measured, and whether it is worth telling. Pure.

The words and the tables are the contract of ``logsh run``.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from logsh_cli import Record
from logsh_cli.event import SAFE_LENGTH, shorten, utf16_length
from logsh_cli.job import SIGNAL_BASE
from logsh_cli.job.child import shell_status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from logsh_cli.job import NotifyOn, RunOptions
    from logsh_cli.job.child import Ending

Status: TypeAlias = Literal["succeeded", "failed", "killed", "stopped", "timed_out", "not_started"]

SUCCEEDED: Status = "succeeded"
STATUSES: tuple[Status, ...] = get_args(Status)

_MAX_VALUE = 500
_NAMELESS = "command"
_TENTHS_BELOW_S = 10
_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Outcome(Record):
    """The judgement of a run. ``reason`` says why a command could not start; times are in seconds."""

    status: Status
    exit_code: int | None
    signal_name: str | None
    duration_s: float
    reason: str | None = None
    output_error: str | None = None

    @property
    def succeeded(self) -> bool:
        """True if nothing is wrong."""
        return self.status == SUCCEEDED

    @property
    def failed(self) -> bool:
        """True if something is: an ordered stop is neither a failure nor a success."""
        return self.status not in (SUCCEEDED, "stopped")


class Past(Record):
    """The memory of the runs before: how the last one ended, and how many in a row have failed."""

    status: Status | None = None
    failures: int = 0

    @classmethod
    def parse(cls, stored: str | None) -> Past:
        """Read ``succeeded``, ``failed`` or ``failed/3``; what another version wrote counts as nothing."""
        word, _, count = (stored or "").partition("/")
        status = next((status for status in STATUSES if status == word), None)
        if status in (None, SUCCEEDED):
            return cls(status)
        return cls(status, int(count) if count.isdecimal() else 1)

    def __str__(self) -> str:
        return f"{self.status}/{self.failures}" if self.failures > 1 else f"{self.status}"

    def then(self, outcome: Outcome) -> Past:
        """Return what to remember after one more run, of which a stop says nothing."""
        if outcome.status == "stopped":
            return self
        return Past(outcome.status, self.failures + 1 if outcome.failed else 0)

    def is_changed_by(self, outcome: Outcome) -> bool:
        """True if the job broke or recovered: one that fails with another code than before is broken all along.

        With nothing remembered a failure is a change and a success is not.
        """
        return outcome.status != "stopped" and outcome.succeeded != (self.status in (None, SUCCEEDED))


def judge(ending: Ending, success_codes: Collection[int]) -> Outcome:
    """Name an ending. Only a command that ended by itself can have succeeded, whatever code it left a timeout with."""
    code, number = ending.exit_code, ending.signal
    status: Status
    if ending.kind == "timed_out" or ending.kind == "not_started":  # noqa: PLR1714 - mypy follows this form
        status = ending.kind
    elif shell_status(ending) in success_codes:
        status = SUCCEEDED
    elif shell_status(ending) - SIGNAL_BASE in ending.ordered:
        status, number = "stopped", shell_status(ending) - SIGNAL_BASE
    elif number is None:
        status, code = "failed", shell_status(ending)
    else:
        status = "killed"
    name = None if number is None else _signal_name(number)
    return Outcome(status, code, name, ending.duration_s, ending.reason, ending.output_error)


def describe(outcome: Outcome, command: str, prefix: str = "") -> str:
    """The event's description, ``[PREFIX: ]succeeded in 3m 12s``, within 150 UTF-16 units.

    What is too long is shortened at the prefix: how the run ended is what the event is there to say.
    """
    took = duration_in_words(outcome.duration_s)
    match outcome.status:
        case "succeeded":
            told = f"succeeded in {took}"
        case "failed":
            told = f"failed with exit code {outcome.exit_code} after {took}"
        case "killed" | "stopped" as ended:
            told = f"{ended} by {outcome.signal_name} after {took}"
        case "timed_out":
            told = f"timed out after {took}"
        case "not_started":
            told = shorten(f"could not start {command}: {outcome.reason or 'unknown reason'}", SAFE_LENGTH)
    return with_prefix(prefix, told)


def with_prefix(prefix: str, told: str) -> str:
    """``PREFIX: TOLD`` within 150 UTF-16 units."""
    shown = shorten(prefix.strip(), SAFE_LENGTH - utf16_length(told) - len(": "))
    return f"{shown}: {told}" if shown else told


def metadata(
    outcome: Outcome, host: str, command: str, output: str | None = None, run_id: str | None = None
) -> dict[str, str | int | float]:
    """Return what goes with the event, without what is not known. Strings fit the 500 units that the service allows.

    ``command`` is a base name: arguments hold secrets. ``output`` is redacted and cut already.
    """
    values = {
        "status": outcome.status,
        "run_id": run_id,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal_name,
        "duration_s": round(outcome.duration_s, 3),
        "host": host,
        "command": command,
        "output": output,
        "output_error": outcome.output_error,
    }
    return {
        name: shorten(value, _MAX_VALUE) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None and value != ""
    }


def wants_report(given: RunOptions, outcome: Outcome, past: Past) -> bool:
    """``--on`` and ``--longer-than``: return whether this outcome is reported."""
    if not outcome.failed and outcome.duration_s < (given.longer_than or 0.0):
        return False
    match given.on:
        case "always":
            return True
        case "failure":
            return outcome.failed
        case "success":
            return outcome.succeeded
        case "change":
            return past.is_changed_by(outcome)


def wants_push(notify_on: NotifyOn, outcome: Outcome, past: Past, after: int = 1) -> bool:
    """``--notify-on`` and ``--notify-after``: return whether a report of this outcome pushes.

    From the Nth failure in a row on (``change``: at that one only), and at the recovery from so many.
    """
    match notify_on:
        case "always":
            return True
        case "never":
            return False
        case "failure":
            recovered = after > 1 and outcome.succeeded and past.failures >= after
            return recovered or (outcome.failed and past.failures + 1 >= after)
        case "change" if after > 1:
            return (outcome.failed and past.failures + 1 == after) or (outcome.succeeded and past.failures >= after)
        case "change":
            return past.is_changed_by(outcome)


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


def command_name(argv: Sequence[str | bytes], *, started: bool = True) -> str:
    """The command's base name; what can't be shown or sent of it is replaced.

    Of a name that could not be started only the first word counts, unless there is such a file: the rest are arguments
    that were quoted together with it, and arguments hold secrets.
    """
    path = os.fsencode(argv[0]).decode(errors="replace") if argv else ""
    if not started and not os.path.lexists(os.fsencode(argv[0])):
        path = (path.split() or [""])[0]
    words = [word for word in re.split(r"[/\\]" if os.name == "nt" else "/", path) if word]
    name = "".join(char if char.isprintable() else "\ufffd" for char in (words[-1] if words else ""))
    return name.strip() or _NAMELESS


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Python names only the first and the last of the real-time signals.
        first = getattr(signal, "SIGRTMIN", None)
        return f"SIGRTMIN+{number - first}" if first is not None and number > first else f"signal {number}"
