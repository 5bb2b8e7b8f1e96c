"""Files that other processes and other users can reach: locks, owners, modes, and what survives a power cut.

Failures are ``OSError``s; the caller says what they mean for it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700

_PAUSE_S = 0.01
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotOurs(PermissionError):
    """Somebody else owns it; ``strerror`` says who."""


if sys.platform == "win32":
    import msvcrt

    def _acquire(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:  # the only sign that another process has it
            return False
        return True

else:
    import fcntl

    def _acquire(fd: int) -> bool:
        # flock, not POSIX record locks: those belong to the process, so that two threads would share one, and closing
        # any other descriptor of the file would drop it.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def file_lock(path: Path, *, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold the lock of that file, which dies with its holder, and give whether it could be taken within ``patience_s``.

    The file is left behind: removing it would let a second holder in, beside one that still has the old file open.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        fd = os.open(path, flags, PRIVATE_FILE)
    except PermissionError:
        if tighten(path, PRIVATE_FILE) is None:  # else it was made under a mask that took the owner's own rights
            raise
        fd = os.open(path, flags, PRIVATE_FILE)
    try:
        give_up_at = time.monotonic() + patience_s
        while not (held := _acquire(fd)) and time.monotonic() < give_up_at:
            time.sleep(_PAUSE_S)
        yield held
    finally:
        os.close(fd)


def check_owner(path: Path) -> None:
    """Raise ``NotOurs`` for what neither this user nor root owns: somebody else could replace what is in it."""
    if sys.platform != "win32" and (uid := path.stat().st_uid) not in (os.geteuid(), 0):
        raise NotOurs(errno.EPERM, f"it belongs to {_user(uid)}, not to {_user(os.geteuid())}", str(path))


def tighten(path: Path, mode: int) -> str | None:
    """Give a file or directory of ours that mode if it lacks a right of its owner or gives one to others.

    Returns what was found, in a sentence; ``None`` when nothing was wrong, or it is not ours to change.
    """
    if sys.platform == "win32":  # it has no such modes
        return None
    try:
        status = path.lstat()
    except OSError:
        return None
    found = stat.S_IMODE(status.st_mode)
    wrong = found & _OTHERS or mode & ~found
    # A sticky directory (/tmp) is meant for everybody.
    if not wrong or stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid():
        return None
    could = "could be read by others" if found & _OTHERS else "could not be used by its owner"
    with suppress(OSError):
        path.chmod(mode)
        # Some file systems (FAT, shares) take the call and change nothing.
        if stat.S_IMODE(path.stat().st_mode) == mode:
            return f"{path} {could} (mode {found:04o}); tightened to {mode:04o}"
    return f"{path} {could.replace('could', 'can')} (mode {found:04o}), and that can't be changed"


def make_directory(directory: Path) -> None:
    """Make it and what is missing above it, on disk, for this user alone, whatever the umask.

    Raises ``NotOurs`` where root would leave it inside a user's directory, and shut the user out.
    """
    if directory.exists():
        return
    make_directory(directory.parent)
    if sys.platform != "win32" and os.geteuid() == 0:
        check_owner(directory.parent)
    with suppress(FileExistsError):  # another process was faster
        directory.mkdir(mode=PRIVATE_DIRECTORY)
        directory.chmod(PRIVATE_DIRECTORY)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut, where the system lets one ask for it."""
    if sys.platform == "win32":
        return
    fd = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, on disk and with mode 0600: nobody ever reads half of it, and a failure changes none.

    Under ``sudo`` with the user's HOME it stays the user's.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(fd, "wb") as file:
            if sys.platform != "win32":
                os.fchmod(fd, PRIVATE_FILE)
                if os.geteuid() == 0:
                    owner = (path if path.exists() else path.parent).stat()
                    with suppress(OSError):
                        os.fchown(fd, owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(fd)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415 - only for a message, and not on Windows

    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"
