"""The findings of ``logsh doctor``, as values: single checks, what they add up to, and how they read."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from logsh_cli import Record
from logsh_cli.delivery.drain import SEVERITY
from logsh_cli.errors import ExitCode, LogshError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Level = Literal["ok", "warn", "fail", "skip"]

NAME_WIDTH = len("on_missing_key")


class Check(Record):
    """One thing that was looked at.

    ``detail`` says what was found, ``hint`` what to do about it. ``skip`` is what could not be looked at because of
    another check that failed; ``exit_code`` is 0 unless this one did. ``minor`` is what is shown with ``-v`` only: a
    default, or something that is not needed.
    """

    name: str
    level: Level
    detail: str
    hint: str | None = None
    exit_code: ExitCode = ExitCode.OK
    minor: bool = False

    @property
    def is_problem(self) -> bool:
        """True if somebody should do something about this."""
        return self.level in ("warn", "fail")

    @property
    def sentence(self) -> str:
        """Detail and hint as one line."""
        return f"{self.detail} ({self.hint})" if self.hint else self.detail


def passed(name: str, detail: str, *, minor: bool = False) -> Check:
    """All is well with this."""
    return Check(name, "ok", detail, minor=minor)


def warned(name: str, detail: str, hint: str | None = None) -> Check:
    """Logsh works, but somebody should know."""
    return Check(name, "warn", detail, hint)


def failed(name: str, error: LogshError, hint: str | None = None) -> Check:
    """This would make a call fail, with the error's exit code; ``hint`` is for an error that has none."""
    return Check(name, "fail", error.message, error.hint or hint, error.exit_code)


def skipped(name: str, why: str) -> Check:
    """Not known, because something else is wrong."""
    return Check(name, "skip", why)


def shielded(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """Give the checks; one that raises becomes a failed check of this ``name``, and the next section goes on."""
    try:
        yield from checks
    except LogshError as error:
        yield failed(name, error)


def exit_code_of(checks: Iterable[Check]) -> int:
    """Return 0 when nothing failed, else the code of what failed, in the order that ``batch`` and ``flush`` keep."""
    codes = {check.exit_code for check in checks if check.level == "fail"}
    return int(min(codes, key=SEVERITY.index, default=ExitCode.OK))


def to_json(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the machine form. A warning is in order, and says that it is one; what is not known is not in order."""
    found = [
        {
            "name": check.name,
            "ok": check.level in ("ok", "warn"),
            "detail": f"{'warning: ' * (check.level == 'warn')}{check.sentence}",
        }
        for check in checks
    ]
    return {"ok": exit_code_of(checks) == 0, "checks": found}


def plain(check: Check) -> str:
    """Return the check as one line: level, name, detail, the first two aligned."""
    return f"{check.level.replace('fail', 'FAIL'):<4}  {check.name:<{NAME_WIDTH}}  {check.sentence}"


def version_checks() -> Iterator[Check]:
    """Name the programs that logsh is made of, for reports of faults; none of these can fail."""
    import platform  # noqa: PLC0415 - only with -v
    import sqlite3  # noqa: PLC0415 - the same
    import ssl  # noqa: PLC0415 - the same
    from importlib import metadata  # noqa: PLC0415 - the same

    from logsh_cli import __version__  # noqa: PLC0415 - the same

    yield passed("logsh", __version__)
    yield passed("python", f"{platform.python_version()} on {platform.platform()}")
    yield passed("openssl", ssl.OPENSSL_VERSION)
    yield passed("sqlite", sqlite3.sqlite_version)
    for name in ("httpx", "httpcore", "typer", "rich"):
        with suppress(metadata.PackageNotFoundError):
            yield passed(name, metadata.version(name))
