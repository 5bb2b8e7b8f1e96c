"""The store on disk: many processes, killed processes, damaged files, full disks, other people's directories."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import logsh_cli
from logsh_cli.outbox import Changed, Outbox, Owner, StoreUnavailable, open_store
from logsh_cli.outbox.file import file_system_of, unavailable
from logsh_cli.outbox.pages import salvage
from logsh_cli.outbox.rows import COLUMNS, read_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

fcntl = pytest.importorskip("fcntl", reason="these tests are about POSIX processes and files")

ME = Owner("default", "a" * 16)
ROOT = Path(logsh_cli.__file__).parent.parent
NOBODY = 65534
PATIENCE_S = 120

PRELUDE = """
import os, sys
from pathlib import Path
from logsh_cli.outbox import *
directory = Path(sys.argv[1])
ME = Owner("default", "a" * 16)
body = lambda name: b'{"event":"%s"}' % name.encode()

def at_once(number, work):
    "Run work(n) in that many processes, all released at the same moment; exit with how many of them failed."
    gate, opener = os.pipe()
    children = []
    for n in range(number):
        child = os.fork()
        if child == 0:
            os.close(opener)
            os.read(gate, 1)
            try:
                work(n)
            except BaseException as error:
                print("FAILED", repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(opener)
    sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def body(name: str) -> bytes:
    return b'{"event":"%s"}' % name.encode()


def process(script: str, directory: Path) -> subprocess.Popen[str]:
    """A Python process of its own that runs the script with ``directory``; it speaks and listens by lines."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(directory)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script: str, directory: Path) -> str:
    """Run such a process to its end, which must be a good one; returns what it printed."""
    with process(script, directory) as running:
        out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, err
    return out


def set_aside(directory: Path) -> list[Path]:
    return sorted(directory.glob("outbox.db.corrupt-*Z"))


def spoil(directory: Path, *statements: str) -> None:
    db = sqlite3.connect(directory / "outbox.db")
    for statement in statements:
        db.execute(statement)
        db.commit()
    db.close()


def folded(directory: Path) -> bytearray:
    """The store's file, with all that was in its log."""
    spoil(directory, "PRAGMA wal_checkpoint(TRUNCATE)")
    return bytearray((directory / "outbox.db").read_bytes())


def abandoned_store(directory: Path) -> None:
    """A store with three events still in its log, as a process leaves it that ends without closing."""
    run("Outbox.open(directory).add(ME, [body('one'), body('two'), body('three')]); os._exit(0)", directory)
    assert (directory / "outbox.db-wal").stat().st_size > 0


def bodies(store: Outbox) -> list[bytes]:
    return [row.body for row in store.rows()]


THREE = [body("one"), body("two"), body("three")]


# Many processes


def test_many_processes_at_once_can_begin_a_store_and_work_with_or_without_a_write_ahead_log(tmp_path: Path) -> None:
    for has_log in (True, False):
        directory = tmp_path / "not" / str(has_log)
        if not has_log:
            Outbox.open(directory).close()
            spoil(directory, "PRAGMA journal_mode = DELETE")
        run(
            """
def work(n):
    outbox = Outbox.open(directory)
    assert outbox.notices == []
    (row_id,) = outbox.add(ME, [body(str(n))], lease=str(n))
    if n % 2:
        outbox.delivered([row_id], str(n))
at_once(40, work)
""",
            directory,
        )
        rows = list(Outbox.open(directory).rows())
        assert sorted(int(json.loads(row.body)["event"]) for row in rows) == list(range(0, 40, 2))
        assert set_aside(directory) == []
        assert (directory / "outbox.db-wal").exists() == has_log


def test_no_event_is_taken_by_two(tmp_path: Path) -> None:
    Outbox.open(tmp_path).add(ME, [body("x")] * 300)
    out = run(
        """
def work(n):
    outbox = Outbox.open(directory)
    while rows := outbox.take(ME, lease=str(n), limit=7):
        os.write(1, "".join(f"{row.id}\\n" for row in rows).encode())
at_once(4, work)
""",
        tmp_path,
    )
    assert sorted(map(int, out.split())) == list(range(1, 301))


def test_a_process_waits_for_the_lock_of_another_however_long(tmp_path: Path) -> None:
    Outbox.open(tmp_path)
    other = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    script = "print('ready', flush=True); print(Outbox.open(directory).add(ME, [body('x')]), flush=True)"
    with process(script, tmp_path) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):  # longer than SQLite itself waits
            waiting.wait(2.5)
        other.execute("COMMIT")
        assert waiting.stdout.readline() == "[1]\n"
    assert set_aside(tmp_path) == []


