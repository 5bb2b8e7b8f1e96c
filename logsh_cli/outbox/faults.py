"""The ways a store can fail, told apart: damaged, locked, or not usable here and now.

The difference matters: only a damaged file is set aside. A full disk, a missing permission or a lock that another
process holds must never look like damage.

    NotKept
    ├── OutboxFull          100,000 events are waiting already
    └── StoreUnavailable    there is no store, or it can't be written now
"""

from __future__ import annotations

import sqlite3

from logsh_cli.errors import NotKept

_PRIMARY_CODE = 0xFF
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})  # PROTOCOL: it lost the race for a WAL lock too often
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MISSING_SCHEMA = ("no such table", "no such column", "no such index", "has no column named")
_REASONS = {
    sqlite3.SQLITE_BUSY: "another process has kept it locked for too long",
    sqlite3.SQLITE_PROTOCOL: "another process has kept it locked for too long",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "it can't be read or written (is the disk full, or a quota or file size limit reached?)",
    sqlite3.SQLITE_READONLY: "it can't be written",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_PERM: "access is not permitted",
}


class StoreUnavailable(NotKept):
    """No store can be used: no permission, no room on the disk, somebody else's directory, a newer format."""

    name = "store_unavailable"


class OutboxFull(NotKept):
    """So many events are waiting that no more are kept; ``room`` is how many would still fit."""

    name = "outbox_full"

    def __init__(self, message: str, *, hint: str | None = None, room: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.room = room


class Damaged(Exception):
    """The file is not, or is no longer, an outbox."""


def is_damage(error: Exception) -> bool:
    """Tell whether the file itself is broken, so that no later attempt could succeed.

    A missing table counts: a file that was cut off may open as a valid, emptier database.
    """
    code = _code(error)
    return (
        isinstance(error, Damaged)
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
        or code & _PRIMARY_CODE in _DAMAGED
        or (code == sqlite3.SQLITE_ERROR and any(sign in str(error) for sign in _MISSING_SCHEMA))
    )


def is_locked(error: Exception) -> bool:
    """Tell whether another process holds the lock, so that it may succeed a moment later."""
    return _code(error) & _PRIMARY_CODE in _BUSY


def unavailable(place: object, error: Exception) -> StoreUnavailable:
    """Return the error for a user in place of SQLite's or the system's; ``place`` names the file."""
    reason = _REASONS.get(_code(error) & _PRIMARY_CODE) or getattr(error, "strerror", None) or str(error)
    hint = "make room on that disk" if reason == _REASONS[sqlite3.SQLITE_FULL] else None
    return StoreUnavailable(f"the outbox {place} can't be used: {reason}", hint=hint)


def _code(error: Exception) -> int:
    # Errors that Python raises by itself, such as on a closed connection, have none.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code
