"""The file of the outbox: made whole, opened cheaply, set aside when it is damaged.

A store appears under its name only once it is complete (built beside it, synced, renamed), under a file lock: a switch
of a fresh file to WAL by many processes at once says "database is locked" whatever the timeout. Opening one that exists
takes no lock. A name without a schema is therefore always damage, never another process's half-made store.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from zlib import crc32

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
from logsh_cli.outbox import schema
from logsh_cli.outbox.faults import Damaged, StoreUnavailable, is_damage, is_locked, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logsh_cli.outbox.pages import Salvage

T = TypeVar("T")

FILE_NAME = "outbox.db"
LOCK_NAME = "outbox.lock"
LEDGER_NAME = "outbox.ledger"

CHECKPOINT_PAGES = 250
"""The log is folded into the file at this size, about every 35 events. SQLite's 1,000 would save syncs that are rare
already, and double what opening costs: processes leave without closing, so the next one reads the whole log."""

BUSY_SLICE_S = 2.0
"""SQLite's own wait, after which Python gets to see a Ctrl-C, and waits on."""

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "fuse.sshfs", "fuse.glusterfs")
"""A write-ahead log needs memory shared by all its users, which machines don't share."""

_COMPANIONS = ("-wal", "-shm", "-journal")
_SET_ASIDE = f"{FILE_NAME}.corrupt-"
_READ = "-read"
_TRIES = 5
_ABSURD_ID = 2**48
_PAUSE_S = 0.02
_PAGE_BYTES = 4096  # SQLite's default
_SALT_AND_SEQUENCE = "SELECT (SELECT salt FROM store), (SELECT seq FROM sqlite_sequence WHERE name = 'events')"
_ELSEWHERE = "set LOGSH_STATE_DIR to a directory of this user's own"


class SetAside(NamedTuple):
    """A damaged file, and how many of its events were read, ``None`` before anybody tried.

    ``unread`` says in words what could not be read, and is empty when nothing is missing.
    """

    path: Path
    read: int | None
    unread: str


def set_aside_files(directory: Path) -> list[SetAside]:
    """Return the damaged files that still hold what has not been read, oldest first."""
    names = {name for name in _names(directory, _SET_ASIDE) if not name.endswith(_READ)}
    # A log may have been set aside alone.
    names = {name.removesuffix("-wal") for name in names if not name.endswith(("-shm", "-journal"))}
    found = [look_at_set_aside(directory / name) for name in sorted(names)]
    return [file for file in found if file.unread]


def look_at_set_aside(path: Path) -> SetAside:
    """Return what is noted beside a damaged file."""
    with suppress(OSError, ValueError):
        read, _, unread = path.with_name(path.name + _READ).read_text("utf-8").partition("\n")
        return SetAside(path, int(read), unread.strip())
    return SetAside(path, None, "nobody has tried to read it yet")


def _names(directory: Path, beginning: str) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(directory) if name.startswith(beginning)]  # noqa: PTH208 - names, not paths
    return []


def mark_read(path: Path, found: Salvage) -> None:
    """Note beside a set-aside file how much of it was read."""
    write_atomically(path.with_name(path.name + _READ), f"{len(found.rows)}\n{found.missing()}\n".encode())


def patiently(step: Callable[[], T], patience_s: float) -> T:
    """Take a step that changes nothing when it fails, again and again while others hold the lock.

    Raises:
        sqlite3.Error: any other failure, or still locked after ``patience_s`` seconds.
    """
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() >= give_up_at:
                raise
        time.sleep(_PAUSE_S)


