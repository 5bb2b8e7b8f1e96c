"""Transactions on the outbox's database, for any number of threads and processes at once."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from logsh_cli.outbox.faults import Damaged, is_damage, patiently, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from logsh_cli.outbox.rows import Owner

T = TypeVar("T")

PENDING = "rejected_at IS NULL"
"""SQL, and word for word the condition of the index: SQLite uses it only then."""

OWNED = f"{PENDING} AND profile = :profile AND key_fingerprint = :fingerprint"
"""SQL for: pending, and of the owner given by ``owned_by``."""


class Database:
    """One connection, one transaction at a time. All that goes wrong in it comes out as ``StoreUnavailable``."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], float], *, name: object, has_wal: bool) -> None:
        self._db = db
        self._now = now
        self._name = name
        self._mutex = threading.RLock()
        # Where there is no log, NORMAL could lose more than the last transaction.
        self._cheap = "NORMAL" if has_wal else "FULL"
        self._synchronous = ""

    def close(self) -> None:
        """Let go of the file.

        The last process to do so folds the log into it, which costs three syncs: one about to end had better not.
        """
        with self._mutex, suppress(sqlite3.Error):
            self._db.close()

    def check_writable(self) -> None:
        """Raise ``StoreUnavailable`` unless a transaction can be begun; changes nothing."""
        self._write(lambda _: None)

    def _read(self, select: str, given: dict[str, Any] | tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._guarded(lambda: self._fetch(select, given))

    def _fetch(self, select: str, given: dict[str, Any] | tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return patiently(lambda: self._db.execute(select, given).fetchall())

    def _write(self, work: Callable[[sqlite3.Connection], T], *, synced: bool = False) -> T:
        """Do ``work`` in a transaction that holds the write lock from its beginning.

        A reader that becomes a writer fails at once when another was faster. ``work`` may be done twice, on two files.

        ``synced``: on disk when this returns. Otherwise the next synced one, or the system, takes it along.
        """
        return self._guarded(lambda: self._transact(work, "FULL" if synced else self._cheap))

    def _transact(self, work: Callable[[sqlite3.Connection], T], synchronous: str) -> T:
        if self._synchronous != synchronous:
            self._db.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        patiently(lambda: self._db.execute("BEGIN IMMEDIATE"))
        try:
            result = work(self._db)
            patiently(lambda: self._db.execute("COMMIT"))  # may still have to wait for readers where there is no log
        except BaseException:
            if self._db.in_transaction:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise
        return result

    def _guarded(self, step: Callable[[], T]) -> T:
        with self._mutex:
            try:
                try:
                    return step()
                except (sqlite3.Error, Damaged) as error:
                    if not is_damage(error):
                        raise
                    self._begin_anew(str(error))
                return step()
            except (sqlite3.Error, Damaged) as error:
                raise unavailable(self._name, error) from error

    def _begin_anew(self, reason: str) -> None:
        """Put a fresh file in place of a damaged one; raises ``Damaged`` when there is no such way out."""
        raise Damaged(reason)

    def _use(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._synchronous = ""


def owned_by(owner: Owner | None) -> dict[str, Any]:
    """The parameters of ``OWNED``."""
    return {} if owner is None else {"profile": storable(owner.profile), "fingerprint": owner.key_fingerprint}


def storable(text: str) -> str:
    """Text from an argument may hold bytes of another charset, as lone surrogates: those have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode()
