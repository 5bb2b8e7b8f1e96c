"""The outbox itself: accept events, lease them to one process at a time, note what came of them, look and tidy up."""

# ruff: noqa: S608 - only constants of this package and integers are put into statements; what else varies is bound

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from zlib import crc32

from logsh_cli.errors import NotKept
from logsh_cli.files import file_lock
from logsh_cli.outbox import file as files
from logsh_cli.outbox.file import Damaged, StoreFile, StoreUnavailable
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
    from sqlite3 import Connection

    from logsh_cli.clock import BootTime
    from logsh_cli.outbox.file import SetAside

T = TypeVar("T")

MAX_PENDING = 100_000
MAX_REJECTED = 1_000
MAX_OUTCOMES = 10_000  # of which `run --on change` remembers the last; the one not heard of for longest goes

PATIENCE_S = 60.0
"""A process waits so long for the others, unless told otherwise: enough for hundreds of them on a slow disk."""

_PORTION = 500

# PENDING is, word for word, the condition of the index: SQLite uses it only then.
_PENDING = "rejected_at IS NULL"
_REJECTED = "rejected_at IS NOT NULL"
_OF_OWNER = "profile = :profile AND key_fingerprint = :fingerprint"
_FREE = f"(lease_until <= :lease_now OR lease_until > :lease_now + {LEASE_S + CLOCK_SLACK_S})"
_DUE_HALVES = ("not_before <= :now", f"not_before > :now + {MAX_WAIT_S + CLOCK_SLACK_S}")
_IN_STATE: dict[State | None, str] = {
    None: "1",
    "pending": f"{_PENDING} AND {_FREE}",
    "leased": f"{_PENDING} AND NOT {_FREE}",
    "rejected": _REJECTED,
}
_SELECT = f"SELECT {COLUMNS} FROM events"
# In the order of the table itself: rows that are not wanted are passed over once in a walk.
_WALK = f"{_SELECT} NOT INDEXED WHERE id > :after AND"
_NO_LEASE = "lease = NULL, lease_until = 0"
_PUT_BACK = f"UPDATE events SET rejected_at = NULL, not_before = 0, {_NO_LEASE}"
_SHELVE = f"UPDATE events SET rejected_at = ?, error_name = 'damaged', {_NO_LEASE} WHERE id = ?"
_GIVE_BACK = (
    "UPDATE events SET attempts = :attempts, error_name = :error_name, error_message = :error_message, "
    f"http_status = :http_status, not_before = :not_before, rejected_at = :rejected_at, {_NO_LEASE} "
    "WHERE id = :id AND lease = :lease"
)
_SOUND = "error_name IS NOT 'damaged'"


class OutboxFull(NotKept, name="outbox_full"):
    """So many events are waiting that no more are kept."""


def open_store(
    directory: Callable[[], Path],
    *,
    now: Callable[[], float] = time.time,
    boot: Callable[[], BootTime | None] = lambda: None,
    create: bool = True,
    patience_s: float = PATIENCE_S,
) -> Outbox:
    """Return the outbox, or memory: where none can be used, or where there is none yet and ``create`` is false."""
    try:
        file = StoreFile(directory(), now, patience_s)
        if create or file.exists():
            return Outbox(file, now, boot)
    except StoreUnavailable as error:
        return MemoryOutbox(now=now, because=error.message, is_full=error.is_full)
    return MemoryOutbox(now=now)


