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
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import answers as says
from tests.support.command import LOGSH, Completed, environment
from tests.support.inprocess import call_main
from tests.support.kept import arrived, keep
from tests.support.processes import finish, start_logsh, wait_until, wait_until_none_is_left
from tests.support.sending import EVENT, LATER, Logsh, check_result, kept_rows, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.server import Server

NOBODY = 65534


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter; those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def within(limit: int, command: list[str], service: Server, stdin: bytes = b"") -> Completed:
    """A command that may make no file larger than so many bytes, as when the disk is full."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    env = environment(settings_for(service))
    done = subprocess.run(
        command, env=env, preexec_fn=prepare, input=stdin, capture_output=True, timeout=60, check=False
    )
    return Completed(done.returncode, done.stdout, done.stderr)


def send_within(limit: int, service: Server, *args: str) -> Completed:
    return within(limit, [str(LOGSH), "send", *EVENT, "--json", *args], service)


# A full disk


def test_with_a_full_disk_the_event_goes_out_or_it_is_69_and_says_why(service: Server, tmp_path: Path) -> None:
    for begun in (False, True):
        service.default = says.ok()
        check_result(send_within(1_000, service), status="delivered", exit_code=0, id=None)
        assert arrived(service) == ["deploy.done"] * (1 + begun)
        service.default = says.error(503, headers=LATER)
        done = send_within(1_000, service, *["--background"] * begun)
        message = check_result(done, status="failed", exit_code=69, id=None, error="not_kept")["error"]["message"]
        for said in ("not available", "and it could not be kept: ", "outbox"):
            assert said in message
        assert not list((tmp_path / "state").glob("*corrupt*")), "a full disk is no damage"
        assert len(kept_rows(tmp_path)) == begun
        keep(tmp_path, *["kept before"] * (not begun))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The state directory, on a disk of its own with little room."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    yield state
    subprocess.run(["umount", "-l", str(state)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


def lines(count: int) -> bytes:
    return b"".join(b'{"event":"e%d","description":"%s"}\n' % (number, b"x" * 100) for number in range(count))


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
    batch = start_logsh("batch", "--json", env=settings_for(service), stdin=subprocess.PIPE)
    assert batch.stdin is not None
    batch.stdin.write(lines(150))
    batch.stdin.flush()
    service.wait_for(1)
    wait_until(lambda: len(kept_rows(tmp_path)) == 150, "all lines are stored")
    fill(small_disk)
    gate.set()
    done = finish(batch)
    assert (done.code, done.json["delivered"]) == (0, 150), done.stderr
    (small_disk / "filler").unlink()
    assert call_main("outbox", "flush", "--json", env=settings_for(service)).json["delivered"] == 0
    assert len(arrived(service)) == len(set(arrived(service))) == 150


def test_a_flush_on_a_full_disk_delivers_what_can_be_leased_once_and_keeps_the_rest(
    logsh: Logsh, tmp_path: Path, service: Server, small_disk: Path
) -> None:
    keep(tmp_path, *[f"e{number}" for number in range(300)])
    fill(small_disk)
    os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - 65536)
    full = logsh("outbox", "flush", "--json", env=settings_for(service)).json
    assert (full["exit_code"], full["error"]["name"]) == (75, "not_delivered")
    assert 0 < full["delivered"] < 300
    (small_disk / "filler").unlink()
    after = call_main("outbox", "flush", "--json", env=settings_for(service)).json
    assert (after["exit_code"], after["delivered"]) == (0, 300 - full["delivered"]), (full, after)
    assert len(service.events) == len(set(arrived(service))) == 300


def test_a_batch_that_meets_a_full_disk_stops_there_and_keeps_what_it_had(down: Server, tmp_path: Path) -> None:
    command = [str(LOGSH), "batch", "--json"]
    done = within(300_000, command, down, stdin=lines(4_000))
    assert done.code == 69, done.stderr
    accepted = done.json["accepted"]
    assert 0 < accepted == done.json["queued"] == len(kept_rows(tmp_path)) < 4_000
    assert f"logsh: line {accepted + 1}: " in done.stderr
    assert "this line and those after it were not taken" in done.stderr


# A directory that can't be used


@pytest.mark.parametrize("what", ["a file in its place", "below a file", "a directory where the file should be"])
def test_without_a_directory_it_is_delivered_from_memory(service: Server, tmp_path: Path, what: str) -> None:
    state = tmp_path / "state"
    if what == "a file in its place":
        state.write_text("a file")
    elif what == "below a file":
        (tmp_path / "file").touch()
        state.symlink_to(tmp_path / "file" / "state")
    else:
        (state / "outbox.db").mkdir(parents=True)
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="delivered", exit_code=0, id=None)
    assert done.stderr == ""
    done = call_main("send", *EVENT, "-v", env=settings_for(service))
    assert "no outbox, so a failed delivery would be lost: " in done.stderr
    service.default = says.error(503, headers=LATER)
    done = call_main("send", *EVENT, "-b", "--json", env=settings_for(service))
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


def spoiled_in_one_place(content: bytes) -> bytes:
    """Only the page that new events go to is damaged, which shows no earlier than when one is accepted."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with closing(sqlite3.connect(file.name)) as db:
            ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchall()
    start = (page - 1) * 4096
    return content[:start] + b"\xa5" * 4096 + content[start + 4096 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[: len(content) // 2],
    "emptied": lambda _: b"",
    "overwritten": lambda content: b"\xa5" * len(content),
    "spoiled in all tables": lambda content: content[:4096] + b"\xa5" * (len(content) - 4096),
    "spoiled in one place": spoiled_in_one_place,
}


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_store_is_set_aside_and_said_and_events_are_kept_and_delivered(
    down: Server, tmp_path: Path, how: Callable[[bytes], bytes]
) -> None:
    keep(tmp_path, "kept before")
    file = tmp_path / "state" / "outbox.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.write_bytes(how(file.read_bytes()))
    done = call_main("send", *EVENT, "--json", env=settings_for(down))
    check_result(done, status="queued", exit_code=75)
    (aside,) = (tmp_path / "state").glob("outbox.db.corrupt-*Z")
    assert f"it is kept as {aside.name}, and a new one was begun" in done.stderr
    assert done.stderr.count("\n") == 1
    down.default = says.ok()
    done = call_main("outbox", "flush", "--json", env=settings_for(down))
    # What was kept before has arrived as well, or the damaged file still has it, and the flush says so.
    assert done.code == (0 if "kept before" in arrived(down) else 75), done.stderr
    assert done.json["queued"] == 0
    assert call_main("send", "-b", "-e", "background", "-d", "d", env=settings_for(down)).code == 0
    wait_until(lambda: {*arrived(down)} - {"kept before"} == {"background", "deploy.done"}, "the courier delivers")
    wait_until_none_is_left(tmp_path / "state")
    assert kept_rows(tmp_path) == []


def test_a_store_of_a_newer_version_is_left_alone_and_the_event_goes_out(service: Server, tmp_path: Path) -> None:
    keep(tmp_path, "kept before")
    with closing(sqlite3.connect(tmp_path / "state" / "outbox.db")) as db:
        db.execute("PRAGMA user_version = 1000")
    check_result(call_main("send", *EVENT, "--json", env=settings_for(service)), status="delivered", id=None)
    service.default = says.error(503, headers=LATER)
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    result = check_result(done, status="failed", exit_code=69, error="not_kept")
    assert "made by a newer logsh" in result["error"]["message"]
    assert [path.name for path in (tmp_path / "state").glob("*corrupt*")] == []


@pytest.mark.long
def test_run_reports_its_job_though_a_stopped_process_holds_the_store(
    logsh: Logsh, down: Server, tmp_path: Path
) -> None:
    keep(tmp_path, "kept before")
    with closing(sqlite3.connect(tmp_path / "state" / "outbox.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        done = logsh("run", "-e", "job", "--", "sh", "-c", "exit 3", env=settings_for(down))
    assert done.code == 3
    assert [request.json["event"] for request in down.requests] == ["job"]
    assert "could not be kept: " in done.stderr
    assert "locked for too long" in done.stderr
    assert done.stderr.count("\n") == 1
