"""Rules about files that every adapter keeps: one lock, one way to replace a file, one rule about owners and modes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logsh_cli.files import NotOurs, check_owner, file_lock, make_directory, tighten, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as two users")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that other users can reach, as ``tmp_path`` is not."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def test_a_lock_is_held_by_one_and_free_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path) as first, file_lock(path) as second, file_lock(path, patience_s=0.05) as third:
        assert (first, second, third) == (True, False, False)
    with file_lock(path) as held:
        assert held
    assert mode(path) == 0o600


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print(flush=True); time.sleep(0.3)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with file_lock(path, patience_s=60) as held:
            assert held


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), file_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_replaced_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    path.chmod(0o644)
    with path.open("rb") as reader:
        write_atomically(path, b"after")
        assert reader.read() == b"before"
    assert path.read_bytes() == b"after"
    assert mode(path) == 0o600
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "home"]


def test_a_file_that_can_not_be_replaced_stays_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="irectory"):
        write_atomically(tmp_path / "directory", b"content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "home"]


@as_root
def test_root_replaces_a_users_file_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    os.chown(path, NOBODY, NOBODY)
    write_atomically(path, b"after")
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


def test_modes_are_tightened_and_what_was_found_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    path.chmod(0o644)
    assert tighten(path, 0o600) == f"{path} could be read by others (mode 0644); tightened to 0600"
    assert mode(path) == 0o600
    assert tighten(path, 0o600) is None
    path.chmod(0o400)
    assert tighten(path, 0o600) == f"{path} could not be used by its owner (mode 0400); tightened to 0600"
    assert tighten(tmp_path / "missing", 0o600) is None


def test_a_directory_for_everybody_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert tighten(tmp_path, 0o700) is None
    assert mode(tmp_path) == 0o1777


@pytest.mark.parametrize("mask", [0, 0o277, 0o777], ids=oct)
def test_a_directory_is_made_for_its_owner_alone_whatever_the_mask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        make_directory(tmp_path / "a" / "b")
        make_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


@as_root
def test_somebody_elses_directory_is_refused_with_both_names(shared: Path) -> None:
    check_owner(shared)
    os.chown(shared, NOBODY, NOBODY)
    with pytest.raises(NotOurs) as refused:
        check_owner(shared)
    assert refused.value.strerror == "it belongs to nobody, not to root"
    with pytest.raises(NotOurs):
        make_directory(shared / "a" / "b")
    assert list(shared.iterdir()) == []
