"""The directory of the outbox: whose it is, how it is made, what kind of disk it is on."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from logsh_cli.outbox.faults import StoreUnavailable

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "fuse.sshfs", "fuse.glusterfs")
"""A write-ahead log needs memory shared by all its users, which machines don't share."""

_ELSEWHERE = "set LOGSH_STATE_DIR to a directory of this user's own"


def check_owner(path: Path) -> None:
    """Refuse a directory, or a store in it, that is not this user's, before anything in it is touched.

    Root must not leave files in a user's directory (as under a ``sudo`` that keeps HOME): that would shut the user out
    for good. Nor must a user trust what somebody else but root may replace.

    Raises:
        StoreUnavailable: somebody else's, or not writable.
        OSError: it can't be looked at.
    """
    uid = path.stat().st_uid
    if sys.platform != "win32" and uid not in (os.geteuid(), 0):
        raise StoreUnavailable(f"{path} belongs to {_user(uid)}, not to {_user(os.geteuid())}", hint=_ELSEWHERE)
    if not os.access(path, os.W_OK):
        roots = sys.platform != "win32" and uid == 0 and os.geteuid() != 0
        why = ": it belongs to root, perhaps since a sudo" if roots else ""
        raise StoreUnavailable(f"{path} can't be written by this user{why}", hint=_ELSEWHERE)


def make_directory(directory: Path) -> None:
    """Make it and what is missing above it, for this user alone (0700), and on disk.

    Raises:
        StoreUnavailable: it would be root's, inside a user's directory.
        OSError: it can't be made.
    """
    missing = []
    place = directory
    while not place.exists():
        missing.append(place)
        place = place.parent
    if missing and sys.platform != "win32" and os.geteuid() == 0 and (uid := place.stat().st_uid) != 0:
        raise StoreUnavailable(f"{place} belongs to {_user(uid)}, not to root", hint=_ELSEWHERE)
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            path.mkdir(mode=0o700)
        sync_directory(path.parent)


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


def on_network_file_system(directory: Path) -> bool:
    """Whether other machines may share this directory, as far as Linux tells; elsewhere the answer is no."""
    try:
        mounts = Path("/proc/self/mounts").read_bytes().splitlines()
    except OSError:
        return False
    return file_system_of(os.fsencode(os.path.realpath(directory)), mounts).startswith(NETWORK_FILE_SYSTEMS)


def file_system_of(path: bytes, mounts: list[bytes]) -> str:
    """The kind of the file system that an absolute path is on, by the lines of Linux's mount table."""
    depth, kind = 0, b""
    for mount in mounts:
        _, point, file_system, *_ = mount.split(b" ")
        point = point.replace(b"\\040", b" ").rstrip(b"/") + b"/"
        if (path + b"/").startswith(point) and len(point) >= depth:  # of two on one another, the later is seen
            depth, kind = len(point), file_system
    return kind.decode("ascii", "replace")


def _user(uid: int) -> str:
    if sys.platform == "win32":
        return str(uid)
    import pwd  # noqa: PLC0415 - only for a message

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
