"""What ``logsh doctor`` finds, as values: single checks, what they add up to, and how they read. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from logsh_cli.delivery.drain import SEVERITY
from logsh_cli.errors import ExitCode, InternalError, LogshError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Level = Literal["ok", "warn", "fail", "skip"]

_WORDS: dict[Level, str] = {"ok": "ok", "warn": "warn", "fail": "FAIL", "skip": "skip"}
NAME_WIDTH = len("on_missing_key")


class Check(NamedTuple):
    """One thing that was looked at.

    ``detail`` says what was found, ``hint`` what to do about it. ``skip`` is what could not be looked at because of
    another check that failed; ``exit_code`` is 0 unless this one did.
    """

    name: str
    level: Level
    detail: str
    hint: str | None = None
    exit_code: int = ExitCode.OK

    @property
    def ok(self) -> bool:
        """Whether this is in order, perhaps with a warning. What is not known is not in order."""
        return self.level in ("ok", "warn")

    @property
    def is_problem(self) -> bool:
        """Whether somebody should do something about this."""
        return self.level in ("warn", "fail")

    @property
    def sentence(self) -> str:
        """Detail and hint as one line."""
        return f"{self.detail} ({self.hint})" if self.hint else self.detail


class Section(NamedTuple):
    """Checks that belong together. Each is made when it is asked for, so that what is known can be shown already."""

    title: str
    checks: Iterator[Check]


def passed(name: str, detail: str) -> Check:
    """All is well with this."""
    return Check(name, "ok", detail)


def warned(name: str, detail: str, hint: str | None = None) -> Check:
    """Logsh works, but somebody should know."""
    return Check(name, "warn", detail, hint)


def failed(name: str, error: LogshError, hint: str | None = None) -> Check:
    """This would make a call fail, with the error's exit code; ``hint`` is for an error that has none."""
    return Check(name, "fail", error.message, error.hint or hint, int(error.exit_code))


def skipped(name: str, why: str) -> Check:
    """Not known, because something else is wrong."""
    return Check(name, "skip", why)


def shielded(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """The checks; should one of them raise, that is a failed check of this ``name``, and the next section goes on."""
    try:
        yield from checks
    except LogshError as error:
        yield failed(name, error)
    except Exception as fault:  # noqa: BLE001 - whatever is broken on this machine, the rest can still be looked at
        message = f"a fault in logsh, please report it: {type(fault).__name__}: {fault}"
        yield failed(name, InternalError(message))


def exit_code_of(checks: Iterable[Check]) -> int:
    """0 when nothing failed, else the code of what failed, by the order that ``batch`` and ``flush`` keep as well."""
    codes = {check.exit_code for check in checks if check.level == "fail"}
    return int(next((code for code in SEVERITY if code in codes), max(codes, default=ExitCode.OK)))


def to_json(checks: Iterable[Check]) -> dict[str, Any]:
    """The machine form. A warning is in order, and says in its detail that it is one."""
    found = list(checks)
    return {
        "ok": not any(check.level == "fail" for check in found),
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": f"warning: {check.sentence}" if check.level == "warn" else check.sentence,
            }
            for check in found
        ],
    }


def plain(check: Check) -> str:
    """The check as one line: level, name, detail, the first two aligned."""
    return f"{_WORDS[check.level]:<4}  {check.name:<{NAME_WIDTH}}  {check.sentence}"


def summary(checks: Iterable[Check]) -> str:
    """What it all adds up to, in a few words."""
    levels = [check.level for check in checks]
    problems, warnings = levels.count("fail"), levels.count("warn")
    counts = [_count(problems, "problem"), _count(warnings, "warning")]
    said = ", ".join(count for count in counts if count)
    return said if problems else f"all is well{f', with {said}' if said else ''}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}" if number else ""
