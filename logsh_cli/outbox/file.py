"""The file of the outbox: made whole, opened cheaply, set aside when it is damaged; and how it can fail.

A store appears under its name only once it is complete (built beside it, synced, renamed), under a file lock: many
processes that switch a fresh file to WAL at once meet "database is locked". So a name without a schema is damage, never
another process's half-made store. Opening one that exists takes no lock.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from logsh_cli import Record
from logsh_cli.errors import NotKept
from logsh_cli.files import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    NotOurs,
    check_owner,
    file_lock,
    make_directory,
    sync_directory,
    tighten,
    write_atomically,
)
from logsh_cli.outbox.rows import ABSURD_ID, BREAKING_VERSION, COLUMNS, PAGE_BYTES, SALT_BYTES, STEPS, Salvage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

FILE_NAME = "outbox.db"
LEDGER_NAME = "outbox.ledger"

CHECKPOINT_PAGES = 250
"""The log is folded into the file at this size, about every 35 events; opening reads what is in it."""

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "fuse.sshfs", "fuse.glusterfs")
"""A write-ahead log needs memory shared by all its users, which machines don't share."""

_BUSY_SLICE_S = 2.0  # SQLite's own wait, after which Python gets to see a Ctrl-C, and waits on
_PAUSE_S = 0.02
_TRIES = 5
_COMPANIONS = ("-wal", "-shm", "-journal")
_READ = "-read"
_REPLACED = "another took its place"
_ELSEWHERE = "set LOGSH_STATE_DIR to a directory of this user's own"
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)  # PROTOCOL: it lost the race for a lock of the log too often
_REASONS = {
    **dict.fromkeys(_BUSY, "another process has kept it locked for too long"),
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "it can't be read or written (is the disk full, or a quota or file size limit reached?)",
}
_MISSING_SCHEMA = ("no such table", "no such column", "no such index", "has no column named")


class StoreUnavailable(NotKept, name="store_unavailable"):
    """No store can be used: no permission, no room on the disk, somebody else's directory, a newer format."""

    is_full = False  # there is no room on the disk, as far as can be told


class Damaged(Exception):
    """The file is not, or is no longer, an outbox."""


def is_damage(error: BaseException) -> bool:
    """Tell whether the file itself is broken, so that no later attempt could succeed: only then is it set aside.

    A missing table counts, as in a file that was cut off, and a message of SQLite's that repeats a broken schema.
    """
    code = _code(error)
    return (
        isinstance(error, (Damaged, UnicodeDecodeError))
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
        or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or (code == sqlite3.SQLITE_ERROR and any(sign in str(error) for sign in _MISSING_SCHEMA))
    )


def unavailable(place: object, error: Exception) -> StoreUnavailable:
    """Return the error for a user in place of SQLite's or the system's; ``place`` names the file."""
    code = _code(error) & 0xFF
    reason = _REASONS.get(code) or getattr(error, "strerror", None) or str(error)
    hint = "make room on that disk" if code == sqlite3.SQLITE_FULL else None
    told = StoreUnavailable(f"the outbox {place} can't be used: {reason}", hint=hint)
    told.is_full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return told


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))  # Python's own, such as on a closed connection, have none


def patiently(step: Callable[[], T], patience_s: float) -> T:
    """Take a step that changes nothing when it fails, again and again for so long while others hold the lock."""
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if _code(error) & 0xFF not in _BUSY or time.monotonic() >= give_up_at:
                raise
        time.sleep(_PAUSE_S)


class SetAside(Record):
    """A damaged file, how many of its events were read (``None``: nobody tried), and in words what could not."""

    path: Path
    read: int | None
    unread: str


def set_aside_files(directory: Path) -> list[SetAside]:
    """Return the damaged files that still hold what has not been read, oldest first."""
    paths = [path for path in directory.glob(f"{FILE_NAME}.corrupt-*") if not path.name.endswith((_READ, "-shm"))]
    # A log may have been set aside alone.
    names = sorted({path.name.removesuffix("-wal").removesuffix("-journal") for path in paths})
    return [file for file in (look_at_set_aside(directory / name) for name in names) if file.unread]


