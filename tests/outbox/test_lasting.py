"""The store outlives: older and newer versions, steps of the clock, full disks, forbidding masks, held locks."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logsh_cli.clock import BootTime, Clock
from logsh_cli.errors import NotKept
from logsh_cli.outbox import LEASE_S, MemoryOutbox, Outbox, StoreUnavailable, open_store
from logsh_cli.outbox.file import Ledger
from tests.delivery.test_unusable_outbox import fill, small_disk
from tests.outbox.test_outbox_file import AS_NOBODY, ME, as_root, bodies, body, process, run, shared, spoil
from tests.support import answers as says
from tests.support.inprocess import call_main
from tests.support.kept import arrived, keep
from tests.support.processes import finish, start_logsh
from tests.support.sending import kept_rows, settings_for

if TYPE_CHECKING:
    from tests.support.server import Server

__all__ = ["shared", "small_disk"]

VERSION_1 = Path(__file__).with_name("store_of_version_1.db")
DAY = 86_400.0


class Boot:
    """A machine whose clocks a test sets."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.up = BootTime("first", 1_000.0)

    def open(self, directory: Path) -> Outbox:
        return Outbox.open(directory, now=lambda: self.wall, boot=lambda: self.up)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.up = self.up._replace(seconds=self.up.seconds + seconds)


# Versions


def test_a_store_of_the_version_before_opens_and_delivers(tmp_path: Path, service: Server) -> None:
    (tmp_path / "state").mkdir()
    shutil.copy(VERSION_1, tmp_path / "state" / "outbox.db")
    states = [(1, "pending", 0), (2, "pending", 2), (3, "rejected", 1), (4, "pending", 0)]
    assert [(row.id, row.state, row.attempts) for row in kept_rows(tmp_path)] == states
    done = call_main("outbox", "flush", env=settings_for(service))
    assert (done.code, arrived(service)) == (0, ["failed", "untried"])
    assert Outbox.open(tmp_path / "state").last_outcome("default", "shop", "backup") == "failed"
    assert list((tmp_path / "state").glob("*corrupt*")) == []
    assert keep(tmp_path, "new") == [5]


def test_what_can_be_read_of_a_damaged_store_of_the_version_before_goes_on(tmp_path: Path) -> None:
    content = bytearray(VERSION_1.read_bytes())
    content[4096 * 7 :] = b"\xa5" * len(content[4096 * 7 :])
    (tmp_path / "outbox.db").write_bytes(content[: 4096 * 7 + 10])
    outbox = Outbox.open(tmp_path)
    assert [row.id for row in outbox.rows()] == [1, 2, 3, 4]
    assert outbox.counts().dropped == 0


def test_a_store_whose_later_steps_only_added_is_used_and_one_that_broke_with_this_version_left_alone(
    tmp_path: Path, service: Server
) -> None:
    keep(tmp_path, "a")
    state = tmp_path / "state"
    spoil(state, "ALTER TABLE events ADD COLUMN colour TEXT", "CREATE TABLE more (x)", "PRAGMA user_version = 99")
    keep(tmp_path, "b")
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert arrived(service) == ["a", "b"]
    db = sqlite3.connect(state / "outbox.db")
    assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.execute("PRAGMA user_version = 1000")
    db.close()
    before = (state / "outbox.db").read_bytes()
    for args in (("list",), ("list", "--json"), ("show", "1"), ("flush",), ("retry", "--all"), ("drop", "--all")):
        done = call_main("outbox", *args)
        assert done.code == 69
        assert "made by a newer logsh (format 1000, this one knows 2)" in done.stderr + done.stdout
    assert (state / "outbox.db").read_bytes() == before


# Clocks


