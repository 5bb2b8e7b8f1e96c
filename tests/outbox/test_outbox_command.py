"""``logsh outbox``: what is kept, shown to people and to programs, put back and dropped."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli.outbox import Outbox
from logsh_cli.outbox.rows import age
from tests.support.command import LOGSH, environment
from tests.support.inprocess import call_main
from tests.support.kept import arrived, body_of, keep, shelve
from tests.support.pty_session import Session
from tests.support.sending import KEY, LATER, kept_rows, settings_for
from tests.support.server import Server, error

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Completed

HOUR = 3600.0
UNAVAILABLE = "the service is not available: later (HTTP 503)"
ROW_KEYS = ["id", "state", "event", "profile", "accepted_at", "attempts", "not_before", "rejected_at"]
ROW_KEYS += ["http_status", "error"]


def json_lines(done: Completed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def one_of_each(tmp_path: Path) -> None:
    """#1 was never tried, #2 failed and waits, #3 was refused, #4 is being delivered."""
    now = time.time()
    keep(tmp_path, "untried", at=now - 3 * HOUR - 60)
    keep(tmp_path, "failed", at=now - 300, lease="l")
    keep(tmp_path, "refused", at=now - 20 * 24 * HOUR, lease="l")
    keep(tmp_path, "leased", lease="l")
    facts = {"attempts": 3, "error_name": "unavailable", "error_message": UNAVAILABLE, "http_status": 503}
    store = Outbox.open(tmp_path / "state", now=lambda: now)
    store.failed(2, "l", **facts, not_before=now + HOUR)  # type: ignore[arg-type]
    store.close()
    shelve(tmp_path, 3)


# Nothing there


def test_without_an_outbox_or_in_an_empty_one_there_is_nothing_to_do_and_none_is_made(tmp_path: Path) -> None:
    said = {"list": "", "list --json": "", "flush": "nothing to deliver", "flush -q": "", "retry --all": "0 put back"}
    for is_empty in (False, True):
        for command, words in {**said, "drop --all": "0 dropped"}.items():
            done = call_main("outbox", *command.split())
            assert (done.code, done.stdout[: len(words) or None]) == (0, words), command
            none = "logsh: the outbox is empty: nothing is waiting, and nothing was refused\n" * (command == "list")
            assert done.stderr == none
        assert (tmp_path / "state").exists() == is_empty
        call_main("outbox", "drop", *map(str, keep(tmp_path, "e")))


# What there is


def test_a_list_is_a_line_for_each_event_with_what_a_person_asks_about(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    done = call_main("outbox", "list")
    assert done.code == 0
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["1", "waiting", "3h", "0", "untried", ""],
        ["2", "waiting", "5m", "3", "failed", UNAVAILABLE],
        ["3", "refused", "20d", "1", "refused", "Icon must be a valid emoji."],
        ["4", "waiting", "0s", "0", "leased", ""],
    ]
    ages = [age(seconds) for seconds in (-1, 59, 60, 3_599, 3_600, 86_399, 86_400)]
    assert ages == ["0s", "59s", "1m", "59m", "1h", "23h", "1d"]
    assert "3 waiting; they go out with the next event, or with `logsh outbox flush`" in done.stderr
    assert "1 refused by the service; `logsh outbox show ID` says why" in done.stderr


