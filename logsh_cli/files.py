"""A lock that processes share through a file and that dies with its holder.

``flock`` rather than POSIX record locks: those belong to the process, so that two threads would share one, and closing
any other descriptor of the file would drop it.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _POLL_S = 0.05

    def _acquire(fd: int, *, wait: bool) -> bool:
        while True:
            try:
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            except PermissionError:  # the only sign that somebody else has it
                if not wait:
                    return False
                time.sleep(_POLL_S)  # LK_LOCK gives up after ten seconds
            else:
                return True

else:
    import fcntl

    def _acquire(fd: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of that file, and say whether it is held (always, with ``wait``).

    The file is left behind: removing it would let a second holder in, beside one that still has the old file open.

    Raises:
        OSError: the file can't be made, or its file system has no locks.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        yield _acquire(fd, wait=wait)
    finally:
        os.close(fd)
