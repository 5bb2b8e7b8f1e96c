"""A disk that is full, a directory that is somebody else's, a file that is damaged: the event at hand still goes out.

Where it can't be kept, a delivery that fails is 69 rather than 75, and says why.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import Clock
from tests.support import answers as says
from tests.support.command import LOGSH, Completed, environment
from tests.support.inprocess import call_main
from tests.support.kept import arrived, keep
from tests.support.processes import kill_what_is_left, start_logsh, wait_until, wait_until_none_is_left
from tests.support.sending import EVENT, LATER, Logsh, check_result, kept_rows, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.server import Server

DAY = 86_400.0
NOBODY = 65534


@pytest.fixture
def down(service: Server) -> Server:
    service.default = says.error(503, headers=LATER)
    return service


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter; those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")


def send_within(limit: int, service: Server, *args: str) -> Completed:
    """``logsh send`` where no file may become larger than so many bytes, as when the disk is full."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    env = environment(settings_for(service))
    command = [str(LOGSH), "send", *EVENT, "--json", *args]
    done = subprocess.run(command, env=env, preexec_fn=prepare, capture_output=True, timeout=60, check=False)
    return Completed(done.returncode, done.stdout, done.stderr)


# A full disk


@pytest.mark.parametrize("begun", [False, True], ids=["for a new store", "for one more event"])
def test_with_a_full_disk_the_event_goes_out_all_the_same(service: Server, tmp_path: Path, *, begun: bool) -> None:
    if begun:
        keep(tmp_path, "kept before")
    done = send_within(1_000, service)
    check_result(done, status="delivered", exit_code=0, id=None)
    assert arrived(service)[0] == "deploy.done"
    assert [row.body for row in kept_rows(tmp_path)] == ([] if not begun else [row.body for row in kept_rows(tmp_path)])


