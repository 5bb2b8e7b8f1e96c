"""Reading one TOML file, with everything that can be wrong with it turned into a sentence."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from logsh_cli.errors import BadConfig

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1024 * 1024
"""More than this is no configuration file, but a mistake (a log, a device)."""


def read_bytes(path: Path, limit: int = MAX_BYTES) -> tuple[bytes, os.stat_result]:
    """At most ``limit`` + 1 bytes of a file, and what it was opened as.

    Raises:
        OSError: it can't be opened or read; a directory is one of the reasons.
    """
    # A pipe without a writer must not hang the program; reading a regular file is not changed by O_NONBLOCK.
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(fd, "rb") as file:
        return file.read(limit + 1), os.fstat(fd)


def decode(content: bytes, path: Path) -> str:
    """The text of a TOML file. A byte order mark, as some Windows editors write, is dropped.

    Raises:
        BadConfig: it is too large, or not UTF-8.
    """
    if len(content) > MAX_BYTES:
        raise BadConfig(f"{path} is too large for a configuration file (over {MAX_BYTES // 1024} KiB)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}, line {line}: not valid UTF-8 text", hint="save the file as UTF-8") from None


def parse(text: str, path: Path) -> dict[str, Any]:
    """The file's content as plain values.

    Raises:
        BadConfig: it is not TOML; the message has the line.
    """
    import tomllib  # noqa: PLC0415 - 3 ms, which a user without a file does not pay

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for an integer of thousands of digits
        detail = (
            str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a value is too long or nested too deeply"
        )
        raise BadConfig(f"{path} is not valid TOML: {detail}", hint="correct the file by hand") from None


def unreadable(path: Path, error: OSError) -> BadConfig:
    """What to say of a file that is there and can't be read."""
    if error.errno == errno.EISDIR:
        return BadConfig(f"{path} is a directory, not a file", hint="move it out of the way")
    reason = error.strerror or type(error).__name__
    return BadConfig(f"can't read {path}: {reason}", hint="check who owns it and its mode (ls -l)")
