"""The tables of the outbox, as an ordered list of the steps that lead to them. No files, no locks.

To change the schema, append a function to ``STEPS``. A step only adds (tables, indexes, columns with a default), since
older processes may be at work on the same file, and an older version must be able to go on with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

SALT_BYTES = 16
EVENT_COLUMNS = (
    "id, profile, key_fingerprint, body, accepted_at, attempts, not_before, lease, lease_until, error_name, "
    "error_message, http_status, rejected_at, body_crc"
)


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


def check_and_count(db: sqlite3.Connection) -> None:
    """Version 2: a checksum for each body, how many refused events the shelf has dropped, and the clock of leases.

    ``body_crc`` is CRC-32 of the body, NULL where version 1 stored it. ``boot_offset`` plus the seconds since the boot
    named ``boot_id`` is the time in which leases are counted: every process since that boot reckons with the same one,
    so that a step of the wall clock ends no lease.
    """
    db.execute("ALTER TABLE events ADD COLUMN body_crc INTEGER")
    db.execute("ALTER TABLE store ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE store ADD COLUMN boot_id TEXT")
    db.execute("ALTER TABLE store ADD COLUMN boot_offset REAL")


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (create_tables, check_and_count)
"""Step N leads from version N to version N + 1."""

VERSION = len(STEPS)

BREAKING_VERSION = 1_000
"""A later format from this version on did more than add, and must be left alone; one below it can be used as it is."""


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


def insert(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add whole events, with the values of ``EVENT_COLUMNS``; an id of ``None`` becomes a new one."""
    marks = ", ".join("?" for _ in EVENT_COLUMNS.split(", "))
    db.executemany(f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({marks})", rows)  # noqa: S608 - constants


def raise_sequence(db: sqlite3.Connection, highest: int) -> None:
    """Give new events higher ids than ``highest``."""
    if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'events'", (highest,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (highest,))