def test_a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_lease(tmp_path: Path) -> None:
    for step in (-DAY, -3600.0, 3600.0, 30 * DAY):
        machine, directory = Boot(), tmp_path / str(step)
        outbox = machine.open(directory)
        outbox.add(ME, [body("x")], lease="holder")
        machine.wall += step
        other = machine.open(directory)
        assert not other.pending_exists(ME), step
        assert [row.state for row in other.rows()] == ["leased"]
        machine.pass_time(LEASE_S - 1)
        assert other.take(ME, lease="other", limit=1) == []
        machine.pass_time(1)
        assert other.pending_exists(ME)
        assert [row.id for row in other.take(ME, lease="other", limit=1)] == [1], step
        assert outbox.renew([1], "holder") == set()


def test_a_lease_from_before_a_reboot_ends_within_a_minute_of_it(tmp_path: Path) -> None:
    machine = Boot()
    machine.open(tmp_path).add(ME, [body("x")], lease="dead")
    machine.wall += 20
    machine.up = BootTime("second", 5.0)
    outbox = machine.open(tmp_path)
    assert outbox.take(ME, lease="l", limit=1) == []
    machine.pass_time(41)
    assert [row.id for row in outbox.take(ME, lease="l", limit=1)] == [1]


def test_the_commands_count_leases_from_the_boot(tmp_path: Path, service: Server) -> None:
    keep(tmp_path, "a", lease="holder")
    store = Outbox.open(tmp_path / "state", boot=Clock().boot)
    assert store.renew([1], "holder") == {1}
    an_hour_on = Clock(time=lambda: time.time() + 3600)
    done = call_main("outbox", "list", env=settings_for(service), clock=an_hour_on)
    assert done.stdout.split("\t")[1] == "waiting"
    assert [row.state for row in open_store(lambda: tmp_path / "state", boot=Clock().boot).rows()] == ["leased"]


# Full disks


def test_what_was_delivered_on_a_full_disk_is_not_delivered_again(tmp_path: Path) -> None:
    out = run(
        """
import resource
outbox = Outbox.open(directory)
ids = outbox.add(ME, [body(str(n)) for n in range(300)], lease="l")
resource.setrlimit(resource.RLIMIT_FSIZE, (17_000, resource.RLIM_INFINITY))
outbox.delivered(ids[:100], "l")
outbox.delivered(ids[100:150], "l")
outbox.delivered([ids[200]], "l")
outbox.delivered(ids[:1], "another")
for limit in (17_000, 10):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        outbox.release(ids, "l") if limit > 10 else outbox.delivered(ids[200:], "l")
    except StoreUnavailable as error:
        print(error.exit_code, flush=True)  # what can't even be noted is said
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
os._exit(0)
""",
        tmp_path,
    )
    assert out == "69\n69\n"
    outbox = Outbox.open(tmp_path, now=lambda: time.time() + LEASE_S + 1)
    left = [*range(151, 201), *range(202, 301)]
    assert [row.id for row in outbox.take(ME, lease="m", limit=400)] == left
    assert [row.id for row in outbox.rows()] == left
    assert outbox.add(ME, [body("new")]) == [301]
    assert len(list(outbox.rows())) == len(left) + 1, "what was noted is forgotten once it is deleted"
    assert not any((tmp_path / "outbox.ledger").read_bytes()[32:])


