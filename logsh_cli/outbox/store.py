"""The outbox itself: accept events, lease them to one process at a time, note what came of them, look and tidy up."""

# ruff: noqa: S608 - only constants of this package are put into statements; what varies is bound

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from zlib import crc32

from logsh_cli.files import file_lock
from logsh_cli.outbox import schema
from logsh_cli.outbox.faults import Damaged, OutboxFull, StoreUnavailable, is_damage, unavailable
from logsh_cli.outbox.file import SetAside, StoreFile, look_at_set_aside, mark_read, patiently, set_aside_files
from logsh_cli.outbox.rows import (
    CLOCK_SLACK_S,
    COLUMNS,
    LEASE_S,
    MAX_WAIT_S,
    AttemptFacts,
    Changed,
    Counts,
    Owner,
    Row,
    State,
    read_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from logsh_cli.clock import BootTime
    from logsh_cli.outbox.file import Ledger

T = TypeVar("T")

MAX_PENDING = 100_000
MAX_REJECTED = 1_000
MAX_OUTCOMES = 10_000
"""``run --on change`` remembers so many events; the one not heard of for longest goes."""

PATIENCE_S = 60.0
"""How long a process waits for the others, unless told otherwise: enough for hundreds of them on a slow disk."""

FLUSH_LOCK_NAME = "flush.lock"
DAMAGED = "damaged"
_FINGERPRINT_BYTES = 8
_PORTION = 500
_WORTH_SHRINKING = 10_000

# PENDING is, word for word, the condition of the index: SQLite uses it only then.
_PENDING = "rejected_at IS NULL"
_REJECTED = "rejected_at IS NOT NULL"
_OF_OWNER = "profile = :profile AND key_fingerprint = :fingerprint"
_OF_PROFILE = "profile = :profile"
_FREE = "(lease_until <= :lease_now OR lease_until > :lease_now + :longest_lease)"
_DUE_HALVES = ("not_before <= :now", "not_before > :now + :longest_wait")
_DUE = f"({' OR '.join(_DUE_HALVES)})"
_IN_STATE: dict[State | None, str] = {
    None: "1",
    "pending": f"{_PENDING} AND {_FREE}",
    "leased": f"{_PENDING} AND NOT {_FREE}",
    "rejected": _REJECTED,
}
_SELECT = f"SELECT {COLUMNS} FROM events"
_INSERT = (
    "INSERT INTO events (profile, key_fingerprint, body, accepted_at, lease, lease_until, body_crc) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PUT_BACK = "UPDATE events SET rejected_at = NULL, not_before = 0, lease = NULL, lease_until = 0"
_SOUND = f"error_name IS NOT '{DAMAGED}'"


def no_boot_time() -> None:
    """Have leases counted by the wall clock."""


def open_store(
    directory: Callable[[], Path],
    *,
    now: Callable[[], float] = time.time,
    boot: Callable[[], BootTime | None] = no_boot_time,
    create: bool = True,
    patience_s: float = PATIENCE_S,
) -> Outbox:
    """Return the outbox, or memory where none can be used: then ``unkept_because`` says why.

    With ``create=False`` and no outbox yet: an empty store in memory, with no reason given.
    """
    try:
        file = StoreFile(directory(), now, patience_s)
        db = file.connect() if create else file.connect_existing()
    except StoreUnavailable as error:
        return MemoryOutbox(now=now, because=error.message)
    return MemoryOutbox(now=now) if db is None else Outbox(db, file, now, boot)


class Outbox:
    """One connection to one file (``open`` makes one), one transaction at a time. Threads may share it.

    Any method may raise ``StoreUnavailable``: the disk is full or failing, or another process keeps the lock.

    ``unkept_because`` says why events do not outlive this process; ``None`` when they do.
    """

    unkept_because: str | None = None

    def __init__(
        self,
        db: sqlite3.Connection,
        file: StoreFile | None,
        now: Callable[[], float],
        boot: Callable[[], BootTime | None],
    ) -> None:
        self._file = file
        self._now = now
        self._boot = boot
        self._patience_s = file.patience_s if file is not None else PATIENCE_S
        self._mutex = threading.RLock()
        # Where there is no log, NORMAL could lose more than the last transaction.
        self._cheap = "NORMAL" if file is None or file.has_wal else "FULL"
        self._highest_id = 0  # of the events that this process has added or taken
        self._use(db)

    def _use(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._synchronous = ""
        self._boot_offset: float | None = None
        # What is still under way has ids of the file before. An event in this one must not get the same, under the same
        # lease: it would be forgotten when the other is delivered.
        self._ids_above = self._highest_id

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        now: Callable[[], float] = time.time,
        boot: Callable[[], BootTime | None] = no_boot_time,
        patience_s: float = PATIENCE_S,
    ) -> Outbox:
        """Return the outbox in that directory, made if there is none; no wait for a lock is longer than ``patience_s``.

        Raises:
            StoreUnavailable: it can't be made, read or written, belongs to somebody else, or a newer logsh made it.
        """
        file = StoreFile(directory, now, patience_s)
        return cls(file.connect(), file, now, boot)

    @property
    def notices(self) -> Sequence[str]:
        """Return what a user must be told about the store itself, such as that a damaged file was set aside."""
        return self._file.notices if self._file is not None else ()

    def tightened(self) -> Sequence[str]:
        """Return which modes of its files were found too wide when it was opened, in sentences."""
        return self._file.tightened if self._file is not None else ()

    def set_aside(self) -> list[SetAside]:
        """Return the damaged files beside it that hold what has not been read."""
        return set_aside_files(self._file.directory) if self._file is not None else []

    def close(self) -> None:
        """Close the file.

        The last process to do so folds the log into it, which costs three syncs: one about to end had better not.
        """
        with self._mutex, suppress(sqlite3.Error):
            self._db.close()

    def check_writable(self) -> None:
        """Raise ``StoreUnavailable`` unless a transaction can be begun; changes nothing."""
        self._write(lambda _: None)

    def fingerprint(self, key: str) -> str:
        """Return what stands for a key in here: 16 hex digits that don't lead back to it and differ between stores."""
        try:  # hashlib's own, without the OpenSSL that hashlib loads first, which takes 3 ms
            from _blake2 import blake2b  # noqa: PLC0415
        except ImportError:
            from hashlib import blake2b  # noqa: PLC0415

        salt = self._guarded(self._salt)
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_FINGERPRINT_BYTES, salt=salt).hexdigest()

    # Accepting and delivering

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
            _require_room(db, len(bodies))
            if self._ids_above:
                schema.raise_sequence(db, self._ids_above)
            lease_until = 0.0 if lease is None else self._lease_now() + LEASE_S  # from now, when the lock is ours
            profile, key = _storable(owner.profile), owner.key_fingerprint
            db.executemany(_INSERT, ((profile, key, b, accepted_at, lease, lease_until, crc32(b)) for b in bodies))
            (last,) = db.execute("SELECT last_insert_rowid()").fetchone()
            return int(last)

        last = self._write(work, synced=True)
        if self._file is not None and not self._file.is_current():
            # Another process set the file aside, or somebody removed it, while we had it open: nobody will look into it
            # again, so what we accepted goes into the one that has its name now.
            self._highest_id = max(self._highest_id, last)
            with self._mutex:
                self._db.close()
                self._use(self._file.connect())
            last = self._write(work, synced=True)
        self._highest_id = max(self._highest_id, last)
        if self._file is not None:
            self._file.ledger.note_highest(last)
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
        tried: bool | None = None,
        ignore_wait: bool = False,
        adopt: bool = False,
    ) -> list[Row]:
        """Lease up to ``limit`` pending events that nobody holds, and return them, oldest first.

        Only those of ``owner``; with ``adopt`` those of its profile under any key, which become the owner's for good.
        ``after``: only later ids; a walk that passes the last id it got sees every event once, however it ended.
        ``ids``: only these. ``tried``: only those with attempts, or only those without. ``ignore_wait``: also those
        whose next attempt is not due. One that can't be read any more goes to the refused ones instead.
        """
        whose = _OF_PROFILE if adopt else _OF_OWNER
        due = "1" if ignore_wait else _DUE
        if tried is not None:
            due += f" AND attempts {'>' if tried else '='} 0"
        # In the order of the table itself: rows of other owners, or not due, are passed over once in a walk.
        select = f"{_SELECT} NOT INDEXED WHERE {_PENDING} AND {whose} AND {_FREE} AND {due} AND id > :after"
        wanted = None if ids is None else sorted({_fitting(row_id) for row_id in ids})
        update = "UPDATE events SET key_fingerprint = ?, lease = ?, lease_until = ? WHERE id = ?"

        def work(db: sqlite3.Connection) -> list[Row]:
            given = {**self._moment(), **_owned_by(owner), "after": after}
            until = given["lease_now"] + LEASE_S
            taken: list[Row] = []
            while len(taken) < limit:
                given["limit"] = limit - len(taken)
                if wanted is None:
                    portion = self._portion(f"{select} ORDER BY id LIMIT :limit", given)
                else:
                    one_by_one = [self._portion(f"{select} AND id = :id", {**given, "id": i}) for i in wanted]
                    portion = [row for found in one_by_one for row in found][:limit]
                for row in portion:
                    if row.state == "damaged":
                        self._shelve_damaged(db, row)
                    elif db.execute(update, (owner.key_fingerprint, lease, until, row.id)).rowcount == 1:
                        taken.append(row._replace(state="leased", owner=owner))
                    else:
                        raise Damaged("an event is not where its index says")
                if not portion or wanted is not None:
                    break
                given["after"] = portion[-1].id
            return taken

        rows = self._write(work)
        self._highest_id = max([self._highest_id, *(row.id for row in rows)])
        return rows

    def _portion(self, select: str, given: dict[str, Any]) -> list[Row]:
        rows = [read_row(values, given["lease_now"]) for values in self._fetch(select, given)]
        if any(before >= row_id for before, row_id in pairwise([given["after"], *(row.id for row in rows)])):
            raise Damaged("its events are in disorder")  # in which a walk would never end
        return rows

    def renew(self, ids: Iterable[int], lease: str) -> set[int]:
        """Hold events for another ``LEASE_S`` seconds; returns those still ours. The others must not be sent."""

        def work(db: sqlite3.Connection) -> set[int]:
            until = self._lease_now() + LEASE_S
            update = "UPDATE events SET lease_until = ? WHERE id = ? AND lease = ?"
            return {row_id for row_id in held if db.execute(update, (until, row_id, lease)).rowcount}

        held = tuple(ids)
        return self._write(work)

    def delivered(self, ids: Iterable[int], lease: str) -> None:
        """Forget events that the service has; where the store can't be written, in the file kept for that.

        Those that another process has taken over stay, for it to acknowledge.
        """
        done = [(row_id, lease) for row_id in ids]
        try:
            self._write(lambda db: db.executemany("DELETE FROM events WHERE id = ? AND lease = ?", done))
        except StoreUnavailable:
            if self._file is None:
                raise
            ours = "SELECT 1 FROM events WHERE id = ? AND lease = ?"
            with suppress(OSError), file_lock(self._file.ledger.path, patience_s=self._patience_s) as held:
                if held:
                    self._file.ledger.note_delivered([pair[0] for pair in done if self._read(ours, pair)])
                    return
            raise

    def failed(self, row_id: int, lease: str, *, not_before: float, **facts: Unpack[AttemptFacts]) -> bool:
        """Put it back, with what happened, for its next attempt at ``not_before`` (in a day at the latest).

        Returns whether it was still ours; if not, nothing changes.
        """
        return self._write(
            lambda db: _give_back(db, row_id, lease, facts, min(not_before, self._now() + MAX_WAIT_S), None)
        )

    def rejected(self, row_id: int, lease: str, **facts: Unpack[AttemptFacts]) -> bool:
        """Shelve what the service will never take; the shelf keeps the newest 1,000 and counts what it drops.

        Returns whether it was still ours; if not, it is not shelved.
        """

        def work(db: sqlite3.Connection) -> bool:
            done = _give_back(db, row_id, lease, facts, 0.0, self._now())
            _bound_shelf(db)
            return done

        return self._write(work)

    def _shelve_damaged(self, db: sqlite3.Connection, row: Row) -> None:
        shelve = "UPDATE events SET rejected_at = ?, error_name = ?, lease = NULL, lease_until = 0 WHERE id = ?"
        db.execute(shelve, (self._now(), DAMAGED, row.id))
        _bound_shelf(db)

    def release(self, ids: Iterable[int], lease: str) -> None:
        """Put events back as they were, for anybody to take at once."""
        back = [(row_id, lease) for row_id in ids]
        update = "UPDATE events SET lease = NULL, lease_until = 0 WHERE id = ? AND lease = ?"
        self._write(lambda db: db.executemany(update, back))

    # Looking

    def pending_exists(self, owner: Owner, *, due_only: bool = True) -> bool:
        """Tell whether there is an event to take now; with ``due_only=False``, one pending at all."""
        # Its two halves apart: the index can't be searched for an OR, and every waiting event would be walked past.
        halves = [f"{_FREE} AND {half}" for half in _DUE_HALVES] if due_only else ["1"]
        looks = " OR ".join(
            f"EXISTS (SELECT 1 FROM events WHERE {_PENDING} AND {_OF_OWNER} AND {half})" for half in halves
        )
        ((found,),) = self._read(f"SELECT {looks}", _owned_by(owner))
        return bool(found)

    def newest_id(self) -> int:
        """Return the highest id in use, 0 when there is none: a change of it tells that something new came in."""
        ((newest,),) = self._read("SELECT max(id) FROM events")
        return int(newest or 0)

    def newest_pending_at(self, owner: Owner) -> float | None:
        """Return when the owner's newest pending event was accepted; ``None`` when there is none."""
        select = f"SELECT accepted_at FROM events NOT INDEXED WHERE {_PENDING} AND {_OF_OWNER} ORDER BY id DESC LIMIT 1"
        found = self._read(select, _owned_by(owner))
        return float(found[0][0]) if found else None

    def rows(self, *, owner: Owner | None = None, state: State | None = None) -> Iterator[Row]:
        """Yield all events, or those of one owner or state, oldest first; memory does not grow with their number.

        They are read in portions, so that a slow reader keeps nobody waiting; what changes meanwhile may be missed.
        """
        where = f"id > :after AND {'1' if owner is None else _OF_OWNER} AND {_IN_STATE[state]}"
        select = f"{_SELECT} NOT INDEXED WHERE {where} ORDER BY id LIMIT {_PORTION}"
        after = 0
        while True:
            given = {**_owned_by(owner), "after": after}
            portion = self._guarded(lambda: self._portion(select, {**self._moment(), **given}))  # noqa: B023 - called at once
            yield from portion
            if len(portion) < _PORTION:
                return
            after = portion[-1].id

    def get(self, row_id: int) -> Row | None:
        """Return one event, whole; ``None`` when there is none of that id."""
        return self._guarded(lambda: self._row(row_id))

    def _row(self, row_id: int) -> Row | None:
        found = self._fetch(f"{_SELECT} WHERE id = ?", (_fitting(row_id),))
        return read_row(found[0], self._lease_now()) if found else None

    def counts(self, owner: Owner | None = None) -> Counts:
        """Return how many events there are, of everybody or of one owner."""
        whose = "1" if owner is None else _OF_OWNER
        states = (_PENDING, _IN_STATE["leased"], _REJECTED)
        totals = [f"(SELECT count(*) FROM events WHERE {what} AND {whose})" for what in states]
        select = f"SELECT {', '.join(totals)}, (SELECT max(dropped) FROM store)"
        ((pending, leased, rejected, dropped),) = self._read(select, _owned_by(owner))
        return Counts(pending, leased, rejected, dropped or 0)

    def last_outcome(self, profile: str, workspace: str, event: str) -> str | None:
        """Return how the command that reports as this event ended last; a workspace is the same in any case."""
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
    def flush_lock(self, *, patience_s: float = 0.0) -> Iterator[bool]:
        """Hold the lock that lets one flusher at a time work; gives whether it is ours within ``patience_s``."""
        with ExitStack() as stack:
            held = True
            if self._file is not None:
                path = self._file.directory / FLUSH_LOCK_NAME
                try:
                    held = stack.enter_context(file_lock(path, patience_s=patience_s))
                except OSError as error:
                    raise StoreUnavailable(f"the lock {path} can't be used: {error.strerror}") from error
            yield held

    # Changing by hand

    def retry(self, ids: Iterable[int] | None = None) -> Changed:
        """Put rejected events back among the pending ones, to be tried at once: these, or (``None``) all of them.

        Of a pending event it ends the wait. One that is damaged stays as it is.

        Raises:
            OutboxFull: they don't all fit; nothing is changed.
        """

        def work(db: sqlite3.Connection) -> Changed:
            (shelved,) = db.execute(f"SELECT count(*) FROM events WHERE {_REJECTED} AND {_SOUND}").fetchone()
            if wanted := shelved if ids is None else min(shelved, len(chosen)):
                _require_room(db, wanted)
            if ids is None:
                return Changed(db.execute(f"{_PUT_BACK} WHERE {_REJECTED} AND {_SOUND}").rowcount)
            return self._each(db, chosen, f"{_PUT_BACK} WHERE id = ?", ("leased", "damaged"))

        chosen = tuple(dict.fromkeys(ids or ()))
        return self._write(work, synced=True)

    def drop(self, ids: Iterable[int] | None = None) -> Changed:
        """Delete events, pending, rejected or damaged: these, or (``None``) all of them.

        What is being delivered at this moment stays: it may have been accepted a moment ago by a process that will say
        it is kept, and it could not be called back anyway.
        """

        def work(db: sqlite3.Connection) -> Changed:
            if ids is not None:
                return self._each(db, chosen, "DELETE FROM events WHERE id = ?", ("leased",))
            done = db.execute(f"DELETE FROM events WHERE {_FREE}", self._moment()).rowcount
            return Changed(done, leased=tuple(row_id for (row_id,) in db.execute("SELECT id FROM events ORDER BY id")))

        chosen = tuple(dict.fromkeys(ids or ()))
        changed = self._write(work, synced=True)
        if changed.done >= _WORTH_SHRINKING:
            # Space that nobody needs again soon. Others may be at work, or the disk too full for it: then it stays.
            with self._mutex, suppress(sqlite3.Error):
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return changed

    def _each(
        self, db: sqlite3.Connection, ids: tuple[int, ...], change: str, left_alone: tuple[State, ...]
    ) -> Changed:
        done = 0
        leased, missing = [], []
        for row_id in ids:
            row = self._row(row_id)
            if row is not None and row.state not in left_alone:
                db.execute(change, (row_id,))
                done += 1
            elif row is not None and row.state == "leased":
                leased.append(row_id)
            else:
                missing.append(row_id)
        return Changed(done, tuple(leased), tuple(missing))

    def recover(self, path: Path) -> SetAside:
        """Add what can be read of a damaged file, under new ids; nothing when it was read before.

        Raises:
            OutboxFull: its events don't all fit; none is added.
            OSError: it can't be read.
        """
        if not path.with_name(path.name + "-wal").exists():
            path.stat()
        known = look_at_set_aside(path)
        if known.read is not None:
            return known
        from logsh_cli.outbox.pages import salvage  # noqa: PLC0415 - nobody pays for it until there is damage

        found = salvage(path)

        def work(db: sqlite3.Connection) -> None:
            _require_room(db, len(found.rows))
            schema.insert(db, [(None, *row[1:]) for row in found.rows])

        self._write(work, synced=True)
        mark_read(path, found)
        return SetAside(path, len(found.rows), found.missing())

    # Transactions

    def _lease_now(self) -> float:
        """Return the time in which leases are counted: the wall clock's at the first write since the boot, and on."""
        boot = self._boot()
        if boot is None:
            return self._now()
        if self._boot_offset is None:
            found = self._db.execute("SELECT boot_id, boot_offset FROM store").fetchone()
            if found is None or found[0] != boot.id or not isinstance(found[1], float):
                offset = self._now() - boot.seconds
                if not self._db.in_transaction:
                    return boot.seconds + offset
                self._db.execute("UPDATE store SET boot_id = ?, boot_offset = ?", (boot.id, offset))
                return boot.seconds + offset
            self._boot_offset = found[1]
        return boot.seconds + self._boot_offset

    def _moment(self) -> dict[str, float]:
        longest = {"longest_lease": LEASE_S + CLOCK_SLACK_S, "longest_wait": MAX_WAIT_S + CLOCK_SLACK_S}
        return {"now": self._now(), "lease_now": self._lease_now(), **longest}

    def _salt(self) -> bytes:
        salt = [value for (value,) in self._fetch("SELECT salt FROM store", ())]
        if len(salt) != 1 or not isinstance(salt[0], bytes) or len(salt[0]) != schema.SALT_BYTES:
            raise Damaged("its salt is gone")
        return salt[0]

    def _read(self, select: str, given: dict[str, Any] | tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Fetch rows; a select with named parameters may use those of ``_moment``, too."""
        return self._guarded(
            lambda: self._fetch(select, {**self._moment(), **given} if isinstance(given, dict) else given)
        )

    def _fetch(self, select: str, given: dict[str, Any] | tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return patiently(lambda: self._db.execute(select, given).fetchall(), self._patience_s)

    def _write(self, work: Callable[[sqlite3.Connection], T], *, synced: bool = False) -> T:
        """Do ``work`` in a transaction that holds the write lock from its beginning.

        A reader that becomes a writer fails at once when another was faster. ``work`` may be done twice, on two files.

        ``synced``: on disk when this returns. Otherwise the next synced one, or the system, takes it along.
        """
        if self._file is not None and self._file.ledger.has_delivered():
            self._settle(self._file.ledger)
        return self._guarded(lambda: self._transact(work, "FULL" if synced else self._cheap))

    def _settle(self, ledger: Ledger) -> None:
        """Delete what a full disk only let us note as delivered."""
        with suppress(OSError), file_lock(ledger.path, patience_s=self._patience_s) as held:
            if held:
                pairs, delete = ledger.delivered(), "DELETE FROM events WHERE id BETWEEN ? AND ?"
                self._guarded(lambda: self._transact(lambda db: db.executemany(delete, pairs), "FULL"))
                ledger.forget_delivered()

    def _transact(self, work: Callable[[sqlite3.Connection], T], synchronous: str) -> T:
        if self._synchronous != synchronous:
            self._db.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        patiently(lambda: self._db.execute("BEGIN IMMEDIATE"), self._patience_s)
        try:
            result = work(self._db)
            # May still have to wait for readers where there is no log.
            patiently(lambda: self._db.execute("COMMIT"), self._patience_s)
        except BaseException:
            if self._db.in_transaction:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise
        return result

    def _guarded(self, step: Callable[[], T]) -> T:
        """Take a step; damage that shows in it has the file set aside, and the step taken again on a fresh one."""
        with self._mutex:
            try:
                try:
                    return step()
                except (sqlite3.Error, Damaged) as error:
                    if self._file is None or not is_damage(error):
                        raise
                    self._file.set_aside(self._db, str(error))
                    self._use(self._file.connect())
                return step()
            except (sqlite3.Error, Damaged) as error:
                raise unavailable(self._file.path if self._file is not None else "in memory", error) from error


class MemoryOutbox(Outbox):
    """The store of a process that can have none on disk: the same in all but that it ends with the process."""

    def __init__(self, *, now: Callable[[], float] = time.time, because: str | None = None) -> None:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        schema.upgrade(db)
        super().__init__(db, None, now, no_boot_time)
        self.unkept_because = because


def _require_room(db: sqlite3.Connection, wanted: int) -> None:
    """Raise ``OutboxFull`` unless so many more events may become pending."""
    # Counting walks the index, milliseconds when it is long. The span of the ids is an upper bound that costs nothing.
    (span,) = db.execute("SELECT (SELECT max(id) FROM events) - (SELECT min(id) FROM events) + 1").fetchone()
    if (span or 0) + wanted <= MAX_PENDING:
        return
    (pending,) = db.execute(f"SELECT count(*) FROM events WHERE {_PENDING}").fetchone()
    if pending + wanted > MAX_PENDING:
        raise OutboxFull(
            f"the outbox is full: {pending:,} events are waiting, and {MAX_PENDING:,} is the most that are kept",
            hint="deliver them with `logsh outbox flush`, or remove some with `logsh outbox drop`",
            room=max(0, MAX_PENDING - pending),
        )


def _bound_shelf(db: sqlite3.Connection) -> None:
    # By id: a clock that is set forward must not empty the shelf.
    newest = f"SELECT id FROM events WHERE {_REJECTED} ORDER BY id DESC LIMIT -1 OFFSET {MAX_REJECTED}"
    if dropped := db.execute(f"DELETE FROM events WHERE id IN ({newest})").rowcount:
        db.execute("UPDATE store SET dropped = dropped + ?", (dropped,))


def _give_back(
    db: sqlite3.Connection, row_id: int, lease: str, facts: AttemptFacts, not_before: float, rejected_at: float | None
) -> bool:
    message = facts["error_message"]
    outcome = (facts["attempts"], facts["error_name"], None if message is None else _storable(message))
    columns = "attempts = ?, error_name = ?, error_message = ?, http_status = ?, not_before = ?, rejected_at = ?"
    update = f"UPDATE events SET {columns}, lease = NULL, lease_until = 0 WHERE id = ? AND lease = ?"
    values = (*outcome, facts["http_status"], not_before, rejected_at, row_id, lease)
    return db.execute(update, values).rowcount == 1


def _owned_by(owner: Owner | None) -> dict[str, Any]:
    return {} if owner is None else {"profile": _storable(owner.profile), "fingerprint": owner.key_fingerprint}


def _outcome_key(profile: str, workspace: str, event: str) -> tuple[str, str, str]:
    return _storable(profile), _storable(workspace.casefold()), _storable(event)


def _storable(text: str) -> str:
    """Return text that has a UTF-8 form: an argument may hold bytes of another charset, as lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _fitting(row_id: int) -> int:
    """Return an id that fits SQLite's integers; one that is too large for them belongs to no event, as 0 does."""
    return row_id if 0 < row_id < 2**63 else 0