def test_a_program_gets_one_json_object_a_line(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    done = call_main("outbox", "list", "--json")
    assert (done.code, done.stderr) == (0, "")
    rows = json_lines(done)
    assert [list(row) for row in rows] == [ROW_KEYS] * 4
    states = [(1, "pending", 0), (2, "pending", 3), (3, "rejected", 1), (4, "leased", 0)]
    assert [(row["id"], row["state"], row["attempts"]) for row in rows] == states
    assert rows[0]["event"] == {"workspace": "shop", "event": "untried", "description": "d"}
    assert rows[0]["profile"] == "default"
    assert rows[0]["error"] is rows[0]["not_before"] is rows[0]["rejected_at"] is rows[0]["http_status"] is None
    assert rows[1]["error"]["name"] == "unavailable"
    assert rows[1]["not_before"].endswith("+00:00")
    assert rows[2]["error"] == {"name": "refused", "message": "Icon must be a valid emoji."}
    assert rows[2]["http_status"] == 403


def test_one_event_is_shown_whole(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    done = call_main("outbox", "show", "2")
    assert done.code == 0
    pairs = (line.split("  ", 1) for line in done.stdout.splitlines())
    facts = {label.strip(): value.strip() for label, value in pairs}
    assert facts.pop("accepted").endswith("(5m ago)")
    assert facts.pop("next try").endswith(", unless flushed before")
    assert facts == {
        "id": "2",
        "state": "waiting to be delivered",
        "profile": "default",
        "tries": "3",
        "last error": UNAVAILABLE,
        "workspace": "shop",
        "event": "failed",
        "description": "d",
    }
    assert json_lines(call_main("outbox", "show", "2", "--json"))[0]["id"] == 2
    assert "`logsh outbox retry` puts it back" in call_main("outbox", "show", "3").stdout
    assert "being delivered at this moment" in call_main("outbox", "show", "4").stdout


def test_what_is_not_there_can_not_be_shown(tmp_path: Path) -> None:
    keep(tmp_path, "e")
    for event_id in ("7", "0", "-1", "99999999999999999999", "x"):
        done = call_main("outbox", "show", "--", event_id)
        assert (done.code, done.stdout, done.stderr[:7]) == (2, "", "logsh: "), event_id


def test_text_from_outside_is_shown_harmless(tmp_path: Path) -> None:
    (event_id,) = keep(tmp_path, "a\x1b[2Jb\nc", lease="l")
    shelve(tmp_path, event_id, "no\x1b[2J\tsuch\nthing")
    for args in (("list",), ("show", "1")):
        done = call_main("outbox", *args)
        assert "\x1b" not in done.stdout
        assert "a\\x1b[2Jb\\nc" in done.stdout
    assert len(call_main("outbox", "list").stdout.splitlines()) == 1


def test_no_key_is_shown_or_stored(tmp_path: Path, service: Server) -> None:
    service.default = error(503, message=f"your key {KEY} is fine", headers=LATER)
    env = settings_for(service)
    assert call_main("send", "-e", "e", "-d", "d", env=env).code == 75
    for args in (("list",), ("list", "--json"), ("show", "1"), ("show", "1", "--json")):
        done = call_main("outbox", *args)
        assert done.code == 0
        assert KEY not in done.stdout + done.stderr
    for file in (tmp_path / "state").iterdir():
        assert KEY.encode() not in file.read_bytes()


# Putting back and dropping


def test_refused_events_are_put_back_and_tried_at_once(tmp_path: Path, service: Server) -> None:
    ids = keep(tmp_path, "a", "b", "c", lease="l")
    for event_id in ids:
        shelve(tmp_path, event_id)
    done = call_main("outbox", "retry", "1", env=settings_for(service))
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("1 put back\n1 delivered (")
    service.script(error(403, "validation_error", "No."))
    done = call_main("outbox", "retry", "--all", "--json", env=settings_for(service))
    assert (done.code, done.json) == (0, {"done": 2, "leased": [], "missing": []})
    assert len(arrived(service)) == 2
    assert [row.state for row in kept_rows(tmp_path)] == ["rejected"]


def test_refused_and_waiting_events_are_put_back_without_a_key_too(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    done = call_main("outbox", "retry", "2", "3")
    assert (done.code, done.stdout) == (0, "2 put back\n")
    assert done.stderr.startswith("logsh: not sent yet: ")
    assert [row.state for row in kept_rows(tmp_path)] == ["pending", "pending", "pending", "leased"]
    assert json_lines(call_main("outbox", "show", "2", "--json"))[0]["not_before"] is None


def test_events_are_dropped_one_by_one_or_all_if_somebody_can_be_asked_or_said_yes(tmp_path: Path) -> None:
    keep(tmp_path, "a", "b", "c", "d")
    done = call_main("outbox", "drop", "2", "3", "2")
    assert (done.code, done.stdout, done.stderr) == (0, "2 dropped\n", "")
    done = call_main("outbox", "drop", "--all")
    message = "--all drops 2 events that were not delivered, and there is no terminal to ask at (add --yes)"
    assert (done.code, done.stdout, done.stderr) == (2, "", f"logsh: {message}\n")
    assert len(kept_rows(tmp_path)) == 2
    done = call_main("outbox", "drop", "--all", "-q", "--yes")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert kept_rows(tmp_path) == []


@pytest.mark.parametrize("action", ["retry", "drop"])
def test_what_can_not_be_changed_is_named_and_the_rest_is_done(tmp_path: Path, action: str) -> None:
    one_of_each(tmp_path)
    for args in ((), ("1", "--all")):  # neither or both
        done = call_main("outbox", action, *args)
        assert done.code == 2
        assert "name the events by their ids, or say --all" in done.stderr
    assert len(kept_rows(tmp_path)) == 4
    done = call_main("outbox", action, "3", "4", "77")
    assert done.code == 2
    assert done.stdout.startswith("1 ")
    assert "#4 is being delivered at this moment; left alone" in done.stderr
    assert "#77 is not there" in done.stderr
    done = call_main("outbox", action, "4", "77", "--json")
    assert (done.code, done.json) == (2, {"done": 0, "leased": [4], "missing": [77]})


# An outbox that can't be used


def test_an_outbox_that_can_not_be_used_is_said_with_69(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")
    for command in ("list", "list --json", "show 1", "flush", "retry --all", "drop --all"):
        done = call_main("outbox", *command.split())
        assert done.code == 69, command
        assert (done.stderr + done.stdout).count("can't be used") == 1


@pytest.mark.parametrize("command", ["list", "flush", "list --json"])
def test_a_damaged_outbox_is_set_aside_and_said_as_long_as_there_is_something_to_read_in_it(
    tmp_path: Path, command: str
) -> None:
    args = ("outbox", *command.split())
    keep(tmp_path, "e")
    for file in (tmp_path / "state").glob("outbox.db*"):
        file.write_bytes(b"\xa5" * 5_000)
    done = call_main(*args)
    assert done.code == 75
    assert "warning: the outbox" in done.stderr
    assert "was damaged" in done.stderr
    (aside,) = (tmp_path / "state").glob("outbox.db.corrupt-*Z")
    assert aside.name in done.stderr
    assert aside.read_bytes() == b"\xa5" * 5_000
    again = call_main(*args)
    assert again.code == 75
    assert f"the damaged outbox {aside} still holds events" in again.stderr
    aside.rename(tmp_path / "elsewhere")
    (tmp_path / "state" / (aside.name + "-wal")).unlink(missing_ok=True)
    assert call_main(*args).code == 0


def test_what_can_be_read_of_a_damaged_outbox_is_delivered_and_the_rest_is_counted(
    tmp_path: Path, service: Server
) -> None:
    """One bad page among 300 events: the others go out, and the missing ones are known by number."""
    keep(tmp_path, *[f"event {number}" for number in range(300)])
    file = tmp_path / "state" / "outbox.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(file.read_bytes())
    at = content.index(b"event 150") // 4096 * 4096
    content[at : at + 4096] = b"\xa5" * 4096
    file.write_bytes(content)
    done = call_main("outbox", "flush", "--json", env=settings_for(service))
    read = len(arrived(service))
    assert done.code == 75
    assert 250 < read < 300
    assert done.json["delivered"] == read
    assert f"with the {read} events that could be read; {300 - read} could not be read" in done.stderr
    assert f"{300 - read} could not be read" in call_main("outbox", "list").stderr
    recovered = call_main("outbox", "recover", "--json")
    assert recovered.code == 75
    assert (recovered.json["read"], recovered.json["unread"]) == (read, f"{300 - read} could not be read")
    assert kept_rows(tmp_path) == [], "what was delivered is not put back"


def test_a_set_aside_file_that_nobody_read_is_recovered_once_and_one_from_elsewhere_too(
    tmp_path: Path, service: Server
) -> None:
    keep(tmp_path, "a", "b")
    state = tmp_path / "state"
    for name in ("outbox.db", "outbox.db-wal", "outbox.db-shm"):
        if (state / name).exists():
            (state / name).rename(state / name.replace("outbox.db", "outbox.db.corrupt-20250101T000000Z"))
    done = call_main("outbox", "list")
    assert done.code == 75
    assert "`logsh outbox recover` reads it" in done.stderr
    done = call_main("outbox", "recover")
    assert (done.code, done.stdout.split(": ")[1]) == (0, "2 events read\n")
    assert call_main("outbox", "recover").stderr == "logsh: there is no damaged outbox with events that were not read\n"
    done = call_main("outbox", "recover", str(state / "outbox.db.corrupt-20250101T000000Z"))
    assert done.stdout.endswith(": 2 events read\n")
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert arrived(service) == ["a", "b"]
    keep(tmp_path, "c")
    state.rename(tmp_path / "backup")
    assert call_main("outbox", "recover", str(tmp_path / "backup" / "outbox.db")).code == 0
    assert [json.loads(row.body)["event"] for row in kept_rows(tmp_path)] == ["c"]
    assert call_main("outbox", "recover", str(tmp_path / "none")).code == 2


def test_events_that_the_present_key_does_not_deliver_are_marked_with_what_moves_them(tmp_path: Path) -> None:
    keep(tmp_path, "mine")
    keep(tmp_path, "old", key="logsh_another_key")
    keep(tmp_path, "works", profile="work")
    done = call_main("outbox", "list", env={"LOGSH_API_KEY": KEY})
    states = [line.split("\t")[1] for line in done.stdout.splitlines()]
    assert states == ["waiting", "waiting, other key", "waiting, profile work"]
    assert "1 waiting;" in done.stderr
    assert "1 accepted under another key; `logsh outbox flush --adopt`" in done.stderr
    assert "1 of another profile; `logsh outbox flush --profile NAME`" in done.stderr
    assert "3 waiting;" in call_main("outbox", "list").stderr, "without a key there is nothing to compare with"


def test_a_damaged_event_is_listed_shown_and_dropped_and_what_the_shelf_dropped_is_counted(
    tmp_path: Path, service: Server
) -> None:
    keep(tmp_path, "a", "b")
    db = sqlite3.connect(tmp_path / "state" / "outbox.db")
    db.execute("UPDATE events SET body = CAST('[1]' AS BLOB), body_crc = NULL WHERE id = 1")
    db.execute("UPDATE store SET dropped = 2")
    db.commit()
    db.close()
    done = call_main("outbox", "list")
    assert done.code == 0
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["damaged", "waiting"]
    assert "1 damaged; " in done.stderr
    assert "2 refused ones were dropped so far" in done.stderr
    assert json_lines(call_main("outbox", "list", "--json"))[0]["error"]["name"] == "damaged"
    assert "[1]" in call_main("outbox", "show", "1").stdout
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert arrived(service) == ["b"]
    assert call_main("outbox", "retry", "1").code == 2
    assert call_main("outbox", "drop", "1").code == 0
    assert kept_rows(tmp_path) == []


def test_dropping_everything_asks_a_person_first(tmp_path: Path) -> None:
    for answer, left in ((b"n", 2), (b"y", 0)):
        keep(tmp_path, *("a", "b")[: 2 - len(kept_rows(tmp_path))])
        with Session([str(LOGSH), "outbox", "drop", "--all"]) as session:
            session.shows(b"drop 2 events that were not delivered, for good? [y/N]")
            session.type(answer + b"\n")
            assert session.wait() == 0
        assert len(kept_rows(tmp_path)) == left
    keep(tmp_path, "a")
    assert call_main("outbox", "drop", "--all", "--yes").code == 0


# A great many


def test_a_long_list_ends_quietly_when_its_reader_has_seen_enough(tmp_path: Path) -> None:
    keep(tmp_path, *[f"e{number}" for number in range(5_000)])
    command = ["sh", "-c", '"$0" outbox list --json | head -n 1; "$0" outbox list | head -n 1', str(LOGSH)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("\n") == 2
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_a_body_is_stored_as_it_is_sent(tmp_path: Path, service: Server) -> None:
    keep(tmp_path, "größe 👩‍🚀")
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert service.requests[0].body == body_of("größe 👩‍🚀")
