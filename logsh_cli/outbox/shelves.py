"""Looking through the outbox and changing it by hand: what ``outbox list``, ``show``, ``retry`` and ``drop`` need."""

# ruff: noqa: S608 - only constants of this package are put into statements; what varies is bound

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli.outbox.database import PENDING, Database, owned_by
from logsh_cli.outbox.faults import OutboxFull
from logsh_cli.outbox.rows import COLUMNS, FREE, Changed, Counts, Owner, Row, State, moment, read_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_PENDING = 100_000

_PORTION = 500
_WORTH_SHRINKING = 10_000
_REJECTED = "rejected_at IS NOT NULL"
_IN_STATE: dict[State | None, str] = {
    None: "1",
    "pending": f"{PENDING} AND {FREE}",
    "leased": f"{PENDING} AND NOT {FREE}",
    "rejected": _REJECTED,
}
_PUT_BACK = "UPDATE events SET rejected_at = NULL, not_before = 0, lease = NULL, lease_until = 0"


class Shelves(Database):
    """The stored events, as a person sees them."""

    def rows(self, *, owner: Owner | None = None, state: State | None = None) -> Iterator[Row]:
        """All events, or those of one owner or state, oldest first; memory does not grow with their number.

        They are read in portions, so that a slow reader keeps nobody waiting; what changes meanwhile may be missed.
        """
        whose = "1" if owner is None else "profile = :profile AND key_fingerprint = :fingerprint"
        where = f"id > :after AND {whose} AND {_IN_STATE[state]}"
        select = f"SELECT {COLUMNS} FROM events NOT INDEXED WHERE {where} ORDER BY id LIMIT {_PORTION}"
        after = 0
        while True:
            portion = self._guarded(lambda: self._portion(select, owner, after))  # noqa: B023 - called at once
            yield from portion
            if len(portion) < _PORTION:
                return
            after = portion[-1].id

    def _portion(self, select: str, owner: Owner | None, after: int) -> list[Row]:
        now = self._now()
        return read_rows(self._fetch(select, {**moment(now), **owned_by(owner), "after": after}), now, after=after)

    def get(self, row_id: int) -> Row | None:
        """One event, whole; ``None`` when there is none of that id."""
        return self._guarded(lambda: self._row(row_id))

    def _row(self, row_id: int) -> Row | None:
        found = self._fetch(f"SELECT {COLUMNS} FROM events WHERE id = :id", {"id": fitting(row_id)})
        return read_row(found[0], self._now()) if found else None

    def counts(self, owner: Owner | None = None) -> Counts:
        """How many events there are, of everybody or of one owner."""
        whose = "1" if owner is None else "profile = :profile AND key_fingerprint = :fingerprint"
        totals = [
            f"(SELECT count(*) FROM events WHERE {what} AND {whose})"
            for what in (PENDING, _IN_STATE["leased"], _REJECTED)
        ]
        ((pending, leased, rejected),) = self._read(
            f"SELECT {', '.join(totals)}", {**moment(self._now()), **owned_by(owner)}
        )
        return Counts(pending, leased, rejected)

    def retry(self, ids: Iterable[int] | None = None) -> Changed:
        """Put rejected events back among the pending ones, to be tried at once: these, or (``None``) all of them.

        Of a pending event it ends the wait.

        Raises:
            OutboxFull: they don't all fit; nothing is changed.
        """

        def one(db: sqlite3.Connection, row_id: int) -> None:
            db.execute(f"{_PUT_BACK} WHERE id = ?", (row_id,))

        def everything(db: sqlite3.Connection) -> Changed:
            return Changed(db.execute(f"{_PUT_BACK} WHERE {_REJECTED}").rowcount)

        def work(db: sqlite3.Connection) -> Changed:
            (shelved,) = db.execute(f"SELECT count(*) FROM events WHERE {_REJECTED}").fetchone()
            wanted = shelved if ids is None else min(shelved, len(chosen))
            if wanted:
                require_room(db, wanted)
            return everything(db) if ids is None else self._each(db, chosen, one)

        chosen = _once_each(ids)
        return self._write(work, synced=True)

    def drop(self, ids: Iterable[int] | None = None) -> Changed:
        """Delete events, pending or rejected: these, or (``None``) all of them.

        What is being delivered at this moment stays: it may have been accepted a moment ago by a process that will say
        it is kept, and it could not be called back anyway.
        """

        def one(db: sqlite3.Connection, row_id: int) -> None:
            db.execute("DELETE FROM events WHERE id = ?", (row_id,))

        def everything(db: sqlite3.Connection) -> Changed:
            given = moment(self._now())
            done = db.execute(f"DELETE FROM events WHERE {FREE}", given).rowcount
            return Changed(done, leased=tuple(row_id for (row_id,) in db.execute("SELECT id FROM events ORDER BY id")))

        if ids is not None:
            chosen = _once_each(ids)
            return self._write(lambda db: self._each(db, chosen, one), synced=True)
        changed = self._write(everything, synced=True)
        if changed.done >= _WORTH_SHRINKING:
            self._shrink()
        return changed

    def _each(
        self, db: sqlite3.Connection, ids: tuple[int, ...], change: Callable[[sqlite3.Connection, int], None]
    ) -> Changed:
        done = 0
        leased, missing = [], []
        for row_id in ids:
            row = self._row(row_id)
            if row is None:
                missing.append(row_id)
            elif row.state == "leased":
                leased.append(row_id)
            else:
                change(db, row_id)
                done += 1
        return Changed(done, tuple(leased), tuple(missing))

    def _shrink(self) -> None:
        # Space that nobody needs again soon. Others may be at work, or the disk too full for it: then it stays.
        with self._mutex, suppress(sqlite3.Error):
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def require_room(db: sqlite3.Connection, wanted: int) -> None:
    """Raise ``OutboxFull`` unless so many more events may become pending."""
    # Counting walks the index, milliseconds when it is long. The span of the ids is an upper bound that costs nothing.
    (span,) = db.execute("SELECT (SELECT max(id) FROM events) - (SELECT min(id) FROM events) + 1").fetchone()
    if (span or 0) + wanted <= MAX_PENDING:
        return
    (pending,) = db.execute(f"SELECT count(*) FROM events WHERE {PENDING}").fetchone()
    if pending + wanted > MAX_PENDING:
        raise OutboxFull(
            f"the outbox is full: {pending:,} events are waiting, and {MAX_PENDING:,} is the most that are kept",
            hint="deliver them with `logsh outbox flush`, or let go of some with `logsh outbox drop`",
            room=max(0, MAX_PENDING - pending),
        )


def _once_each(ids: Iterable[int] | None) -> tuple[int, ...]:
    return tuple(dict.fromkeys(ids or ()))


def fitting(row_id: int) -> int:
    """An id as typed by somebody may be too large for SQLite's integers; then it is no event's."""
    return row_id if 0 < row_id < 2**63 else 0
