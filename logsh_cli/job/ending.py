"""How a command ended, as a plain value: what the child process engine hands to whoever reports it. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["exited", "signaled", "timed_out", "not_started"]

NOT_FOUND = 127
NOT_EXECUTABLE = 126

_SIGNAL_BASE = 128
_KILL = 9


class Ending(NamedTuple):
    """One run of a command, from its start to its end.

    ``exit_code`` and ``signal`` are what the system said, one of them at most; after a timeout they tell what the
    command itself ended with, and both are ``None`` only when not even KILL could end it. A command that did not start
    has the shell's 126 or 127 as its code, and a ``reason``. ``tail`` is the end of its output as raw bytes, neither
    redacted nor cut to size yet; empty without ``--tail``.
    """

    kind: Kind
    exit_code: int | None
    signal: int | None
    duration_s: float
    tail: bytes = b""
    started: bool = True
    reason: str | None = None


def shell_status(ending: Ending) -> int:
    """What a shell shows in ``$?``: the command's own code, 128+n for signal n, 127 not found, 126 not executable."""
    if ending.exit_code is not None:
        return ending.exit_code
    return _SIGNAL_BASE + (ending.signal or _KILL)