@pytest.mark.parametrize("begun", [False, True], ids=["for a new store", "for one more event"])
@pytest.mark.parametrize("background", [(), ("--background",)], ids=["foreground", "background"])
def test_with_a_full_disk_and_the_service_down_it_is_69_and_says_why(
    down: Server, tmp_path: Path, background: tuple[str, ...], *, begun: bool
) -> None:
    if begun:
        keep(tmp_path, "kept before")
    done = send_within(1_000, down, *background)
    result = check_result(done, status="failed", exit_code=69, id=None, error="not_kept")
    assert "not available" in result["error"]["message"]
    assert "and it could not be kept: " in result["error"]["message"]
    assert "outbox" in result["error"]["message"]
    assert not list((tmp_path / "state").glob("*corrupt*")), "a full disk is no damage"
    if begun:
        assert len(kept_rows(tmp_path)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The state directory, on a disk of its own with little room."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    yield state
    subprocess.run(["umount", "-l", str(state)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass


def test_a_small_disk_that_fills_up_is_said_and_recovers(tmp_path: Path, down: Server, small_disk: Path) -> None:
    keep(tmp_path, "kept before")
    fill(small_disk)
    results = [call_main("send", *EVENT, "--json", env=settings_for(down)) for _ in range(3)]
    assert results[-1].code == 69
    assert "could not be kept" in results[-1].json["error"]["message"]
    kept = sum(done.code == 75 for done in results)  # there may have been room in the log for one more
    (small_disk / "filler").unlink()
    assert call_main("send", *EVENT, env=settings_for(down)).code == 75
    assert len(kept_rows(tmp_path)) == kept + 2
    down.default = says.ok()
    assert call_main("outbox", "flush", env=settings_for(down)).code == 0
    assert len(down.events) == kept + 2


def test_what_a_batch_delivered_while_its_disk_filled_up_is_not_sent_again(
    tmp_path: Path, service: Server, small_disk: Path
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    lines = b"".join(b'{"event":"e%d","description":"d"}\n' % number for number in range(150))
    batch = start_logsh("batch", "--json", env=settings_for(service), stdin=subprocess.PIPE)
    assert batch.stdin is not None
    batch.stdin.write(lines)
    batch.stdin.flush()
    service.wait_for(1)
    wait_until(lambda: len(kept_rows(tmp_path)) == 150, "all lines are stored")
    fill(small_disk)
    gate.set()
    out, err = batch.communicate(timeout=60)
    done = Completed(batch.returncode, out, err)
    assert (done.code, done.json["delivered"]) == (0, 150), done.stderr
    (small_disk / "filler").unlink()
    assert call_main("outbox", "flush", "--json", env=settings_for(service)).json["delivered"] == 0
    assert Counter(arrived(service)).most_common(1)[0][1] == 1
    assert len(service.events) == 150


def test_a_batch_that_meets_a_full_disk_stops_there_and_keeps_what_it_had(down: Server, tmp_path: Path) -> None:
    lines = b"".join(b'{"event":"e%d","description":"%s"}\n' % (number, b"x" * 100) for number in range(4_000))

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    batch = start_logsh(
        "batch",
        "--json",
        env=settings_for(down),
        stdin=subprocess.PIPE,
        preexec_fn=prepare,  # a pipe has no size
    )
    out, err = batch.communicate(lines, timeout=60)
    done = Completed(batch.returncode, out, err)
    assert done.code == 69, done.stderr
    result = done.json
    assert 0 < result["accepted"] < 4_000
    assert result["queued"] == result["accepted"]
    assert f"logsh: line {result['accepted'] + 1}: " in done.stderr
    assert "this line and those after it were not taken" in done.stderr
    assert len(kept_rows(tmp_path)) == result["accepted"]


# A directory that can't be used


def in_the_way(state: Path) -> None:
    state.write_text("a file")


def below_a_file(state: Path) -> None:
    state.parent.joinpath("file").write_text("")
    state.symlink_to(state.parent / "file" / "state")


def a_directory_for_a_file(state: Path) -> None:
    (state / "outbox.db").mkdir(parents=True)


UNUSABLE: dict[str, Callable[[Path], None]] = {
    "a file in its place": in_the_way,
    "below a file": below_a_file,
    "a directory where the file should be": a_directory_for_a_file,
}


@pytest.mark.parametrize("spoil", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_without_a_directory_it_is_delivered_from_memory(
    service: Server, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tmp_path / "state")
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="delivered", exit_code=0, id=None)
    assert done.stderr == ""
    done = call_main("send", *EVENT, "-v", env=settings_for(service))
    assert "no outbox, so a failed delivery would be lost: " in done.stderr
    service.default = says.error(503, headers=LATER)
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    result = check_result(done, status="failed", exit_code=69, id=None, error="not_kept")
    assert "it could not be kept: " in result["error"]["message"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be somebody else")
def test_a_directory_that_this_user_may_not_write_is_said(service: Server, public: Path) -> None:
    keep(public, "kept by root")
    (public / "state").chmod(0o755)
    logsh = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", str(LOGSH)]
    if (
        shutil.which("setpriv") is None
        or subprocess.run([*logsh, "--version"], check=False, capture_output=True).stderr
    ):
        pytest.skip("another user can't run logsh here")
    service.default = says.error(503, headers=LATER)
    places = {name: str(public / part) for name, part in (("HOME", ""), ("LOGSH_CONFIG_DIR", "config"))}
    env = environment(settings_for(service, LOGSH_STATE_DIR=str(public / "state"), **places))
    done = subprocess.run([*logsh, "send", *EVENT, "--json"], env=env, cwd=public, capture_output=True, check=False)
    result = check_result(Completed(done.returncode, done.stdout, done.stderr), status="failed", exit_code=69)
    assert "it could not be kept: " in result["error"]["message"]
    assert "root" in result["error"]["message"]
    listed = subprocess.run([*logsh, "outbox", "list"], env=env, cwd=public, capture_output=True, check=False)
    assert listed.returncode == 69
    assert len(kept_rows(public)) == 1


# A file that can't be used


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(_: bytes) -> bytes:
    return b""


def overwritten(content: bytes) -> bytes:
    return b"\xa5" * len(content)


def spoiled_inside(content: bytes) -> bytes:
    """The schema is whole, so that it opens; each page of the tables is not."""
    return content[:4096] + b"\xa5" * (len(content) - 4096)


def spoiled_in_one_place(content: bytes) -> bytes:
    """Only the page that new events go to is damaged, which shows no earlier than when one is accepted."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        db = sqlite3.connect(file.name)
        ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchall()
        db.close()
    start = (page - 1) * 4096
    return content[:start] + b"\xa5" * 4096 + content[start + 4096 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": cut_off,
    "emptied": emptied,
    "overwritten": overwritten,
    "spoiled inside": spoiled_inside,
    "spoiled in one place": spoiled_in_one_place,
}


def damage(tmp_path: Path, how: Callable[[bytes], bytes]) -> None:
    """A store with an event in the file itself, then damaged."""
    keep(tmp_path, "kept before")
    file = tmp_path / "state" / "outbox.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    file.write_bytes(how(file.read_bytes()))


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_store_is_set_aside_and_said_and_the_event_goes_out(
    logsh: Logsh, service: Server, tmp_path: Path, how: Callable[[bytes], bytes]
) -> None:
    damage(tmp_path, how)
    done = logsh("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="delivered", exit_code=0)
    (aside,) = (tmp_path / "state").glob("outbox.db.corrupt-*Z")
    assert f"it is kept as {aside.name}, and a new one was begun" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES.keys())
def test_in_place_of_a_damaged_store_events_are_kept_and_delivered(
    down: Server, tmp_path: Path, how: Callable[[bytes], bytes]
) -> None:
    damage(tmp_path, how)
    done = call_main("send", *EVENT, "--json", env=settings_for(down))
    check_result(done, status="queued", exit_code=75)
    down.default = says.ok()
    done = call_main("outbox", "flush", "--json", env=settings_for(down))
    assert set(arrived(down)) - {"kept before"} == {"deploy.done"}
    # What was kept before has arrived as well, or the damaged file still has it, and the flush says so.
    assert done.code == (0 if "kept before" in arrived(down) else 75), done.stderr
    assert done.json["queued"] == 0


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_background_event_survives_a_damaged_store(
    logsh: Logsh, service: Server, tmp_path: Path, how: Callable[[bytes], bytes]
) -> None:
    damage(tmp_path, how)
    done = logsh("send", *EVENT, "-b", "--json", env=settings_for(service))
    assert done.code == 0
    assert "a new one was begun" in done.stderr
    service.wait_for_events(1)
    wait_until_none_is_left(tmp_path / "state")
    assert kept_rows(tmp_path) == []


def test_a_store_of_a_newer_version_is_left_alone_and_the_event_goes_out(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "kept before")
    db = sqlite3.connect(tmp_path / "state" / "outbox.db")
    db.execute("PRAGMA user_version = 1000")
    db.close()
    check_result(call_main("send", *EVENT, "--json", env=settings_for(service)), status="delivered", id=None)
    service.default = says.error(503, headers=LATER)
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    result = check_result(done, status="failed", exit_code=69, error="not_kept")
    assert "made by a newer logsh" in result["error"]["message"]
    assert [path.name for path in (tmp_path / "state").glob("*corrupt*")] == []


# A clock set back


def test_events_of_a_clock_that_was_a_day_ahead_go_out_now(down: Server, tmp_path: Path) -> None:
    tomorrow = Clock(time=lambda: time.time() + DAY)
    done = call_main("send", *EVENT, "--json", env=settings_for(down), clock=tomorrow)
    check_result(done, status="queued", exit_code=75)
    (row,) = kept_rows(tmp_path)
    assert row.not_before > time.time() + DAY
    down.default = says.ok()
    done = call_main("outbox", "flush", "--json", env=settings_for(down))
    assert (done.code, done.json["delivered"]) == (0, 1)
    assert "metadata" not in down.events[0], "it can't have happened tomorrow"


def test_a_success_under_a_clock_set_back_takes_along_what_waits(logsh: Logsh, down: Server, tmp_path: Path) -> None:
    tomorrow = Clock(time=lambda: time.time() + 2 * DAY)
    down.default = says.error(503, headers={"Retry-After": "3600"})
    done = call_main("send", "-e", "of tomorrow", "-d", "d", env=settings_for(down), clock=tomorrow)
    assert done.code == 75
    down.default = says.ok()
    assert logsh("send", *EVENT, env=settings_for(down)).code == 0
    down.wait_for_events(2)
    wait_until_none_is_left(tmp_path / "state")
    assert kept_rows(tmp_path) == []


# A lock that is not given back


def test_run_reports_its_job_though_a_stopped_process_holds_the_store(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    keep(tmp_path, "kept before")
    holder = sqlite3.connect(tmp_path / "state" / "outbox.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        done = logsh("run", "-e", "job", "--", "sh", "-c", "exit 3", env=settings_for(service))
        assert done.code == 3
        assert [event["event"] for event in service.events] == ["job"]
        service.default = says.error(503, headers=LATER)
        done = logsh("run", "-e", "job", "--", "true", env=settings_for(service))
        assert done.code == 0
        assert "could not be kept: " in done.stderr
        assert "locked for too long" in done.stderr
        assert done.stderr.count("\n") == 1
    finally:
        holder.close()
