"""The file of the outbox: made whole, opened cheaply, set aside when it is damaged.

A store appears under its name only once it is complete (built beside it, synced, renamed), under a file lock: a switch
of a fresh file to WAL by many processes at once says "database is locked" whatever the timeout. Opening one that exists
takes no lock. A name without a schema is therefore always damage, never another process's half-made store.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from logsh_cli.files import file_lock
from logsh_cli.outbox import schema as outbox_schema
from logsh_cli.outbox.faults import (
    BUSY_SLICE_S,
    PATIENCE_S,
    Damaged,
    StoreUnavailable,
    is_damage,
    patiently,
    unavailable,
)
from logsh_cli.outbox.place import check_owner, make_directory, on_network_file_system, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILE_NAME = "outbox.db"
LOCK_NAME = "outbox.lock"

CHECKPOINT_PAGES = 250
"""The log is folded into the file at this size, about every 35 events. SQLite's 1,000 would save syncs that are rare
already, and double what opening costs: processes leave without closing, so the next one reads the whole log."""

_COMPANIONS = ("-wal", "-shm", "-journal")
_TRIES = 5
_PAGE_BYTES = 4096
"""SQLite's default. A file that does not end with a page was cut off, or a disk was full just when the log was folded
into it, which does no harm; SQLite reads on as if the rest were zeros, so it is asked to look closely."""


class StoreFile:
    """Where the store is, which file it was when opened, and what has to be said about it."""

    def __init__(self, directory: Path, now: Callable[[], float]) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self.notices: list[str] = []
        self.has_wal = False
        self.salt: bytes | None = None
        """Of the store that was open last, for the one in its place: fingerprints made before must mean the same."""
        self._now = now
        self._identity: tuple[int, int] | None = None

    def connect(self) -> sqlite3.Connection:
        """A connection to a sound, current store, made if there is none.

        Raises:
            StoreUnavailable: it can't be made, opened or written by this user, or it is from a newer logsh.
        """
        for _ in range(_TRIES):
            with self._explained():
                size = self._look()
                if size is None:
                    self._create()
                elif (db := self._open(size)) is not None:
                    return db
        raise StoreUnavailable(f"the outbox {self.path} keeps being replaced by other processes")

    def connect_existing(self) -> sqlite3.Connection | None:
        """The same, but ``None`` when there is none. In place of one that is damaged, a fresh one is made."""
        with self._explained():
            there = self._look() is not None
        return self.connect() if there else None

    def is_current(self) -> bool:
        """Whether the open file is still the one under the name, and not one that was set aside or removed."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def set_aside(self, db: sqlite3.Connection | None, reason: str) -> None:
        """Give the damaged file another name, and its log with it; nothing is deleted. ``db`` is closed.

        Another process may have done so already: then there is nothing to do but open the fresh one.
        """
        if db is not None and sys.platform == "win32":
            db.close()  # an open file can't be renamed there
        try:
            with self._locked():
                if self.is_current():
                    name = self._rename_all()
                    self.notices.append(
                        f"the outbox {self.path} was damaged ({reason}); it is kept as {name}, and a new one was begun"
                    )
                    if self.salt is not None:
                        self._put_fresh()  # at once, before another process does, which does not know the salt
        except OSError as error:
            message = f"the outbox {self.path} is damaged ({reason}) and can't be set aside: {error.strerror or error}"
            raise StoreUnavailable(message) from error
        finally:
            # Only now: SQLite folds the log into the file when the last connection closes, which could destroy what is
            # left of it, unless the file was moved meanwhile.
            if db is not None:
                db.close()

    def _look(self) -> int | None:
        try:
            check_owner(self.directory)
            check_owner(self.path)
            status = self.path.stat()
        except FileNotFoundError:
            return None
        self._identity = (status.st_dev, status.st_ino)
        return status.st_size

    def _open(self, size: int) -> sqlite3.Connection | None:
        """Open what was looked at; ``None`` when it was damaged, and set aside by us or by another process."""
        db = None
        try:
            # Seen before SQLite does: it takes a log beside an empty file for a leftover, and deletes it.
            if size == 0:
                raise Damaged("it was empty")  # noqa: TRY301 - handled like every other damage
            db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",  # never create: that is done under the lock
                uri=True,
                timeout=BUSY_SLICE_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self._check(db)
            if size % _PAGE_BYTES and patiently(lambda: db.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
                raise Damaged("it was cut off")  # noqa: TRY301 - the same
        except BaseException as error:
            if isinstance(error, (sqlite3.Error, Damaged)) and is_damage(error):
                self.set_aside(db, str(error))
                return None
            if db is not None:
                db.close()
            elif isinstance(error, sqlite3.Error) and not self.path.exists():
                return None
            raise
        if not self.is_current():  # replaced between the look and the opening: which one we have is not known
            db.close()
            return None
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        (version,) = patiently(lambda: db.execute("PRAGMA user_version").fetchone())
        if version > outbox_schema.VERSION:
            raise StoreUnavailable(
                f"the outbox {self.path} was made by a newer logsh (format {version}, this one knows "
                f"{outbox_schema.VERSION})",
                hint="upgrade this logsh, or set LOGSH_STATE_DIR to another directory",
            )
        if version < 1:
            raise Damaged("it has no tables")
        if version < outbox_schema.VERSION:
            with self._locked():
                patiently(lambda: outbox_schema.upgrade(db))
        (journal_mode,) = patiently(lambda: db.execute("PRAGMA journal_mode").fetchone())
        self.has_wal = journal_mode == "wal"
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if sys.platform == "darwin":
            db.execute("PRAGMA fullfsync = ON")  # plain fsync leaves the data in the drive's own cache there

    def _create(self) -> None:
        """Make the store, unless another process was faster; it is then opened like any other."""
        make_directory(self.directory)
        check_owner(self.directory)
        with self._locked():
            if self.path.exists():
                return
            # A log without its store would be played back into the fresh one.
            if any(self._companion(suffix).exists() for suffix in _COMPANIONS):
                name = self._rename_all()
                self.notices.append(
                    f"the outbox {self.path} was gone, and only its log left; that is kept as {name}-wal"
                )
            self._put_fresh()

    def _put_fresh(self) -> None:
        """Put a complete, empty store under the name, which is free; under the lock."""
        fresh = self.directory / f"{FILE_NAME}.new"
        try:
            _build(fresh, self.salt, wal=not on_network_file_system(self.directory))
        except sqlite3.OperationalError:
            # The shared memory of a WAL can't be had on every file system. A full disk fails here again.
            _build(fresh, self.salt, wal=False)
        fresh.replace(self.path)
        sync_directory(self.directory)

    def _rename_all(self) -> str:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        name = f"{FILE_NAME}.corrupt-{stamp}"
        taken = set(os.listdir(self.directory))  # noqa: PTH208 - names are what is compared
        number = 1
        while any(f"{name}{suffix}" in taken for suffix in ("", *_COMPANIONS)):
            number += 1
            name = f"{FILE_NAME}.corrupt-{stamp}-{number}"
        # The file goes first: should we die in between, its log is found without a store and set aside by the next.
        for suffix in ("", *_COMPANIONS):
            with suppress(FileNotFoundError):
                self._companion(suffix).rename(self.directory / f"{name}{suffix}")
        sync_directory(self.directory)
        return name

    def _companion(self, suffix: str) -> Path:
        return self.path.with_name(FILE_NAME + suffix)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(f"the outbox {self.path} can't be used: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise unavailable(self.path, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self.directory / LOCK_NAME, patience_s=PATIENCE_S) as held:
            if not held:
                raise StoreUnavailable(f"another process has held {self.directory / LOCK_NAME} for too long")
            yield


def _build(path: Path, salt: bytes | None, *, wal: bool) -> None:
    """Make a complete, empty store at ``path``, all of it in the one file and on disk."""
    for suffix in ("", *_COMPANIONS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    path.chmod(0o600)  # whatever the umask; SQLite gives its companions the same mode
    db = sqlite3.connect(path, timeout=BUSY_SLICE_S, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        outbox_schema.upgrade(db)
        if salt is not None:
            db.execute("UPDATE store SET salt = ?", (salt,))
        # Not left to closing, which keeps silent about a failure: the schema must never be in the log alone.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.close()