def test_flushers_go_one_at_a_time_and_a_dead_one_holds_nobody_up(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path)
    script = """
with Outbox.open(directory).flush_lock(patience_s=60) as held:
    print(held, flush=True)
    sys.stdin.read()
"""
    with process(script, tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with outbox.flush_lock() as held:
            assert held is False
        other.kill()
        with outbox.flush_lock(patience_s=60) as held:
            assert held is True
    with pytest.raises(ConnectionError), outbox.flush_lock():  # stays what it is
        raise ConnectionError
    (tmp_path / "flush.lock").unlink()
    (tmp_path / "flush.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match=r"flush\.lock can't be used"), outbox.flush_lock():
        pass


# Killed processes


def test_what_a_killed_process_leaves_beside_the_store_or_without_one_is_in_nobodys_way(tmp_path: Path) -> None:
    for left in ("-wal", "-shm", "-journal", ".new", ".new-wal"):
        (tmp_path / left).mkdir()
        (tmp_path / left / f"outbox.db{left}").write_bytes(b"half of it" if "new" in left else b"")
        outbox = Outbox.open(tmp_path / left)
        assert outbox.add(ME, [body("x")]) == [1], left
        assert outbox.set_aside() == [], left


def traced(script: str, directory: Path, *calls: str) -> list[str]:
    """The system calls of a process that opens the store and does this."""
    if shutil.which("strace") is None:
        pytest.skip("strace shows what is synced, and in which order")
    log = directory / "strace.log"
    command = ["strace", "-f", "-y", "-o", str(log), f"-etrace={','.join(calls)}", sys.executable, "-c"]
    script = f"{PRELUDE}\noutbox = Outbox.open(directory)\n{script}\nos._exit(0)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if subprocess.run([*command, script, str(directory)], env=environment, check=False).returncode != 0:
        pytest.skip("tracing is not permitted here")
    return log.read_text().splitlines()


LOCKED = (
    "db = __import__('sqlite3').connect(directory / 'outbox.db', isolation_level=None); db.execute('BEGIN IMMEDIATE'); "
)


def test_accepting_is_synced_and_acknowledging_is_not_but_where_there_is_no_log(tmp_path: Path) -> None:
    def syncs(script: str, directory: Path = tmp_path) -> int:
        return sum("sync(" in call for call in traced(script, directory, "fsync", "fdatasync"))

    accepted = "ids = outbox.add(ME, [body('x')], lease='l')"
    no_log = tmp_path / "no log"
    Outbox.open(no_log).close()
    spoil(no_log, "PRAGMA journal_mode = DELETE")
    assert syncs(f"{accepted}; outbox.delivered(ids, 'l')", no_log) == 2 * syncs(accepted, no_log) > 0

    Outbox.open(tmp_path).add(ME, [body("x")])
    one_add = syncs(accepted)
    assert one_add in {1, 2}  # the log, and its name the first time
    # What a person asked for is as lasting as an acceptance, or a power cut brings dropped events back.
    refused = "outbox.rejected(ids[0], 'l', attempts=1, error_name='x', error_message='y', http_status=400)"
    for script, more in (
        ("outbox.renew(ids, 'l'); outbox.delivered(ids, 'l')", 0),
        (refused, 0),
        (f"{refused}; outbox.retry(ids)", 1),
        (f"{refused}; outbox.retry()", 1),
        ("outbox.release(ids, 'l'); outbox.drop(ids)", 1),
        ("outbox.release(ids, 'l'); outbox.drop()", 1),
        (LOCKED + "Outbox.open(directory, patience_s=0.1).delivered(ids, 'l')", 1),  # in the ledger
    ):
        assert syncs(f"{accepted}; {script}") == one_add + more, script
    # The last one left a note in the ledger: it is struck out only once the deletion it stands for is on disk.
    calls = [call for call in traced(accepted, tmp_path, "fsync", "fdatasync") if "sync(" in call]
    assert "ledger" not in calls[0]
    assert sum("ledger" in call for call in calls) == 1
    assert syncs("pass") == 0


def test_a_damaged_file_has_its_new_name_on_disk_before_another_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(NO_DATABASE)
    calls = traced("", tmp_path, "rename", "fsync")
    synced = [at for at, call in enumerate(calls) if "fsync(" in call and f"<{tmp_path}>" in call]
    (aside,) = (at for at, call in enumerate(calls) if "rename(" in call and 'outbox.db", ' in call)
    (place,) = (at for at, call in enumerate(calls) if "rename(" in call and "outbox.db.new" in call)
    assert any(aside < at < place for at in synced)
    assert place + 1 in synced


# Damaged files

NO_DATABASE = b"this is no database\n" * 500


def overwritten(at: int, length: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + b"\xa5" * length + content[at + length :]


def without_tables(content: bytes) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        db = sqlite3.connect(file.name)
        db.execute("CREATE TABLE something_else (x)")
        db.close()
        return Path(file.name).read_bytes() or content


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off to nothing": lambda _: b"",
    "cut off in the header": lambda content: content[:50],
    "cut off after a page": lambda content: content[:4096],
    "cut off in the last page": lambda content: content[:-1000],
    "text": lambda _: NO_DATABASE,
    "zeros": lambda content: bytes(len(content)),
    "its header overwritten": overwritten(0, 100),
    "its schema overwritten": overwritten(100, 3996),
    "its schema in another charset": lambda content: content.replace(b"CREATE TABLE events", b"CREATE \xc4ABLE events"),
    "its tables overwritten": lambda content: overwritten(4096, len(content) - 4096)(content),
    "a database of something else": without_tables,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_set_aside_unchanged_and_what_can_be_read_of_it_goes_on(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    outbox = Outbox.open(tmp_path)
    outbox.add(ME, [body("x" * 200)] * 50)
    outbox.close()
    path = tmp_path / "outbox.db"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)

    outbox = Outbox.open(tmp_path)
    (row_id,) = outbox.add(ME, [body("new")], lease="l")
    assert row_id == 51
    assert {*range(1, 51), 51} >= {row.id for row in outbox.rows()} >= {51}

    (kept,) = set_aside(tmp_path)
    assert kept.read_bytes() == damaged
    (notice,) = outbox.notices
    assert kept.name in notice
    read = outbox.counts().pending - 1
    assert f"{read} events that could be read" in notice or (read == 0 and "without events" in notice)
    for path, known, missing in outbox.set_aside():
        assert (path, known) == (kept, read)
        assert missing in notice
    assert read == 50 or outbox.set_aside()


def test_damage_that_shows_while_at_work_is_dealt_with_at_once(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path)
    outbox.add(ME, [body("x" * 200)] * 50)
    outbox.close()
    outbox = Outbox.open(tmp_path)
    with (tmp_path / "outbox.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (os.fstat(file.fileno()).st_size - 4096))
    assert outbox.add(ME, [body("new")]) == [51]
    assert bodies(outbox) == [body("new")]
    assert len(set_aside(tmp_path)) == len(outbox.notices) == 1


@pytest.mark.parametrize("count", [2**63 - 1, 2**48, -1, "x", 0.5])
def test_a_spoilt_count_of_events_is_damage_and_costs_none(tmp_path: Path, count: object) -> None:
    outbox = Outbox.open(tmp_path)
    outbox.add(ME, [body("kept")] * 3)
    outbox.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("UPDATE sqlite_sequence SET seq = ?", (count,))
    db.close()
    (tmp_path / "outbox.ledger").unlink()

    outbox = Outbox.open(tmp_path)
    assert outbox.add(ME, [body("new")]) == [4]
    assert bodies(outbox) == [body("kept")] * 3 + [body("new")]
    assert len(set_aside(tmp_path)) == len(outbox.notices) == 1


def test_a_row_that_can_not_be_read_is_shelved_and_stops_nobody(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path)
    for change in (
        *("body = 'text'", "body = x'ff'", "body = '[1]'", "body = CAST('{}' AS BLOB)"),
        *("accepted_at = 1e300", "accepted_at = -0.5", "attempts = 'many'", 'body = CAST(\'{"event":"z"}\' AS BLOB)'),
    ):
        bad, *good = outbox.add(ME, [body("a"), body("b"), body("c")])
        spoil(tmp_path, f"UPDATE events SET {change} WHERE id = {bad}")
        assert [row.state for row in outbox.rows()] == ["damaged", "pending", "pending"], change
        assert [row.id for row in outbox.take(ME, lease="l", limit=2)] == good
        assert outbox.counts()[:3] == (2, 2, 1)
        damaged = outbox.get(bad)
        assert damaged is not None
        assert (damaged.state, damaged.error_name) == ("damaged", "damaged"), change
        assert outbox.retry([bad]) == Changed(0, missing=(bad,))
        assert outbox.retry() == Changed(0)
        assert outbox.drop([bad]) == Changed(1)
        outbox.delivered(good, "l")
    outbox.add(ME, [body("a"), body("b")])
    spoil(tmp_path, "UPDATE events SET profile = CAST(x'ff' AS TEXT) WHERE id = 25")
    assert [row.id for row in outbox.rows()] == [25, 26], "one spoilt byte keeps only its own event back"
    assert [row.id for row in outbox.take(ME, lease="l", limit=9)] == [26]
    assert outbox.notices == []


def test_page_by_page_every_event_is_read_that_sqlite_itself_reads(tmp_path: Path) -> None:
    whole, dice = tmp_path / "whole", random.Random(4)
    outbox = Outbox.open(whole)
    given = dict(enumerate((body(f"{n} " + "x" * dice.randrange(900 + 8_000 * (n % 9 == 0))) for n in range(120)), 1))
    outbox.add(ME, list(given.values())[:80], lease="l")
    outbox.delivered(range(5, 60), "l")
    folded(whole)
    outbox.add(ME, list(given.values())[80:])
    content = {path.name: path.read_bytes() for path in whole.glob("outbox.db*") if not path.name.endswith("-shm")}
    beyond = 0
    for number in range(60):
        directory = tmp_path / str(number)
        directory.mkdir()
        for name, data in content.items():
            at, length = dice.randrange(len(data)), dice.choice((1, 30, 3_000))
            cut = data[:at] + dice.randbytes(length) + data[at + length :]
            (directory / name).write_bytes(dice.choice((data, cut, cut, data[:at])))
        read = {row[0]: row[3] for row in salvage(directory / "outbox.db").rows}
        by_sqlite: set[int] = set()
        db = sqlite3.connect(directory / "outbox.db")
        db.text_factory = lambda text: text.decode("utf-8", "replace")
        for which in ("1", *(f"id = {n}" for n in given)):
            with suppress(sqlite3.Error, UnicodeDecodeError):
                for values in db.execute(f"SELECT {COLUMNS} FROM events WHERE {which}"):
                    if read_row(values, 0.0).state != "damaged":
                        by_sqlite.add(values[0])
        db.close()
        assert by_sqlite <= read.keys(), number
        assert all(given[row_id] == found for row_id, found in read.items()), "and none that was not there"
        beyond += len(read.keys() - by_sqlite)
    assert beyond > 100, "and many more"


def test_page_by_page_a_body_of_any_length_around_a_pages_room_is_read(tmp_path: Path) -> None:
    given = [body("x" * length) for length in (*range(3_850, 4_050), *range(7_950, 8_150))]
    Outbox.open(tmp_path).add(ME, given)
    assert [row[3] for row in salvage(tmp_path / "outbox.db").rows] == given


def test_of_a_store_without_its_salt_long_events_are_read_whole_and_delivered_ones_not_at_all(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path)
    ids = outbox.add(ME, [body(str(number) * 3_000) for number in range(60)], lease="l")
    outbox.delivered(ids[:50], "l")
    before = [(row.id, row.body) for row in outbox.rows()]
    outbox.close()
    spoil(tmp_path, "DELETE FROM store")
    after = Outbox.open(tmp_path)
    assert [(row.id, row.body) for row in after.rows()] == before
    assert len(set_aside(tmp_path)) == len(after.notices) == 1
    assert after.set_aside() == [], "nothing in it is unread"
    assert after.renew(ids[50:], "l") == set(ids[50:]), "whoever delivers them goes on"
    assert after.fingerprint("key") == outbox.fingerprint("key")


def test_of_a_broken_table_what_is_whole_is_read_and_nothing_that_was_delivered(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path)
    ids = outbox.add(ME, [body(f"event {number} " + "x" * 400) for number in range(300)], lease="l")
    outbox.delivered(ids[:200], "l")
    fingerprint = outbox.fingerprint("key")
    outbox.close()
    (tmp_path / "outbox.ledger").unlink()
    content = folded(tmp_path)
    at = content.index(b"event 250 ") // 4096 * 4096
    content[at : at + 4096] = b"\xa5" * 4096
    (tmp_path / "outbox.db").write_bytes(content)
    outbox = Outbox.open(tmp_path)
    list(outbox.take(ME, lease="m", limit=400))
    read = {row.id for row in outbox.rows()}
    assert 80 < len(read) < 100
    assert read < set(ids[200:])
    assert f"{100 - len(read)} could not be read" in outbox.notices[0]
    assert outbox.fingerprint("key") == fingerprint, "or its owner would not find them"


def test_of_a_spoilt_page_in_the_log_the_version_before_is_read(tmp_path: Path) -> None:
    Outbox.open(tmp_path).add(ME, [body("a"), body("b"), body("c")])
    folded(tmp_path)
    run("Outbox.open(directory).add(ME, [body('d')]); os._exit(0)", tmp_path)
    log = bytearray((tmp_path / "outbox.db-wal").read_bytes())
    frame = (log.index(b'{"event":"d"}') - 32) // 4120 * 4120 + 32 + 24
    log[frame : frame + 4096] = b"\xa5" * 4096
    (tmp_path / "outbox.db-wal").write_bytes(log)
    outbox = Outbox.open(tmp_path)
    assert bodies(outbox) == [body("a"), body("b"), body("c")]
    assert "1 could not be read" in outbox.notices[0]


def test_of_a_damaged_file_of_a_later_version_what_this_one_knows_is_read(tmp_path: Path) -> None:
    Outbox.open(tmp_path).close()
    spoil(tmp_path, "ALTER TABLE events ADD COLUMN colour TEXT DEFAULT 'red'", "PRAGMA user_version = 9")
    Outbox.open(tmp_path).add(ME, [body("a")])
    spoil(tmp_path, "UPDATE events SET colour = 'blue'", "DELETE FROM store")
    outbox = Outbox.open(tmp_path)
    assert bodies(outbox) == [body("a")]
    assert outbox.notices[0].endswith("a new one was begun with the 1 event that could be read")


def test_many_processes_set_a_damaged_file_aside_once(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(NO_DATABASE)
    out = run(
        """
def work(n):
    outbox = Outbox.open(directory)
    outbox.add(ME, [body("x")])
    for notice in outbox.notices:
        os.write(1, notice.encode() + b"\\n")
at_once(40, work)
""",
        tmp_path,
    )
    assert out.count("\n") == 1
    assert len(set_aside(tmp_path)) == 1
    assert len(list(Outbox.open(tmp_path).rows())) == 40


@pytest.mark.parametrize("left", [b"", None], ids=["emptied", "removed"])
def test_the_log_of_a_lost_file_is_read_and_not_played_into_a_fresh_one(tmp_path: Path, left: bytes | None) -> None:
    abandoned_store(tmp_path)
    (tmp_path / "outbox.db").unlink()
    if left is not None:
        (tmp_path / "outbox.db").write_bytes(left)
    outbox = open_store(lambda: tmp_path, create=False)
    assert bodies(outbox) == THREE
    assert len(list(tmp_path.glob("outbox.db.corrupt-*-wal"))) == len(outbox.notices) == 1, "looking says so, too"


def test_a_log_cut_short_or_spoilt_costs_no_event_without_a_word(tmp_path: Path) -> None:
    abandoned_store(tmp_path / "whole")
    log = (tmp_path / "whole" / "outbox.db-wal").read_bytes()
    cuts = [log[:length] for length in (0, 10, 32, 100, 4152, 5000, 8272)]
    flips = [log[:at] + bytes([log[at] ^ 4]) + log[at + 1 :] for at in (3, 17, 30, 40, 50, 60, 1000)]
    for number, damaged in enumerate([*cuts, *flips]):
        directory = shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        (directory / "outbox.db-wal").write_bytes(damaged)
        outbox = Outbox.open(directory)
        if number < len(cuts):
            assert "the end of its log is lost" in outbox.notices[0] or "no tables" in outbox.notices[0]
        assert bodies(outbox) == THREE or (outbox.notices and outbox.set_aside() and number < len(cuts)), number
        assert outbox.add(ME, [body("new")]) == [4], "the ids of those lost are not given again"


def test_a_process_that_has_the_set_aside_file_open_does_no_harm_to_the_fresh_one(tmp_path: Path) -> None:
    script = """
outbox = Outbox.open(directory)
outbox.add(ME, [b"before"])
print("ready", flush=True)
sys.stdin.readline()
outbox.close()
"""
    with process(script, tmp_path) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        for name in ("outbox.db", "outbox.db-wal", "outbox.db-shm"):
            (tmp_path / name).rename(tmp_path / name.replace(".db", ".db.corrupt-X"))
        abandoned_store(tmp_path)  # all it holds is in its log
        other.communicate("go on\n", timeout=PATIENCE_S)
    assert bodies(Outbox.open(tmp_path)) == THREE


@pytest.mark.parametrize("how", ["set aside", "removed", "damaged"])
def test_when_the_file_is_replaced_under_us_an_event_goes_where_it_will_be_found_under_an_id_of_its_own(
    tmp_path: Path, how: str
) -> None:
    directory = tmp_path / "state"
    outbox = Outbox.open(directory)
    before = outbox.add(ME, [body("a"), body("b")], lease="l")
    if how == "removed":
        shutil.rmtree(directory)
    elif how == "set aside":
        (directory / "outbox.db").rename(directory / "outbox.db.corrupt-X")
        for name in ("outbox.db-wal", "outbox.db-shm", "outbox.ledger"):
            (directory / name).unlink()
    else:
        (directory / "outbox.db").write_bytes(b"\xa5" * 50_000)
        (directory / "outbox.db-wal").write_bytes(b"")
    after = outbox.add(ME, [body("c"), body("d")], lease="l")
    assert set(before).isdisjoint(after), "those under way are not given again"
    outbox.delivered(before, "l")
    assert bodies(Outbox.open(directory)) == [body("c"), body("d")]


# Full disks and other people's directories


def test_a_disk_without_room_is_not_taken_for_damage(tmp_path: Path) -> None:
    abandoned_store(tmp_path)
    out = run(
        """
import resource
outbox = Outbox.open(directory)
resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, resource.RLIM_INFINITY))
kept = 0
try:
    while True:
        kept += len(outbox.add(ME, [body("x" * 3000)]))
except StoreUnavailable as error:
    print(error.exit_code, error.message, flush=True)
try:
    Outbox.open(directory).add(ME, [body("x") * 200_000])
except StoreUnavailable as error:
    print(error.exit_code, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
outbox.add(ME, [body("room again")])
print(kept, flush=True)
os._exit(0)
""",
        tmp_path,
    )
    first, second, kept = out.splitlines()
    assert first.startswith("69 ")
    assert "disk full" in first
    assert second == "69"
    assert set_aside(tmp_path) == []
    assert len(list(Outbox.open(tmp_path).rows())) == 3 + int(kept) + 1


def test_a_disk_without_room_for_a_fresh_store_leaves_none_half_made(tmp_path: Path) -> None:
    script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
store = open_store(lambda: directory)
print(type(store).__name__, store.unkept_because)
"""
    assert run(script, tmp_path).startswith("MemoryOutbox the outbox")
    assert not (tmp_path / "outbox.db").exists()
    assert Outbox.open(tmp_path).add(ME, [body("x")]) == [1]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that other users can reach, as ``tmp_path`` is not."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as two users")

AS_NOBODY = """
import encodings.idna, pwd, urllib.request
MemoryOutbox().fingerprint("")  # loaded while this user can still read the code
os.setgid(65534); os.setuid(65534)
"""


@as_root
def test_what_is_roots_since_a_sudo_is_explained(shared: Path) -> None:
    directory = shared / "state"
    Outbox.open(directory).close()
    script = AS_NOBODY + "print(open_store(lambda: directory).unkept_because)"
    why = "can't be written by this user: it belongs to root, perhaps since a sudo\n"
    for mode in (0o755, 0o700):
        directory.chmod(mode)
        assert run(script, directory) == f"{directory} {why}"
    os.chown(directory, NOBODY, NOBODY)
    assert run(script, directory) == f"{directory / 'outbox.db'} {why}"
    assert set_aside(directory) == []


@as_root
def test_root_leaves_nothing_in_a_users_directory_and_a_user_can_use_roots_that_is_open_to_all(shared: Path) -> None:
    os.chown(shared, NOBODY, NOBODY)
    for below in (shared, shared / "state" / "logsh"):
        with pytest.raises(StoreUnavailable, match="belongs to"):
            Outbox.open(below)
    assert list(shared.iterdir()) == []
    os.chown(shared, 0, 0)
    shared.chmod(0o777)
    assert run(AS_NOBODY + "print(Outbox.open(directory).add(ME, [body('x')]))", shared) == "[1]\n"


def test_nobody_else_can_read_the_store(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    run("os.umask(0); o = Outbox.open(directory); o.add(ME, [body('x')])\nwith o.flush_lock(): os._exit(0)", directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert {"outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.lock", "outbox.ledger", "flush.lock"} == set(modes)
    assert set(modes.values()) == {0o600}


def test_any_directory_name_will_do(tmp_path: Path) -> None:
    directory = tmp_path / "with space?and#marks%41 ünïcode 🦊 bytes\udcff"
    assert Outbox.open(directory).add(ME, [body("x")]) == [1]
    assert (directory / "outbox.db").exists()


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_bytes(rb"""/dev/vda / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
tmpfs /home/ann/scratch tmpfs rw 0 0
//server/share /mnt/my\040share cifs rw 0 0
/dev/vdb /over ext3 rw 0 0
/dev/vdc /over xfs rw 0 0""")
    kinds = {"/var/none": "ext4", "/home/ann/.local/state": "nfs4", "/home/ann/scratch/x": "tmpfs"}
    for path, kind in {**kinds, "/homely": "ext4", "/mnt/my share/x": "cifs", "/over": "xfs"}.items():
        assert file_system_of(Path(path), mounts) == kind, path


def test_opening_a_store_that_exists_takes_no_lock(tmp_path: Path) -> None:
    Outbox.open(tmp_path).close()
    with (tmp_path / "outbox.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert Outbox.open(tmp_path).add(ME, [body("x")]) == [1]


def test_a_full_disk_says_that_room_is_needed() -> None:
    db = sqlite3.connect(":memory:")
    db.execute("PRAGMA max_page_count = 2")
    db.execute("CREATE TABLE full (body)")
    with pytest.raises(sqlite3.OperationalError) as full:
        db.execute("INSERT INTO full VALUES (zeroblob(100000))")
    db.close()
    error = unavailable("outbox.db", full.value)
    assert error.message == "the outbox outbox.db can't be used: the disk is full"
    assert error.hint == "make room on that disk"