def look_at_set_aside(path: Path) -> SetAside:
    """Return what is noted beside a damaged file."""
    with suppress(OSError, ValueError):
        read, _, unread = path.with_name(path.name + _READ).read_text("utf-8").partition("\n")
        return SetAside(path, int(read), unread.strip())
    return SetAside(path, None, "nobody has tried to read it yet")


def mark_read(path: Path, found: Salvage) -> SetAside:
    """Note beside a damaged file how much of it was read."""
    write_atomically(path.with_name(path.name + _READ), f"{len(found.rows)}\n{found.unread}\n".encode())
    return SetAside(path, len(found.rows), found.unread)


class StoreFile:
    """The file of the store, and the one connection that this process has to it. Threads may share it."""

    def __init__(self, directory: Path, now: Callable[[], float], patience_s: float) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self.notices: list[str] = []
        self.tightened: list[str] = []
        self.salt: bytes | None = None  # of the store that was open last; one that is removed under us is made alike
        self.ledger = Ledger(directory / LEDGER_NAME)
        self.patience_s = patience_s
        self._now = now
        self._mutex = threading.RLock()
        self._identity: tuple[int, int] | None = None
        self._db: sqlite3.Connection | None = None
        self._is_sound = False
        self._has_log = True
        self._highest = 0  # of the ids that this process has given out

    def exists(self) -> bool:
        """Tell whether there is a store, or what is left of one; may raise ``StoreUnavailable``."""
        with self._explained():
            return self._look() is not None or any(self.directory.glob(f"{FILE_NAME}*"))

    def do(self, step: Callable[[sqlite3.Connection], T]) -> T:
        """Take a step on a sound and current store, made if there is none, and wait for others where need be.

        Damage that shows in it has the file set aside; then it is taken again, on the file in its place. Raises
        ``StoreUnavailable``: it can't be made, read or written, belongs to somebody else, or a newer logsh made it.
        """
        with self._mutex, self._explained():
            for _ in range(_TRIES):
                try:
                    return patiently(lambda: step(self._opened()), self.patience_s)
                except (sqlite3.Error, Damaged, UnicodeDecodeError) as error:
                    if not is_damage(error):
                        raise
                    self._set_aside(str(error))
        raise StoreUnavailable(f"the outbox {self.path} keeps being replaced by other processes")

    def write(self, work: Callable[[sqlite3.Connection], T], *, synced: bool = False) -> T:
        """Do ``work``, perhaps twice, in a transaction with the write lock; ``synced``: on disk when this returns."""
        if self.ledger.delivered():  # what a full disk only let us note
            with suppress(OSError), file_lock(self.ledger.path, patience_s=self.patience_s) as held:
                if held:
                    pairs, delete = self.ledger.delivered(), "DELETE FROM events WHERE id BETWEEN ? AND ?"
                    self._transact(lambda db: db.executemany(delete, pairs), synced=True)
                    self.ledger.note_delivered([])
        return self._transact(work, synced=synced)

    def _transact(self, work: Callable[[sqlite3.Connection], T], *, synced: bool) -> T:
        def step(db: sqlite3.Connection) -> T:
            # Without a log, NORMAL could lose more than the last transaction.
            db.execute(f"PRAGMA synchronous = {'FULL' if synced or not self._has_log else 'NORMAL'}")
            with db:
                db.execute("BEGIN IMMEDIATE")
                return work(db)

        return self.do(step)

    def keeps(self, row_id: int) -> bool:
        """Tell whether an event that was added is in the file under the name, not in one set aside or removed since.

        If not, what follows goes into the one in its place, which does not give the ids again that are under way.
        """
        self._highest = row_id
        if self._is_current():
            self.ledger.note_highest(row_id)
            return True
        self._is_sound = False
        return False

    def close(self) -> None:
        """Close the file. The last to do so folds the log into it: three syncs, which one about to end can save."""
        with self._mutex, suppress(sqlite3.Error):
            if self._db is not None:
                self._db.close()

    def _is_current(self) -> bool:
        with suppress(OSError):
            status = self.path.stat()
            return (status.st_dev, status.st_ino) == self._identity
        return False

    def _set_aside(self, reason: str) -> None:
        """Put a fresh file with all that can be read in place of the damaged one, which gets another name."""
        if sys.platform == "win32":
            self.close()  # an open file can't be renamed there
        elif (db := self._db) is not None:
            # As long as we hold its lock, nobody adds what we would not see. Where it can't be taken, nobody can add.
            with suppress(sqlite3.Error):
                patiently(lambda: db.execute("BEGIN IMMEDIATE"), self.patience_s)
        try:
            self._begin(reason)
        except (OSError, sqlite3.Error) as error:
            message = f"the outbox {self.path} is damaged ({reason}) and can't be set aside: {error}"
            raise StoreUnavailable(message) from error
        finally:
            # Only now: SQLite folds the log into the file when the last connection closes, which could destroy what is
            # left of it, unless the file was moved meanwhile.
            self.close()
            self._is_sound = False

    def _look(self) -> int | None:
        """Mend the modes, refuse what is not this user's, and return the file's size; ``None`` when there is none.

        Root must not leave files in a user's directory (as under a ``sudo`` that keeps HOME): that would shut the user
        out for good. Nor must a user trust what somebody else but root may replace.
        """
        try:
            for path, mode in ((self.directory, PRIVATE_DIRECTORY), (self.path, PRIVATE_FILE)):
                self.tightened += filter(None, [tighten(path, mode)])
                check_owner(path)
                if not os.access(path, os.W_OK):
                    roots = sys.platform != "win32" and path.stat().st_uid == 0 and os.geteuid() != 0
                    why = ": it belongs to root, perhaps since a sudo" if roots else ""
                    raise StoreUnavailable(f"{path} can't be written by this user{why}", hint=_ELSEWHERE)
            status = self.path.stat()
        except FileNotFoundError:
            return None
        self.tightened += filter(None, (tighten(self._companion(suffix), PRIVATE_FILE) for suffix in _COMPANIONS))
        self._identity = (status.st_dev, status.st_ino)
        return status.st_size

    def _opened(self) -> sqlite3.Connection:
        """Return the connection, to a store that is sound, as far as can be told cheaply, and current."""
        if self._db is not None and self._is_sound:
            return self._db
        self.close()
        if (size := self._look()) is None:
            make_directory(self.directory)
            self._begin(None)
            size = self._look()
        if not size:  # seen before SQLite does: it takes a log beside an empty file for a leftover, and deletes it
            raise Damaged("it was empty")
        # Never create: that is done under the lock.
        uri, timeout = f"{self.path.absolute().as_uri()}?mode=rw", min(_BUSY_SLICE_S, self.patience_s)
        try:
            self._db = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError:
            if self.path.exists():
                raise
            raise Damaged(_REPLACED) from None
        self._check(self._db, size)
        if not self._is_current():  # between the look and the opening: which one we have is not known
            raise Damaged(_REPLACED)
        self._is_sound = True
        return self._db

    def _check(self, db: sqlite3.Connection, size: int) -> None:
        # One spoilt byte must not make a whole table unreadable.
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version >= BREAKING_VERSION:
            raise StoreUnavailable(
                f"the outbox {self.path} was made by a newer logsh (format {version}, this one knows {len(STEPS)})",
                hint="upgrade this logsh, or set LOGSH_STATE_DIR to another directory",
            )
        if version < 1:
            raise Damaged("it has no tables")
        if version < len(STEPS):
            upgrade(db)
        noted_salt, noted = self.ledger.head()  # before the store is asked, which others may be adding to
        salt, highest = salt_and_highest(db)
        # SQLite reads a log up to the first frame with a wrong checksum, and says nothing of what is behind it.
        if noted_salt == salt and noted > highest:
            raise Damaged("the end of its log is lost")
        # A file that does not end with a page was cut off, unless a disk was full just when the log was folded into it.
        if size % PAGE_BYTES and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise Damaged("it was cut off")
        self.salt = salt
        if noted_salt != salt:
            self.ledger.begin(salt, highest)
        self._has_log = db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if sys.platform == "darwin":
            db.execute("PRAGMA fullfsync = ON")  # plain fsync leaves the data in the drive's own cache there
        if self._highest > highest:
            raise_sequence(db, self._highest)

    def _begin(self, reason: str | None) -> None:
        """Make a store, unless another process was faster; with a ``reason``, in place of the damaged one."""
        lock = self.directory / "outbox.lock"
        with file_lock(lock, patience_s=self.patience_s) as held:
            if not held:
                raise StoreUnavailable(f"another process has held {lock} for too long")
            if self.path.exists() if reason is None else not self._is_current():
                return
            # A log without its store would be played back into the fresh one.
            if reason is None and any(self._companion(suffix).exists() for suffix in _COMPANIONS):
                reason = "it was gone, and only its log left"
            found = Salvage([])
            if reason is not None:
                from logsh_cli.outbox.pages import salvage  # noqa: PLC0415 - nobody pays for it until there is damage

                found = salvage(self.path)
            salt, highest = self.ledger.head()  # after that, so that what is added meanwhile counts as lost
            lost = highest - found.highest if salt == (found.salt or salt) else 0
            if reason is not None and lost > 0 and not found.unread:
                found = found._replace(unread=f"up to {lost} of the last could not be read")
            found = found._replace(salt=found.salt or salt or self.salt, highest=max(found.highest, highest))
            fresh = self._companion(".new")
            try:
                _build(fresh, found, wal=not file_system_of(self.directory).startswith(NETWORK_FILE_SYSTEMS))
            except sqlite3.OperationalError:
                # A file system may have no shared memory for a log. A disk without room fails here again.
                _build(fresh, found, wal=False)
            aside = None if reason is None else self._rename_all()
            fresh.replace(self.path)
            sync_directory(self.directory)
            if reason is not None and aside is not None:
                # Last: should we die before, the file is read again, and an event sent twice rather than never.
                mark_read(aside, found)
                number = len(found.rows)
                events = f"with the {number} event{'' if number == 1 else 's'} that could be read"
                self.notices.append(
                    f"the outbox {self.path} was damaged ({reason}); it is kept as {aside.name}, and a new one "
                    f"was begun {events if number else 'without events'}{found.unread and '; '}{found.unread}"
                )

    def _rename_all(self) -> Path:
        name = f"{FILE_NAME}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self._now()))}"
        aside, number = self.directory / name, 1
        while any(self.directory.glob(f"{aside.name}*")):
            number += 1
            aside = self.directory / f"{name}-{number}"
        # The file goes first: should we die in between, its log is found without a store and set aside by the next.
        for suffix in ("", *_COMPANIONS):
            with suppress(FileNotFoundError):
                self._companion(suffix).rename(aside.with_name(aside.name + suffix))
        sync_directory(self.directory)
        return aside

    def _companion(self, suffix: str) -> Path:
        return self.path.with_name(FILE_NAME + suffix)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except NotOurs as error:
            raise StoreUnavailable(f"{error.filename} can't be used: {error.strerror}", hint=_ELSEWHERE) from error
        except (OSError, sqlite3.Error) as error:
            raise unavailable(self.path, error) from error