def test_a_flush_ends_by_what_is_left_though_the_disk_fills_up_under_it_or_has_no_room_at_all(
    tmp_path: Path, service: Server, small_disk: Path
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    keep(tmp_path, *[f"e{number}" for number in range(20)])
    flush = start_logsh("outbox", "flush", "--json", env=settings_for(service))
    service.wait_for(1)
    fill(small_disk)
    gate.set()
    done = finish(flush)
    assert (done.code, done.json["delivered"], done.json["queued"]) == (0, 20, 0), done.stderr
    assert call_main("outbox", "list").stdout == ""
    (small_disk / "filler").unlink()
    keep(tmp_path, "a", "b")
    fill(small_disk)
    done = call_main("outbox", "flush", env=settings_for(service))
    assert (done.code, done.stdout) == (75, ""), done.stderr
    assert "what waits is kept" in done.stderr
    (small_disk / "filler").unlink()
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert len(arrived(service)) == len(set(arrived(service))) == 22


def test_a_ledger_that_is_spoilt_or_another_stores_deletes_nothing_and_says_nothing(tmp_path: Path) -> None:
    for name in ("here", "there"):
        Outbox.open(tmp_path / name).add(ME, [body("a")] * (1 if name == "here" else 50))
    outbox = Outbox.open(tmp_path / "here")
    ledger = tmp_path / "here" / "outbox.ledger"
    content = ledger.read_bytes()
    ledger.write_bytes(content[:24] + b"\x00\x00\x00\x00\x00\x00\x00\x01" * 5 + content[64:])
    assert outbox.add(ME, [body("b")]) == [2]
    shutil.copy(tmp_path / "there" / "outbox.ledger", ledger)
    outbox = Outbox.open(tmp_path / "here")
    assert outbox.notices == []
    assert outbox.add(ME, [body("c")]) == [3]
    assert len(bodies(outbox)) == 3


def test_the_ledger_has_room_for_any_number_of_ids_in_a_row(tmp_path: Path) -> None:
    Outbox.open(tmp_path).add(ME, [body("a")])
    ledger = Ledger(tmp_path / "outbox.ledger")
    ledger.note_delivered([(1, 1), *((number, number) for number in range(3, 5_000))])
    assert ledger.delivered() == [(1, 1), (3, 4_999)]
    apart = [(number, number) for number in range(1, 5_000, 2)]
    with pytest.raises(OSError, match="no more room"):
        ledger.note_delivered(apart)


# Modes


def test_modes_are_tightened_at_opening_and_kept_for_whoever_asks(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    Outbox.open(directory).add(ME, [body("x")])
    directory.chmod(0o777)
    for name in ("outbox.db", "outbox.db-wal"):
        (directory / name).chmod(0o644)
    outbox = Outbox.open(directory)
    tightened = [directory, directory / "outbox.db", directory / "outbox.db-wal"]
    assert [line.split(" could")[0] for line in outbox.tightened] == list(map(str, tightened))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert Outbox.open(directory).tightened == []
    assert outbox.notices == []


@as_root
def test_a_directory_made_under_a_mask_that_forbids_its_owner_heals(shared: Path) -> None:
    shared.chmod(0o777)
    script = """
(directory / "state").mkdir(mode=0o500)
for name in ("outbox.lock", "flush.lock"):
    os.close(os.open(directory / name, os.O_CREAT, 0o400))
os.umask(0o277)
for _ in range(2):
    outbox = Outbox.open(directory / "state")
    print(outbox.add(ME, [body("x")]))
    with outbox.flush_lock() as held:
        print(held)
"""
    assert run(AS_NOBODY + script, shared).split() == ["[1]", "True", "[2]", "True"]


# Locks


def test_no_wait_for_a_lock_is_longer_than_the_patience(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, patience_s=0.2)
    holder = """
import fcntl, sqlite3
locks = [open(directory / name, "a") for name in ("outbox.lock", "flush.lock")]
for lock in locks:
    fcntl.flock(lock, fcntl.LOCK_EX)
db = sqlite3.connect(directory / "outbox.db", isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
    with process(holder, tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreUnavailable, match="locked for too long"):
            outbox.add(ME, [body("x")])
        with outbox.flush_lock(patience_s=0.1) as held:
            assert held is False
        assert list(Outbox.open(tmp_path, patience_s=0.2).rows()) == [], "reading waits for nobody"
        (tmp_path / "outbox.db").rename(tmp_path / "elsewhere")
        assert isinstance(open_store(lambda: tmp_path, patience_s=0.2), MemoryOutbox)
        other.kill()


def test_ids_delivered_while_the_store_is_locked_are_noted(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, patience_s=0.2)
    ids = outbox.add(ME, [body("a"), body("b")], lease="l")
    db = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    outbox.delivered(ids[:1], "l")
    with pytest.raises(NotKept):
        outbox.release(ids, "l")
    db.execute("ROLLBACK")
    db.close()
    outbox.release(ids, "l")
    assert [row.id for row in outbox.rows()] == [2]
