"""The command line of ``logsh run`` as one value; light, since the command has not been started when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.errors import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Collection

    from logsh_cli.job.outcome import NotifyOn, On


class RunOptions(NamedTuple):
    """What to run and how to report it; everything as it was given, but parsed."""

    argv: tuple[str, ...]
    event: str | None
    description: str | None
    workspace: str | None
    metadata: tuple[str, ...]
    ci: bool
    icon_success: str | None
    icon_failure: str | None
    on: On
    notify_on: NotifyOn
    success_codes: Collection[int]
    tail: int | None
    deadline_s: float | None
    on_missing_key: str | None
    profile: str | None

    def check(self) -> None:
        """Refuse metadata that can't be parsed, before anything runs. Raises ``InvalidEvent``."""
        if self.metadata:
            from logsh_cli.event import parse_metadata  # noqa: PLC0415 - only where there is any

            if problems := parse_metadata(self.metadata)[1]:
                raise InvalidEvent(problems)
