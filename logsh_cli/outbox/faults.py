"""What can be wrong with the store, told apart: damaged, busy, or not usable here and now.

The difference matters: only a damaged file is set aside. A full disk, a missing permission or a lock that another
process holds must never look like damage.

    NotKept
    ├── OutboxFull          100,000 events are waiting already
    └── StoreUnavailable    there is no store to be had, or it can't be written now
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

from logsh_cli.errors import NotKept

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_S = 120.0
"""How long a process waits for the others: long enough for hundreds of them on a slow disk."""

BUSY_SLICE_S = 2.0
"""SQLite's own wait, after which Python gets to see a Ctrl-C, and waits on."""

_PRIMARY_CODE = 0xFF
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})  # PROTOCOL: it lost the race for a WAL lock too often
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MISSING_SCHEMA = ("no such table", "no such column", "no such index", "has no column named")
_UNDECODABLE = "Could not decode to UTF-8"
_PAUSE_S = 0.02

_REASONS = {
    sqlite3.SQLITE_BUSY: "other processes have kept it locked for too long",
    sqlite3.SQLITE_PROTOCOL: "other processes have kept it locked for too long",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "it can't be read or written (is the disk full, or a quota or file size limit reached?)",
    sqlite3.SQLITE_READONLY: "it can't be written",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_PERM: "access is not permitted",
}


class StoreUnavailable(NotKept):
    """There is no store to be had: no permission, no room on the disk, somebody else's directory, a newer format."""

    name = "store_unavailable"


class OutboxFull(NotKept):
    """So many events are waiting that no more are kept; ``room`` is how many would still fit."""

    name = "outbox_full"

    def __init__(self, message: str, *, hint: str | None = None, room: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.room = room


class Damaged(Exception):
    """The file is not, or is no longer, an outbox."""


def is_damage(error: sqlite3.Error | Damaged) -> bool:
    """Whether the file itself is broken, so that no later attempt could succeed.

    A missing table counts: a file that was cut off may open as a valid, emptier database.
    """
    if isinstance(error, Damaged):
        return True
    code = _code(error)
    if code == sqlite3.SQLITE_IOERR_SHORT_READ or code & _PRIMARY_CODE in _DAMAGED:
        return True
    if code == sqlite3.SQLITE_ERROR:
        return any(sign in str(error) for sign in _MISSING_SCHEMA)
    # Python's own, without a code. Only UTF-8 was ever stored.
    return str(error).startswith(_UNDECODABLE)


def unavailable(place: object, error: sqlite3.Error | Damaged) -> StoreUnavailable:
    """The error for a user, in place of SQLite's; ``place`` names the file."""
    reason = _REASONS.get(_code(error) & _PRIMARY_CODE, str(error))
    return StoreUnavailable(f"the outbox {place} can't be used: {reason}")


def patiently(step: Callable[[], T]) -> T:
    """Take a step that changes nothing when it fails, again and again while others hold the lock.

    Raises:
        sqlite3.Error: any other failure, or still locked after ``PATIENCE_S`` seconds.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if _code(error) & _PRIMARY_CODE not in _BUSY or time.monotonic() >= give_up_at:
                raise
        time.sleep(_PAUSE_S)


def _code(error: Exception) -> int:
    # Errors that Python raises by itself, such as on a closed connection, have none.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code