class Outbox:
    """The events in one file. Any method may raise ``StoreUnavailable``. Threads may share it.

    ``notices`` are for the user: that a damaged file was set aside. ``tightened`` says which modes were too wide.
    """

    unkept_because: str | None = None
    """Why events do not outlive this process; ``None`` when they do."""
    is_full = False  # that is the reason: there is no room on the disk

    def __init__(self, file: StoreFile, now: Callable[[], float], boot: Callable[[], BootTime | None]) -> None:
        self.notices: Sequence[str] = file.notices
        self.tightened: Sequence[str] = file.tightened
        self.close = file.close
        self._file = file
        self._now = now
        self._boot = boot
        file.do(lambda _: None)

    @classmethod
    def open(
        cls,
        directory: Path,
        now: Callable[[], float] = time.time,
        boot: Callable[[], BootTime | None] = lambda: None,
        patience_s: float = PATIENCE_S,
    ) -> Outbox:
        """Return the outbox in that directory, made if there is none; without ``boot`` the wall clock counts leases."""
        return cls(StoreFile(directory, now, patience_s), now, boot)

    def set_aside(self) -> list[SetAside]:
        """Return the damaged files beside it that hold what has not been read."""
        return files.set_aside_files(self._file.directory)

    def check_writable(self) -> None:
        """Raise ``StoreUnavailable`` unless a transaction can be begun; changes nothing."""
        self._file.write(lambda _: None)

    def fingerprint(self, key: str) -> str:
        """Return what stands for a key in here: 16 hex digits that don't lead back to it and differ between stores."""
        try:  # hashlib's own, without the OpenSSL that hashlib loads first, which takes 3 ms
            from _blake2 import blake2b  # noqa: PLC0415
        except ImportError:
            from hashlib import blake2b  # noqa: PLC0415

        key_bytes, salt = key.encode("utf-8", "surrogatepass"), self._file.salt or b""
        return blake2b(key_bytes, digest_size=8, salt=salt).hexdigest()

    # Accepting and delivering

    def add(self, owner: Owner, bodies: Sequence[bytes], *, lease: str | None = None) -> list[int]:
        """Accept events, all or none, synced, at once leased to ``lease``; returns their ids. Raises ``OutboxFull``."""
        if not bodies:
            return []
        accepted_at = self._now()
        whose = (_storable(owner.profile), owner.key_fingerprint)

        def work(db: Connection) -> int:
            until = 0.0 if lease is None else self._lease_now(db) + LEASE_S  # from now, when the lock is ours
            untried = (accepted_at, 0, 0.0, lease, until, None, None, None, None)
            files.insert(db, ((None, *whose, body, *untried, crc32(body)) for body in bodies))
            _require_room(db, len(bodies))
            (last,) = db.execute("SELECT last_insert_rowid()").fetchone()
            return int(last)

        last = self._file.write(work, synced=True)
        if not self._file.keeps(last):
            last = self._file.write(work, synced=True)
            self._file.keeps(last)
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
        """Lease up to ``limit`` pending events of ``owner`` that nobody holds, and return them, oldest first.

        ``adopt``: those of its profile under any key, which become the owner's for good. ``after``: only later ids.
        ``ids``: only these. ``tried``: only those with attempts, or only those without. ``ignore_wait``: also those
        not due yet. One that can't be read any more goes to the refused ones instead.
        """
        conditions = [_IN_STATE["pending"], "profile = :profile" if adopt else _OF_OWNER]
        if not ignore_wait:
            conditions.append(f"({' OR '.join(_DUE_HALVES)})")
        if tried is not None:
            conditions.append(f"attempts {'>' if tried else '='} 0")
        if ids is not None:
            conditions.append(f"id IN ({', '.join(map(str, sorted(ids)[:limit]))})")
        select = f"{_WALK} {' AND '.join(conditions)} ORDER BY id LIMIT :limit"
        update = "UPDATE events SET key_fingerprint = ?, lease = ?, lease_until = ? WHERE id = ?"

        def work(db: Connection) -> list[Row]:
            until = self._lease_now(db) + LEASE_S
            taken: list[Row] = []
            seen = after
            while portion := self._portion(db, select, after=seen, limit=limit - len(taken), **_owned_by(owner)):
                seen = portion[-1].id
                for row in portion:
                    if row.state == "damaged":
                        db.execute(_SHELVE, (self._now(), row.id))
                        _bound_shelf(db)
                    else:
                        db.execute(update, (owner.key_fingerprint, lease, until, row.id))
                        taken.append(row._replace(state="leased", owner=owner))
            return taken

        return self._file.write(work)

    def _portion(self, db: Connection, select: str, after: int, **given: object) -> list[Row]:
        lease_now = self._lease_now(db)
        rows = [read_row(values, lease_now) for values in self._fetch(db, select, after=after, **given)]
        ids = [after, *(row.id for row in rows)]
        if ids != sorted(set(ids)):
            raise Damaged("its events are in disorder")  # in which a walk would never end
        return rows

    def renew(self, ids: Iterable[int], lease: str) -> set[int]:
        """Hold events for another ``LEASE_S`` seconds; returns those still ours. The others must not be sent."""
        update = "UPDATE events SET lease_until = ? WHERE id = ? AND lease = ?"
        held = tuple(ids)

        def work(db: Connection) -> set[int]:
            until = self._lease_now(db) + LEASE_S
            return {row_id for row_id in held if db.execute(update, (until, row_id, lease)).rowcount}

        return self._file.write(work)

    def delivered(self, ids: Iterable[int], lease: str) -> None:
        """Forget events of ours that the service has; where the store can't be written, in the ledger."""
        done = [(row_id, lease) for row_id in ids]
        try:
            self._file.write(lambda db: db.executemany("DELETE FROM events WHERE id = ? AND lease = ?", done))
        except StoreUnavailable:
            ledger = self._file.ledger
            with suppress(OSError), file_lock(ledger.path, patience_s=self._file.patience_s) as held:
                if held:
                    ours = "SELECT id, id FROM events WHERE id = :id AND lease = :lease"
                    found = [pair for row_id, _ in done for pair in self._read(ours, id=row_id, lease=lease)]
                    ledger.note_delivered([*ledger.delivered(), *found])
                    return
            raise

    def failed(self, row_id: int, lease: str, *, not_before: float, **facts: Unpack[AttemptFacts]) -> None:
        """Put it back, if it is still ours, with what happened; its next attempt is in a day at the latest."""
        self._give_back(row_id, lease, facts, not_before=min(not_before, self._now() + MAX_WAIT_S), rejected_at=None)

    def rejected(self, row_id: int, lease: str, **facts: Unpack[AttemptFacts]) -> None:
        """Shelve, if it is still ours, what the service will never take; the shelf counts what it has to drop."""
        self._give_back(row_id, lease, facts, not_before=0.0, rejected_at=self._now())

    def _give_back(self, row_id: int, lease: str, facts: AttemptFacts, **more: float | None) -> None:
        given = {**facts, **more, "id": row_id, "lease": lease}
        given["error_message"] = facts["error_message"] and _storable(facts["error_message"])

        def work(db: Connection) -> None:
            db.execute(_GIVE_BACK, given)
            _bound_shelf(db)

        self._file.write(work)

    def release(self, ids: Iterable[int], lease: str) -> None:
        """Put events back as they were, for anybody to take at once."""
        back = [(row_id, lease) for row_id in ids]
        self._file.write(lambda db: db.executemany(f"UPDATE events SET {_NO_LEASE} WHERE id = ? AND lease = ?", back))

    # Looking

    def pending_exists(self, owner: Owner) -> bool:
        """Tell whether there is an event to take now."""
        # Its two halves apart: the index can't be searched for an OR, and every waiting event would be walked past.
        mine = f"SELECT 1 FROM events WHERE {_PENDING} AND {_OF_OWNER} AND {_FREE}"
        return any(self._read(f"{mine} AND {half} LIMIT 1", **_owned_by(owner)) for half in _DUE_HALVES)

    def newest_id(self) -> int:
        """Return the highest id in use, 0 when there is none."""
        ((newest,),) = self._read("SELECT max(id) FROM events")
        return int(newest or 0)

    def newest_pending_at(self, owner: Owner) -> float | None:
        """Return when the owner's newest pending event was accepted; ``None`` when there is none."""
        select = f"SELECT accepted_at FROM events NOT INDEXED WHERE {_PENDING} AND {_OF_OWNER} ORDER BY id DESC LIMIT 1"
        found = self._read(select, **_owned_by(owner))
        return float(found[0][0]) if found else None

    def rows(self, *, state: State | None = None) -> Iterator[Row]:
        """Yield all events, or those in one state, oldest first; portioned, so that a slow reader holds nobody up."""
        select = f"{_WALK} {_IN_STATE[state]} ORDER BY id LIMIT {_PORTION}"
        after = 0
        gone = self._file.ledger.delivered()
        while portion := self._file.do(partial(self._portion, select=select, after=after)):
            yield from (row for row in portion if not any(first <= row.id <= last for first, last in gone))
            after = portion[-1].id

    def get(self, row_id: int) -> Row | None:
        """Return one event, whole; ``None`` when there is none of that id."""
        found = self._file.do(partial(self._portion, select=f"{_WALK} id = :id", after=0, id=_fitting(row_id)))
        return found[0] if found else None

    def counts(self, owner: Owner | None = None) -> Counts:
        """Return how many events there are, of everybody or of one owner."""
        whose, given = ("1", {}) if owner is None else (_OF_OWNER, _owned_by(owner))
        states = (_PENDING, _IN_STATE["leased"], _REJECTED)
        totals = [f"(SELECT count(*) FROM events WHERE {what} AND {whose})" for what in states]
        select = f"SELECT {', '.join(totals)}, (SELECT max(dropped) FROM store)"
        ((pending, leased, rejected, dropped),) = self._read(select, **given)
        noted = f"SELECT count(*) FROM events WHERE {_PENDING} AND {whose} AND id BETWEEN :first AND :last"
        for first, last in self._file.ledger.delivered():
            pending -= self._read(noted, first=first, last=last, **given)[0][0]
        return Counts(pending, leased, rejected, dropped or 0)

    def last_outcome(self, profile: str, workspace: str, event: str) -> str | None:
        """Return how the command that reports as this event ended last; a workspace is the same in any case."""
        select = "SELECT outcome FROM outcomes WHERE profile = :profile AND workspace = :workspace AND event = :event"
        found = self._read(select, **_outcome_key(profile, workspace, event))
        return str(found[0][0]) if found else None

    def remember_outcome(self, profile: str, workspace: str, event: str, outcome: str) -> None:
        """Store how it ended this time."""
        # REPLACE gives the row a new, highest rowid: their order is that of the last word heard.
        columns, given = "(profile, workspace, event, outcome)", _outcome_key(profile, workspace, event)

        def work(db: Connection) -> None:
            db.execute(
                f"REPLACE INTO outcomes {columns} VALUES (:profile, :workspace, :event, :how)", given | {"how": outcome}
            )
            db.execute("DELETE FROM outcomes WHERE rowid <= last_insert_rowid() - ?", (MAX_OUTCOMES,))

        self._file.write(work)

    @contextmanager
    def flush_lock(self, *, patience_s: float = 0.0) -> Iterator[bool]:
        """Hold the lock of the one flusher at a time; gives whether it is ours within ``patience_s``."""
        path = self._file.directory / "flush.lock"
        with ExitStack() as stack:
            try:
                held = stack.enter_context(file_lock(path, patience_s=patience_s))
            except OSError as error:
                raise StoreUnavailable(f"the lock {path} can't be used: {error.strerror}") from error
            yield held

    # Changing by hand

    def retry(self, ids: Iterable[int] | None = None) -> Changed:
        """Put rejected events back, to be tried at once, but for damaged ones: these, or (``None``) all of them.

        Of a pending event it ends the wait. Raises ``OutboxFull``.
        """
        return self._change(f"{_PUT_BACK} WHERE {_SOUND}", ids, f"{_REJECTED} AND {_SOUND}")

    def drop(self, ids: Iterable[int] | None = None) -> Changed:
        """Delete these events, or (``None``) all, but for what is being delivered, which can't be called back."""
        return self._change("DELETE FROM events WHERE 1", ids, "1")

    def _change(self, change: str, ids: Iterable[int] | None, those: str) -> Changed:
        """Change these events, or all of ``those``, but for what is being delivered."""
        named = None if ids is None else list(dict.fromkeys(ids))

        def work(db: Connection) -> Changed:
            def ids_where(condition: str) -> list[int]:
                return [row_id for (row_id,) in self._fetch(db, f"SELECT id FROM events WHERE {condition}")]

            leased = set(ids_where(f"NOT {_FREE}"))
            chosen = ids_where(those) if named is None else named
            free = [row_id for row_id in chosen if row_id not in leased]
            found = [db.execute(f"{change} AND id = ?", (_fitting(row_id),)).rowcount for row_id in free]
            missing = tuple(row_id for row_id, changed in zip(free, found, strict=True) if not changed)
            done = sum(found)
            _require_room(db, done)
            return Changed(done, tuple(row_id for row_id in chosen if row_id in leased), missing)

        return self._file.write(work, synced=True)

    def recover(self, path: Path) -> SetAside:
        """Add what can be read of a damaged file, all or none, under new ids; nothing when it was read before.

        Raises ``OSError`` when it can't be read, and ``OutboxFull``.
        """
        if not path.with_name(path.name + "-wal").exists():
            path.stat()
        known = files.look_at_set_aside(path)
        if known.read is not None:
            return known
        from logsh_cli.outbox.pages import salvage  # noqa: PLC0415 - nobody pays for it until there is damage

        found = salvage(path)

        def work(db: Connection) -> None:
            files.insert(db, [(None, *row[1:]) for row in found.rows])
            _require_room(db, len(found.rows))

        self._file.write(work, synced=True)
        return files.mark_read(path, found)

    # Transactions

    def _lease_now(self, db: Connection) -> float:
        """Return the time in which leases are counted: the wall clock's at the first write since the boot, and on."""
        boot = self._boot()
        if boot is None:
            return self._now()
        boot_id, offset = db.execute("SELECT boot_id, boot_offset FROM store").fetchone() or (None, None)
        if boot_id != boot.id or not isinstance(offset, float):
            offset = self._now() - boot.seconds
            if db.in_transaction:
                db.execute("UPDATE store SET boot_id = ?, boot_offset = ?", (boot.id, offset))
        return boot.seconds + offset

    def _read(self, select: str, **given: object) -> list[tuple[Any, ...]]:
        return self._file.do(lambda db: self._fetch(db, select, **given))

    def _fetch(self, db: Connection, select: str, **given: object) -> list[tuple[Any, ...]]:
        return db.execute(select, {**given, "now": self._now(), "lease_now": self._lease_now(db)}).fetchall()