class Ledger:
    """Facts that must not depend on the database, in a file that has its size already and is written over in place.

    They are the store's salt; the highest id given out, which a store that lost the end of its log has not reached;
    and, with a checksum, the ids of delivered events that a full disk kept us from deleting.
    """

    _HEAD = struct.Struct(">16sQ")
    _SUM = struct.Struct(">Q")
    _PAIR = struct.Struct(">QQ")
    _ROOM = 1022  # pairs of ids, which make it 16 KiB long

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, salt: bytes, highest: int) -> None:
        """Make it anew for a store, as long as there is room."""
        with suppress(OSError):
            write_atomically(self.path, self._HEAD.pack(salt, highest) + self._packed([]))

    def head(self) -> tuple[bytes | None, int]:
        """Return the salt and the highest id; ``None`` and 0 when there is no ledger."""
        with suppress(OSError, struct.error):
            salt, highest = self._HEAD.unpack_from(self.path.read_bytes())
            return salt, highest if highest < ABSURD_ID else 0
        return None, 0

    def note_highest(self, row_id: int) -> None:
        """Note an id that was given out, after its event was synced; a lower one does no harm, so this is not."""
        with suppress(OSError):
            self._write(16, row_id.to_bytes(8))

    def delivered(self) -> list[tuple[int, int]]:
        """Return the ids of delivered events, as pairs of first and last; none when they are damaged."""
        with suppress(OSError, struct.error):
            content = self.path.read_bytes()[self._HEAD.size :]
            (checksum,), pairs = self._SUM.unpack_from(content), content[self._SUM.size :]
            if checksum == crc32(pairs):
                return [(first, last) for first, last in self._PAIR.iter_unpack(pairs) if last]
        return []

    def note_delivered(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Note these ids of delivered events in place of those before; raises ``OSError`` when they don't fit."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            follows = merged and merged[-1][1] == first - 1
            merged.append((merged.pop()[0] if follows else first, last))
        if len(merged) > self._ROOM:
            raise OSError(f"no more room in {self.path}")
        self._write(self._HEAD.size, self._packed(merged), sync=True)

    def _packed(self, pairs: list[tuple[int, int]]) -> bytes:
        content = b"".join(self._PAIR.pack(*pair) for pair in pairs).ljust(self._ROOM * self._PAIR.size, b"\0")
        return self._SUM.pack(crc32(content)) + content

    def _write(self, at: int, content: bytes, *, sync: bool = False) -> None:
        with self.path.open("r+b", buffering=0) as file:
            file.seek(at)
            file.write(content)
            if sync:
                os.fsync(file.fileno())


def _build(path: Path, found: Salvage, *, wal: bool) -> None:
    """Make a complete store, all of it in the one file and on disk, with what was found."""
    for suffix in ("", *_COMPANIONS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    path.chmod(PRIVATE_FILE)  # whatever the umask; SQLite gives its companions the same mode
    db = sqlite3.connect(path, timeout=_BUSY_SLICE_S, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        upgrade(db)
        db.execute("BEGIN")
        insert(db, found.rows)
        raise_sequence(db, found.highest)
        db.execute("UPDATE store SET salt = coalesce(?, salt), dropped = ?", (found.salt, found.dropped))
        db.execute("COMMIT")
        # Not left to closing, which keeps silent about a failure: the schema must never be in the log alone.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.close()


def salt_and_highest(db: sqlite3.Connection) -> tuple[bytes, int]:
    """Return the salt of a store, and the highest id that it has given out. Raises ``Damaged``."""
    salt, highest = db.execute(
        "SELECT (SELECT salt FROM store), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"
    ).fetchone()
    if not isinstance(salt, bytes) or len(salt) != SALT_BYTES:
        raise Damaged("its salt is gone")
    if not isinstance(highest, int) or not 0 <= highest < ABSURD_ID:
        raise Damaged("its count of events is spoilt")
    return salt, highest


def upgrade(db: sqlite3.Connection) -> None:
    """Take the steps to the present tables that are missing, all or none."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been faster
        for statement in ";".join(STEPS[version:]).split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {max(version, len(STEPS))}")


def insert(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add whole events, with the values of ``COLUMNS``; an id of ``None`` becomes a new one."""
    marks = ", ".join("?" for _ in COLUMNS.split(", "))
    db.executemany(f"INSERT INTO events ({COLUMNS}) VALUES ({marks})", rows)  # noqa: S608 - constants


def raise_sequence(db: sqlite3.Connection, highest: int) -> None:
    """Give new events higher ids than ``highest``."""
    if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'events'", (highest,)).rowcount:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (highest,))


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the kind of the file system that a path is on, by Linux's table of mounts; empty elsewhere."""
    kinds: dict[Path, str] = {}
    with suppress(OSError):
        for mount in os.fsdecode(mounts.read_bytes()).splitlines():
            _, point, kind, *_ = mount.split(" ")
            kinds[Path(point.replace("\\040", " "))] = kind  # of two on one another, the later is seen
    path = path.resolve()
    return next((kinds[place] for place in (path, *path.parents) if place in kinds), "")