class StoreFile:
    """The place of the store, the identity of the file that was opened there, and what has to be said about it.

    ``notices`` are for the user at once, ``tightened`` says which modes were found too wide, for whoever asks.
    """

    def __init__(self, directory: Path, now: Callable[[], float], patience_s: float) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self.notices: list[str] = []
        self.tightened: list[str] = []
        self.has_wal = False
        self.ledger = Ledger(directory / LEDGER_NAME)
        self.patience_s = patience_s
        self._now = now
        self._identity: tuple[int, int] | None = None
        self._salt: bytes | None = None  # of the store that was open last; one that is removed under us is made alike

    def connect(self) -> sqlite3.Connection:
        """Return a connection to a sound, current store, made if there is none.

        Raises:
            StoreUnavailable: it can't be made, opened or written by this user, or it is from a newer logsh.
        """
        for _ in range(_TRIES):
            with self._explained():
                size = self._look()
                if size is None:
                    make_directory(self.directory)
                    self._begin(None)
                elif (db := self._open(size)) is not None:
                    return db
        raise StoreUnavailable(f"the outbox {self.path} keeps being replaced by other processes")

    def connect_existing(self) -> sqlite3.Connection | None:
        """Do the same, but return ``None`` where there is no store. In place of a damaged one, a fresh one is made."""
        with self._explained():
            there = self._look() is not None or _names(self.directory, FILE_NAME)
        return self.connect() if there else None

    def is_current(self) -> bool:
        """Tell whether the open file is still the one under the name, and not one that was set aside or removed."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def set_aside(self, db: sqlite3.Connection | None, reason: str) -> None:
        """Put a fresh file with all that can be read in place of the damaged one, which gets another name.

        Nothing is deleted; ``db`` is closed. Another process may have done so already: then nothing is left to do.
        """
        if db is not None and sys.platform == "win32":
            db.close()  # an open file can't be renamed there
        elif db is not None:
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
            if db is not None:
                db.close()

    def _look(self) -> int | None:
        self.tightened += filter(None, [tighten(self.directory, PRIVATE_DIRECTORY)])
        try:
            self._check_access(self.directory)
            for suffix in ("", *_COMPANIONS):
                self.tightened += filter(None, [tighten(self._companion(suffix), PRIVATE_FILE)])
            self._check_access(self.path)
            status = self.path.stat()
        except FileNotFoundError:
            return None
        self._identity = (status.st_dev, status.st_ino)
        return status.st_size

    @staticmethod
    def _check_access(path: Path) -> None:
        """Refuse what is not this user's before anything in it is touched.

        Root must not leave files in a user's directory (as under a ``sudo`` that keeps HOME): that would shut the user
        out for good. Nor must a user trust what somebody else but root may replace.
        """
        check_owner(path)
        if not os.access(path, os.W_OK):
            roots = sys.platform != "win32" and path.stat().st_uid == 0 and os.geteuid() != 0
            why = ": it belongs to root, perhaps since a sudo" if roots else ""
            raise StoreUnavailable(f"{path} can't be written by this user{why}", hint=_ELSEWHERE)

    def _open(self, size: int) -> sqlite3.Connection | None:
        """Open what was looked at; ``None`` when it was damaged, and set aside by us or by another process."""
        if size == 0:  # seen before SQLite does: it takes a log beside an empty file for a leftover, and deletes it
            self.set_aside(None, "it was empty")
            return None
        db = None
        try:
            db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",  # never create: that is done under the lock
                uri=True,
                timeout=min(BUSY_SLICE_S, self.patience_s),
                isolation_level=None,
                check_same_thread=False,
            )
            self._check(db)
            self._check_end(db, size)
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
        db.text_factory = _lenient_text  # one spoilt byte must not make a whole table unreadable
        (version,) = patiently(lambda: db.execute("PRAGMA user_version").fetchone(), self.patience_s)
        if version >= schema.BREAKING_VERSION:
            raise StoreUnavailable(
                f"the outbox {self.path} was made by a newer logsh (format {version}, this one knows {schema.VERSION})",
                hint="upgrade this logsh, or set LOGSH_STATE_DIR to another directory",
            )
        if version < 1:
            raise Damaged("it has no tables")
        if version < schema.VERSION:
            patiently(lambda: schema.upgrade(db), self.patience_s)
        noted = self.ledger.head()  # before the store is asked, which others may be adding to
        salt, highest = patiently(lambda: db.execute(_SALT_AND_SEQUENCE).fetchone(), self.patience_s)
        if not isinstance(salt, bytes) or len(salt) != schema.SALT_BYTES:
            raise Damaged("its salt is gone")
        # SQLite reads a log up to the first frame with a wrong checksum, and says nothing of what is behind it.
        if noted[0] == salt and noted[1] > (highest or 0):
            raise Damaged("the end of its log is lost")
        self._salt = salt
        if noted[0] != salt:
            self.ledger.begin(salt, highest or 0)
        (journal_mode,) = patiently(lambda: db.execute("PRAGMA journal_mode").fetchone(), self.patience_s)
        self.has_wal = journal_mode == "wal"
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if sys.platform == "darwin":
            db.execute("PRAGMA fullfsync = ON")  # plain fsync leaves the data in the drive's own cache there

    @staticmethod
    def _check_end(db: sqlite3.Connection, size: int) -> None:
        # A file that does not end with a page was cut off, or a disk was full just when the log was folded into it,
        # which does no harm. SQLite reads on as if the rest were zeros, so it is asked to look closely.
        if size % _PAGE_BYTES and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise Damaged("it was cut off")

    def _begin(self, reason: str | None) -> None:
        """Make a store, unless another process was faster; with a ``reason``, in place of the damaged one."""
        with self._locked():
            if self.path.exists() if reason is None else not self.is_current():
                return
            # A log without its store would be played back into the fresh one.
            if reason is None and any(self._companion(suffix).exists() for suffix in _COMPANIONS):
                reason = "it was gone, and only its log left"
            found = None
            if reason is not None:
                from logsh_cli.outbox.pages import salvage  # noqa: PLC0415 - nobody pays for it until there is damage

                found = salvage(self.path)
            fresh = self._build(found)
            if found is not None:
                name = self._rename_all()
            fresh.replace(self.path)
            sync_directory(self.directory)
            if found is not None:
                # Last: should we die before, the file is read again, and an event sent twice rather than never.
                mark_read(self.directory / name, found)
                self.notices.append(
                    f"the outbox {self.path} was damaged ({reason}); it is kept as {name}, and a new one was begun "
                    f"{found.told()}"
                )

    def _build(self, found: Salvage | None) -> Path:
        fresh = self._companion(".new")
        salt, highest = self.ledger.head()
        salt = salt or self._salt
        facts = (salt, highest) if found is None else (found.salt or salt, max(found.sequence, highest))
        try:
            _build(fresh, found, *facts, wal=not on_network_file_system(self.directory))
        except sqlite3.OperationalError:
            # A file system may have no shared memory for a log. A disk without room fails here again.
            _build(fresh, found, *facts, wal=False)
        return fresh

    def _rename_all(self) -> str:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        name = f"{_SET_ASIDE}{stamp}"
        taken = set(_names(self.directory, name))
        number = 1
        while any(f"{name}{suffix}" in taken for suffix in ("", *_COMPANIONS, _READ)):
            number += 1
            name = f"{_SET_ASIDE}{stamp}-{number}"
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
        except NotOurs as error:
            raise StoreUnavailable(f"{error.filename} can't be used: {error.strerror}", hint=_ELSEWHERE) from error
        except (OSError, sqlite3.Error) as error:
            raise unavailable(self.path, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self.directory / LOCK_NAME, patience_s=self.patience_s) as held:
            if not held:
                raise StoreUnavailable(f"another process has held {self.directory / LOCK_NAME} for too long")
            yield


class Ledger:
    """Facts that must not depend on the database, in a file that has its size already and is written over in place.

    It holds the store's salt; the highest id that was given out, which a store that has lost the end of its log has
    not reached; and, with a checksum, the ids of delivered events that a full disk kept us from deleting.
    """

    _HEAD = struct.Struct(">16sQ")
    _SUM = struct.Struct(">Q")
    _PAIR = struct.Struct(">QQ")
    _SIZE = 16_384

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, salt: bytes, highest: int) -> None:
        """Make it anew for a store, as long as there is room."""
        with suppress(OSError):
            write_atomically(self.path, self._HEAD.pack(salt, highest).ljust(self._SIZE, b"\0"))

    def head(self) -> tuple[bytes | None, int]:
        """Return the salt and the highest id; ``None`` and 0 when there is no ledger."""
        with suppress(OSError, struct.error):
            salt, highest = self._HEAD.unpack(self._read(0, self._HEAD.size))
            return salt, highest if highest < _ABSURD_ID else 0
        return None, 0

    def note_highest(self, row_id: int) -> None:
        """Note an id that was given out, after its event was synced. Itself it is not: a lower one does no harm."""
        with suppress(OSError):
            self._write(16, row_id.to_bytes(8))

    def has_delivered(self) -> bool:
        """Tell whether it holds ids of delivered events."""
        with suppress(OSError):
            return any(self._read(self._HEAD.size, self._SUM.size))
        return False

    def delivered(self) -> list[tuple[int, int]]:
        """Return those ids, as pairs of first and last; none when they are damaged. Raises ``OSError``."""
        content = self._read(self._HEAD.size, self._SIZE)
        (checksum,), pairs = self._SUM.unpack_from(content), content[self._SUM.size :]
        pairs = pairs[: len(pairs) // self._PAIR.size * self._PAIR.size]
        if checksum != crc32(pairs):
            return []
        return [(first, last) for first, last in self._PAIR.iter_unpack(pairs) if last]

    def note_delivered(self, ids: Iterable[int]) -> None:
        """Note ids of delivered events; raises ``OSError`` when they don't fit."""
        pairs = self.delivered()
        for row_id in sorted(ids):
            if pairs and pairs[-1][1] == row_id - 1:
                pairs[-1] = (pairs[-1][0], row_id)
            else:
                pairs.append((row_id, row_id))
        room = (self._SIZE - self._HEAD.size - self._SUM.size) // self._PAIR.size
        if len(pairs) > room:
            raise OSError(f"no more room in {self.path}")
        content = b"".join(self._PAIR.pack(*pair) for pair in pairs).ljust(room * self._PAIR.size, b"\0")
        self._write(self._HEAD.size, self._SUM.pack(crc32(content)) + content, sync=True)

    def forget_delivered(self) -> None:
        """Forget those ids: they are deleted from the store."""
        self._write(self._HEAD.size, bytes(self._SUM.size), sync=True)

    def _read(self, at: int, length: int) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            file.seek(at)
            return file.read(length)

    def _write(self, at: int, content: bytes, *, sync: bool = False) -> None:
        with self.path.open("r+b", buffering=0) as file:
            file.seek(at)
            file.write(content)
            if sync:
                os.fsync(file.fileno())