class MemoryFile(StoreFile):
    """The file of a store that has none."""

    def _opened(self) -> Connection:
        if self._db is None:
            self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            files.upgrade(self._db)
            (self.salt,) = self._db.execute("SELECT salt FROM store").fetchone()
        return self._db

    def _is_current(self) -> bool:
        return True


class MemoryOutbox(Outbox):
    """The store of a process that can have none on disk; it ends with the process."""

    def __init__(
        self, *, now: Callable[[], float] = time.time, because: str | None = None, is_full: bool = False
    ) -> None:
        super().__init__(MemoryFile(Path(os.devnull), now, PATIENCE_S), now, lambda: None)
        self.unkept_because = because
        self.is_full = is_full


def _require_room(db: Connection, added: int) -> None:
    """Raise ``OutboxFull`` if with these, too many are pending."""
    (pending,) = db.execute(f"SELECT count(*) FROM events WHERE {_PENDING}").fetchone()
    if pending > MAX_PENDING:
        before = pending - added
        raise OutboxFull(
            f"the outbox is full: {before:,} events are waiting, and {MAX_PENDING:,} is the most that are kept",
            hint="deliver them with `logsh outbox flush`, or remove some with `logsh outbox drop`",
        )


def _bound_shelf(db: Connection) -> None:
    # By id: a clock that is set forward must not empty the shelf.
    newest = f"SELECT id FROM events WHERE {_REJECTED} ORDER BY id DESC LIMIT -1 OFFSET {MAX_REJECTED}"
    if dropped := db.execute(f"DELETE FROM events WHERE id IN ({newest})").rowcount:
        db.execute("UPDATE store SET dropped = dropped + ?", (dropped,))


def _owned_by(owner: Owner) -> dict[str, object]:
    return {"profile": _storable(owner.profile), "fingerprint": owner.key_fingerprint}


def _outcome_key(profile: str, workspace: str, event: str) -> dict[str, object]:
    return {"profile": _storable(profile), "workspace": _storable(workspace.casefold()), "event": _storable(event)}


def _fitting(row_id: int) -> int:
    """Return an id that fits SQLite's integers; one that is too large for them belongs to no event, as 0 does."""
    return row_id if 0 < row_id < 2**63 else 0


def _storable(text: str) -> str:
    """Return text that has a UTF-8 form: an argument may hold bytes of another charset."""
    return text.encode("utf-8", "replace").decode()
