"""The queue itself: accept events, lease them to one process at a time, and note what came of them.

Over any database that has the tables; where that is, and what happens when it is damaged, is not known here.
"""

# ruff: noqa: S608 - only constants of this package are put into statements; what varies is bound

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from logsh_cli.outbox.database import OWNED, PENDING, owned_by, storable
from logsh_cli.outbox.faults import Damaged
from logsh_cli.outbox.rows import COLUMNS, DUE, DUE_HALVES, FREE, LEASE_S, MAX_WAIT_S, Owner, Row, moment, read_rows
from logsh_cli.outbox.schema import SALT_BYTES
from logsh_cli.outbox.shelves import Shelves, fitting, require_room

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

MAX_REJECTED = 1_000
MAX_REJECTED_AGE_S = 30 * 86_400.0
MAX_OUTCOMES = 10_000
"""``run --on change`` remembers so many events; the one not heard of for longest goes."""

FINGERPRINT_BYTES = 8

_INSERT = (
    "INSERT INTO events (profile, key_fingerprint, body, accepted_at, lease, lease_until) VALUES (?, ?, ?, ?, ?, ?)"
)


class Store(Shelves):
    """The queue, on disk (``Outbox``) or not (``MemoryOutbox``).

    Any method may raise ``StoreUnavailable``: the disk is full or failing, or others never let go of the lock.
    """

    unkept_because: str | None = None
    """Why events do not outlive this process; ``None`` when they do."""

    notices: Sequence[str] = ()
    """What a user must be told about the store itself, such as that a damaged file was set aside."""

    _highest_id = 0
    """Of the events that this process has added or taken."""

    _ids_above = 0
    """New events get higher ids than this."""

    def fingerprint(self, key: str) -> str:
        """What stands for a key in here: 16 hex digits that don't lead back to it and differ between stores."""
        from hashlib import blake2b  # noqa: PLC0415 - 3 ms, for OpenSSL

        salt = self._guarded(self._salt)
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_BYTES, salt=salt).hexdigest()

    def _salt(self) -> bytes:
        salt = [value for (value,) in self._fetch("SELECT salt FROM store", ())]
        if len(salt) != 1 or not isinstance(salt[0], bytes) or len(salt[0]) != SALT_BYTES:
            raise Damaged("its salt is gone")
        return salt[0]

    def add(self, owner: Owner, bodies: Sequence[bytes], *, lease: str | None = None) -> list[int]:
        """Accept events, all or none, in one synced transaction; returns their ids, in order.

        With ``lease`` they are that holder's at once, for ``LEASE_S`` seconds.

        Raises:
            OutboxFull: they don't all fit; none is kept.
        """
        if not bodies:
            return []
        accepted_at = self._now()

        def work(db: sqlite3.Connection) -> int:
            require_room(db, len(bodies))
            if self._ids_above:
                _begin_ids_above(db, self._ids_above)
            lease_until = 0.0 if lease is None else self._now() + LEASE_S  # from now, when the lock is ours
            profile, key = storable(owner.profile), owner.key_fingerprint
            db.executemany(_INSERT, ((profile, key, body, accepted_at, lease, lease_until) for body in bodies))
            (last,) = db.execute("SELECT last_insert_rowid()").fetchone()
            return int(last)

        last = self._write(work, synced=True)
        self._highest_id = max(self._highest_id, last)
        # Ids grow by one, and nobody else writes in the same transaction.
        return list(range(last - len(bodies) + 1, last + 1))

    def take(
        self,
        owner: Owner,
        *,
        lease: str,
        limit: int,
        after: int = 0,
        ids: Iterable[int] | None = None,
        ignore_wait: bool = False,
        adopt: bool = False,
    ) -> list[Row]:
        """Lease up to ``limit`` pending events that nobody holds, and return them, oldest first.

        Only those of ``owner``; with ``adopt`` those of its profile under any key, which become the owner's for good.
        ``after``: only later ids; a walk that passes the last id it got sees every event once, however it ended.
        ``ids``: only these. ``ignore_wait``: also those whose next attempt is not due.
        """
        whose = f"{PENDING} AND profile = :profile" if adopt else OWNED
        due = "1" if ignore_wait else DUE
        # In the order of the table itself: rows of other owners, or not due, are passed over once in a walk.
        select = f"SELECT {COLUMNS} FROM events NOT INDEXED WHERE {whose} AND {FREE} AND {due} AND id > :after"

        def work(db: sqlite3.Connection) -> list[Row]:
            now = self._now()
            until = now + LEASE_S
            given = {**moment(now), **owned_by(owner), "after": after}
            if ids is None:
                found = db.execute(f"{select} ORDER BY id LIMIT :limit", {**given, "limit": limit}).fetchall()
            else:
                one_by_one = (db.execute(f"{select} AND id = :id", {**given, "id": i}).fetchone() for i in wanted)
                found = [values for values in one_by_one if values is not None][:limit]
            rows = read_rows(found, now, after=after, taken_by=owner)
            key = owner.key_fingerprint
            update = "UPDATE events SET key_fingerprint = ?, lease = ?, lease_until = ? WHERE id = ?"
            db.executemany(update, ((key, lease, until, row.id) for row in rows))
            self._highest_id = max([self._highest_id, *(row.id for row in rows)])
            return rows

        wanted = sorted({fitting(row_id) for row_id in ids or ()})
        return self._write(work)

    def renew(self, ids: Iterable[int], lease: str) -> set[int]:
        """Hold events for another ``LEASE_S`` seconds; returns those still ours. The others must not be sent."""

        def work(db: sqlite3.Connection) -> set[int]:
            until = self._now() + LEASE_S
            update = f"UPDATE events SET lease_until = ? WHERE id = ? AND lease = ? AND {PENDING}"
            return {row_id for row_id in held if db.execute(update, (until, row_id, lease)).rowcount}

        held = tuple(ids)
        return self._write(work)

    def delivered(self, ids: Iterable[int], lease: str) -> None:
        """The service has them: forget them.

        Those that another process has taken over stay, for it to acknowledge: once a damaged file was replaced, the
        same id may be another event.
        """
        done = [(row_id, lease) for row_id in ids]
        self._write(lambda db: db.executemany("DELETE FROM events WHERE id = ? AND lease = ?", done))

    def failed(
        self,
        row_id: int,
        lease: str,
        *,
        attempts: int,
        error_name: str | None,
        error_message: str | None,
        http_status: int | None,
        not_before: float,
    ) -> bool:
        """Put it back, with what happened: ``attempts`` in all, the next at ``not_before`` (in a day at the latest).

        Returns whether it was still ours; if not, nothing changes.
        """

        def work(db: sqlite3.Connection) -> bool:
            outcome = (attempts, error_name, message, http_status, min(not_before, self._now() + MAX_WAIT_S), None)
            return _give_back(db, row_id, lease, outcome)

        message = None if error_message is None else storable(error_message)
        return self._write(work)

    def rejected(
        self,
        row_id: int,
        lease: str,
        *,
        attempts: int,
        error_name: str | None,
        error_message: str | None,
        http_status: int | None,
    ) -> bool:
        """The service will never take it: onto the shelf, which keeps the newest 1,000 for 30 days.

        Returns whether it was still ours; if not, it is not shelved.
        """

        def work(db: sqlite3.Connection) -> bool:
            now = self._now()
            done = _give_back(db, row_id, lease, (attempts, error_name, message, http_status, 0, now))
            db.execute("DELETE FROM events WHERE rejected_at < ?", (now - MAX_REJECTED_AGE_S,))
            newest = "SELECT id FROM events WHERE rejected_at IS NOT NULL ORDER BY rejected_at DESC, id DESC"
            db.execute(f"DELETE FROM events WHERE id IN ({newest} LIMIT -1 OFFSET {MAX_REJECTED})")
            return done

        message = None if error_message is None else storable(error_message)
        return self._write(work)

    def release(self, ids: Iterable[int], lease: str) -> None:
        """Put events back as they were, for anybody to take at once."""
        back = [(row_id, lease) for row_id in ids]
        update = "UPDATE events SET lease = NULL, lease_until = 0 WHERE id = ? AND lease = ?"
        self._write(lambda db: db.executemany(update, back))

    def pending_exists(self, owner: Owner, *, due_only: bool = True) -> bool:
        """Whether there is an event to take now; with ``due_only=False``, one pending at all. One look at the index."""
        given = {**moment(self._now()), **owned_by(owner)}
        # Its two halves apart: the index can't be searched for an OR, and every waiting event would be walked past.
        halves = [f"{FREE} AND {half}" for half in DUE_HALVES] if due_only else ["1"]
        looks = " OR ".join(f"EXISTS (SELECT 1 FROM events WHERE {OWNED} AND {half})" for half in halves)
        ((found,),) = self._read(f"SELECT {looks}", given)
        return bool(found)

    def newest_id(self) -> int:
        """The highest id in use, 0 when there is none: a change of it tells that something new came in."""
        ((newest,),) = self._read("SELECT max(id) FROM events")
        return int(newest or 0)

    def newest_pending_at(self, owner: Owner) -> float | None:
        """When the owner's newest pending event was accepted; ``None`` when there is none."""
        select = f"SELECT accepted_at FROM events NOT INDEXED WHERE {OWNED} ORDER BY id DESC LIMIT 1"
        found = self._read(select, owned_by(owner))
        return float(found[0][0]) if found else None

    def leased_elsewhere(self, owner: Owner, lease: str, *, adopt: bool = False) -> int:
        """How many events of the owner (with ``adopt``: of its profile) others are delivering just now."""
        whose = f"{PENDING} AND profile = :profile" if adopt else OWNED
        select = f"SELECT count(*) FROM events WHERE {whose} AND NOT {FREE} AND lease <> :lease"
        ((count,),) = self._read(select, {**moment(self._now()), **owned_by(owner), "lease": lease})
        return int(count)

    def last_outcome(self, profile: str, workspace: str, event: str) -> str | None:
        """How the command that reports as this event ended last; a workspace is the same in any case."""
        select = "SELECT outcome FROM outcomes WHERE profile = ? AND workspace = ? AND event = ?"
        found = self._read(select, _outcome_key(profile, workspace, event))
        return str(found[0][0]) if found else None

    def remember_outcome(self, profile: str, workspace: str, event: str, outcome: str) -> None:
        """Store how it ended this time."""

        def work(db: sqlite3.Connection) -> None:
            # REPLACE gives the row a new, highest rowid: their order is that of the last word heard.
            insert = "REPLACE INTO outcomes (profile, workspace, event, outcome) VALUES (?, ?, ?, ?)"
            db.execute(insert, (*_outcome_key(profile, workspace, event), outcome))
            db.execute("DELETE FROM outcomes WHERE rowid <= last_insert_rowid() - ?", (MAX_OUTCOMES,))

        self._write(work)

    @contextmanager
    def flush_lock(self, *, wait: bool) -> Iterator[bool]:
        """One flusher at a time; gives whether that is us (always, with ``wait``)."""
        del wait
        yield True


def _begin_ids_above(db: sqlite3.Connection, floor: int) -> None:
    if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'events'", (floor,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (floor,))


def _give_back(db: sqlite3.Connection, row_id: int, lease: str, outcome: tuple[Any, ...]) -> bool:
    columns = "attempts = ?, error_name = ?, error_message = ?, http_status = ?, not_before = ?, rejected_at = ?"
    update = f"UPDATE events SET {columns}, lease = NULL, lease_until = 0 WHERE id = ? AND lease = ?"
    return db.execute(update, (*outcome, row_id, lease)).rowcount == 1


def _outcome_key(profile: str, workspace: str, event: str) -> tuple[str, str, str]:
    return storable(profile), storable(workspace.casefold()), storable(event)