def _build(path: Path, found: Salvage | None, salt: bytes | None, highest: int, *, wal: bool) -> None:
    """Make a complete store at ``path``, all of it in the one file and on disk, with what was found of another."""
    for suffix in ("", *_COMPANIONS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    path.chmod(PRIVATE_FILE)  # whatever the umask; SQLite gives its companions the same mode
    db = sqlite3.connect(path, timeout=BUSY_SLICE_S, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        schema.upgrade(db)
        db.execute("BEGIN")
        schema.insert(db, found.rows if found is not None else ())
        schema.raise_sequence(db, highest)
        dropped = found.dropped if found is not None else 0
        db.execute("UPDATE store SET salt = coalesce(?, salt), dropped = ?", (salt, dropped))
        db.execute("COMMIT")
        # Not left to closing, which keeps silent about a failure: the schema must never be in the log alone.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.close()


def _lenient_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def on_network_file_system(directory: Path) -> bool:
    """Tell whether other machines may share this directory, as far as Linux says; elsewhere the answer is no."""
    try:
        mounts = Path("/proc/self/mounts").read_bytes().splitlines()
    except OSError:
        return False
    return file_system_of(os.fsencode(os.path.realpath(directory)), mounts).startswith(NETWORK_FILE_SYSTEMS)


def file_system_of(path: bytes, mounts: list[bytes]) -> str:
    """Return the kind of the file system that an absolute path is on, by the lines of Linux's mount table."""
    depth, kind = 0, b""
    for mount in mounts:
        _, point, file_system, *_ = mount.split(b" ")
        point = point.replace(b"\\040", b" ").rstrip(b"/") + b"/"
        if (path + b"/").startswith(point) and len(point) >= depth:  # of two on one another, the later is seen
            depth, kind = len(point), file_system
    return kind.decode("ascii", "replace")
