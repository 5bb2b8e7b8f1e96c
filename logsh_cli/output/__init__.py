"""Results as values. The machine form is a contract: one JSON line, these keys, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from logsh_cli import Record
from logsh_cli.errors import ExitCode, LogshError

if TYPE_CHECKING:
    from collections.abc import Mapping

ResultStatus = Literal["delivered", "stored", "queued", "rejected", "skipped", "dry_run", "failed"]


SKIPPED = "skipped"
DONE = {"exit_code": 0, "error": None}
"""The last fields in the object of a command that changes something."""

_HEADINGS = {"queued": "not delivered, kept", "rejected": "refused", "skipped": SKIPPED}
_LEFT_OUT = ("request", "last_line")


class Result(Record):
    """The result for one event."""

    status: ResultStatus
    event: Mapping[str, Any] | None = None
    id: int | None = None
    http_status: int | None = None
    attempts: int = 0
    elapsed_ms: int = 0
    exit_code: int = ExitCode.OK
    error: LogshError | None = None
    request: Mapping[str, Any] | None = None

    @property
    def heading(self) -> str:
        """The words before the error that say what became of the event; empty where the error itself does."""
        kept_as = f" as #{self.id}" if self.id is not None and self.status == "queued" else ""
        return _HEADINGS.get(self.status, "") + kept_as

    @property
    def facts(self) -> list[str]:
        """Tell people how it went: the number in the outbox or the answer, the attempts, the time."""
        facts = [f"#{self.id}"] if self.status == "stored" else [f"HTTP {self.http_status}"]
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        return [*facts, f"{self.elapsed_ms} ms"]


class Tally(Record):
    """The result for many events at once (``batch``, ``outbox flush``).

    ``last_line`` is the one that a batch stopped after, where that was not the last of its input.
    """

    accepted: int = 0
    delivered: int = 0
    queued: int = 0
    rejected: int = 0
    invalid: int = 0
    elapsed_ms: int = 0
    exit_code: int = ExitCode.OK
    error: LogshError | None = None
    last_line: int | None = None


def to_json(result: Result | Tally) -> dict[str, Any]:
    """The contract's object; ``request`` is in that of a dry run only, ``last_line`` in that of a stopped batch."""
    fields = {**result._asdict(), "exit_code": int(result.exit_code), "error": error_to_json(result.error)}
    return {name: value for name, value in fields.items() if value is not None or name not in _LEFT_OUT}


def error_to_json(error: LogshError | None) -> dict[str, Any] | None:
    """``{"name", "message", "hint"}``, or ``None``."""
    if error is None:
        return None
    return {"name": error.name, "message": error.message, "hint": error.hint}
