"""The tables of the outbox, as an ordered list of the steps that lead to them. No files, no locks.

To change the schema, append a function to ``STEPS``. A step only adds (tables, indexes, columns with a default), since
older processes may be at work on the same file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

SALT_BYTES = 16


def create_tables(db: sqlite3.Connection) -> None:
    """Version 1: events, the outcomes that ``run --on change`` compares with, and this store's salt.

    ``AUTOINCREMENT`` so that the id of a dropped event never comes back as another one's. An event is on the rejected
    shelf when it has a ``rejected_at``, and pending otherwise. Times are epoch seconds; ``lease_until`` is 0 when
    nobody holds the event.

    One index only, since every index is paid for at every insert: it answers "is anything due for this owner?" and
    counts without reading bodies. Takers walk the table in the order of ids, which needs none.
    """
    db.execute(
        """
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            profile TEXT NOT NULL,
            key_fingerprint TEXT NOT NULL,
            body BLOB NOT NULL,
            accepted_at REAL NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            not_before REAL NOT NULL DEFAULT 0,
            lease TEXT,
            lease_until REAL NOT NULL DEFAULT 0,
            error_name TEXT,
            error_message TEXT,
            http_status INTEGER,
            rejected_at REAL
        )
        """
    )
    db.execute(
        """
        CREATE INDEX pending_events ON events (profile, key_fingerprint, not_before, lease_until)
        WHERE rejected_at IS NULL
        """
    )
    db.execute("CREATE INDEX rejected_events ON events (rejected_at) WHERE rejected_at IS NOT NULL")
    db.execute(
        """
        CREATE TABLE outcomes (
            profile TEXT NOT NULL,
            workspace TEXT NOT NULL,
            event TEXT NOT NULL,
            outcome TEXT NOT NULL,
            UNIQUE (profile, workspace, event)
        )
        """
    )
    db.execute("CREATE TABLE store (salt BLOB NOT NULL)")
    db.execute("INSERT INTO store (salt) VALUES (?)", (os.urandom(SALT_BYTES),))


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (create_tables,)
"""Step N leads from version N to version N + 1."""

VERSION = len(STEPS)


def upgrade(db: sqlite3.Connection) -> None:
    """Take the steps that are missing, all or none.

    The version is read under the lock: another process may have been faster.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for step in STEPS[version:]:
            step(db)
        if version < VERSION:
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
