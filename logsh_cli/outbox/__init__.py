"""The outbox: what was accepted and is not yet delivered, in one SQLite file that all processes of a user share.

An event is on disk, synced, when ``add`` returns. It is leased to one process at a time, which renews its lease before
an attempt and says what came of it. A process that dies leaves a lease that ends by itself. A power cut loses at most
an acknowledgement (those are not synced), so that an event may go out twice, never not at all.

No connection survives a ``fork``: a child must open its own. Threads may share a store.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from logsh_cli.files import file_lock
from logsh_cli.outbox.faults import PATIENCE_S, OutboxFull, StoreUnavailable
from logsh_cli.outbox.file import StoreFile
from logsh_cli.outbox.queue import Store
from logsh_cli.outbox.rows import LEASE_S, Changed, Counts, Owner, Row, State
from logsh_cli.outbox.schema import upgrade
from logsh_cli.outbox.shelves import MAX_PENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = [
    "LEASE_S",
    "MAX_PENDING",
    "Changed",
    "Counts",
    "MemoryOutbox",
    "Outbox",
    "OutboxFull",
    "Owner",
    "Row",
    "State",
    "Store",
    "StoreUnavailable",
    "open_store",
]

FLUSH_LOCK_NAME = "flush.lock"


def open_store(directory: Callable[[], Path], *, now: Callable[[], float] = time.time, create: bool = True) -> Store:
    """The outbox, or memory where none can be had: then ``unkept_because`` says why.

    With ``create=False`` and no outbox yet: an empty store in memory, with no reason given.
    """
    try:
        if create:
            return Outbox.open(directory(), now=now)
        return Outbox.open_existing(directory(), now=now) or MemoryOutbox(now=now)
    except StoreUnavailable as error:
        return MemoryOutbox(now=now, because=error.message)


class Outbox(Store):
    """The store on disk; ``open`` makes one."""

    def __init__(self, file: StoreFile, db: sqlite3.Connection, now: Callable[[], float]) -> None:
        super().__init__(db, now, name=file.path, has_wal=file.has_wal)
        self._file = file
        self.notices = file.notices

    @classmethod
    def open(cls, directory: Path, *, now: Callable[[], float] = time.time) -> Outbox:
        """The outbox in that directory, made if there is none.

        Raises:
            StoreUnavailable: it can't be made, read or written, belongs to somebody else, or a newer logsh made it.
        """
        file = StoreFile(directory, now)
        return cls(file, file.connect(), now)

    @classmethod
    def open_existing(cls, directory: Path, *, now: Callable[[], float] = time.time) -> Outbox | None:
        """The same, without making one: ``None`` when there is none."""
        file = StoreFile(directory, now)
        db = file.connect_existing()
        return None if db is None else cls(file, db, now)

    def add(self, owner: Owner, bodies: Sequence[bytes], *, lease: str | None = None) -> list[int]:
        """As ``Store.add``."""
        ids = super().add(owner, bodies, lease=lease)
        if bodies and not self._file.is_current():
            # Another process set the file aside, or somebody removed it, while we had it open: nobody will look into it
            # again, so what we accepted goes into the one that has its name now.
            with self._mutex:
                self._db.close()
                self._use(self._file.connect())
                ids = super().add(owner, bodies, lease=lease)
        return ids

    @contextmanager
    def flush_lock(self, *, wait: bool) -> Iterator[bool]:
        """As ``Store.flush_lock``."""
        path = self._file.directory / FLUSH_LOCK_NAME
        with ExitStack() as stack:
            try:
                held = stack.enter_context(file_lock(path, patience_s=PATIENCE_S if wait else 0))
            except OSError as error:
                raise StoreUnavailable(f"the lock {path} can't be had: {error.strerror}") from error
            yield held

    def _salt(self) -> bytes:
        self._file.salt = super()._salt()
        return self._file.salt

    def _use(self, db: sqlite3.Connection) -> None:
        super()._use(db)
        # What is still under way has ids of the file before. An event in this one must not get the same, under the same
        # lease: it would be forgotten when the other is delivered.
        self._ids_above = self._highest_id

    def _begin_anew(self, reason: str) -> None:
        self._file.set_aside(self._db, reason)
        self._use(self._file.connect())


class MemoryOutbox(Store):
    """The store of a process that can have none on disk: the same in all but that it ends with the process."""

    def __init__(self, *, now: Callable[[], float] = time.time, because: str | None = None) -> None:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        upgrade(db)
        super().__init__(db, now, name="in memory", has_wal=True)
        self.unkept_because = because
