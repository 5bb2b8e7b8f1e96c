"""``logsh sandbox --expect``: what a script sends, held against what it should send."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logsh_cli.errors import UsageError
from logsh_cli.sandbox.expectations import Expectations, parse_expectations
from tests.support.command import LOGSH, environment
from tests.support.inprocess import call_main

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Completed

    Logsh = Callable[..., Completed]

EVENT = {
    "workspace": "web",
    "event": "backup.nightly",
    "description": "succeeded in 3s",
    "metadata": {"exit_code": 0, "ok": True, "ratio": 0.5, "zero": "0", "a.b": "c=d"},
}
TWO = "logsh send -q -e backup.nightly -d first -m exit_code:=2 && logsh send -q -e c -d second --notify"


def expected(*conditions: str, none: bool = False, count: int | None = None) -> Expectations:
    expectations = parse_expectations(conditions, none=none, count=count)
    assert expectations is not None
    return expectations


def test_a_condition_compares_text_as_it_is_and_all_else_as_json() -> None:
    for condition in (
        *("workspace=web", "event=backup.nightly", "description=succeeded in 3s", "notify=false", "metadata.ok=true"),
        *("metadata.exit_code=0", "metadata.exit_code=0.0", "metadata.ratio=0.5", "metadata.zero=0"),
        "metadata.a.b=c=d",
    ):
        assert expected(condition).complaint([EVENT]) == [], condition
    for condition in (
        *("workspace=Web", "event=backup", "event=", "icon=", "notify=true", "notify=0", "metadata.exit_code="),
        *("metadata.ok=1", "metadata.exit_code=false", "metadata.ok=True", "metadata.missing=null"),
        *("metadata.missing=", "metadata.exit_code=[0"),
    ):
        assert expected(condition).complaint([EVENT]), condition


def test_one_event_must_meet_all_conditions() -> None:
    other = {**EVENT, "event": "other", "metadata": {}}
    together = expected("event=other", "metadata.exit_code=0")
    assert together.complaint([EVENT, other])
    assert not together.complaint([other, {**EVENT, "event": "other"}])


def test_the_complaint_shows_the_difference_to_the_nearest_event() -> None:
    wanted = expected("event=backup.nightly", "metadata.exit_code=2", "metadata.ok=false", "icon=✅")
    assert wanted.complaint([{**EVENT, "event": "other"}, EVENT]) == [
        f"expected an event with {', '.join(map(str, wanted.conditions))}; none of 2 received matches",
        "  - expected   + received, the nearest, number 2",
        "    event=backup.nightly",
        "  - metadata.exit_code=2",
        "  + metadata.exit_code=0",
        "  - metadata.ok=false",
        "  + metadata.ok=true",
        "  - icon=✅",
        "  + no icon",
    ]


def test_a_count_is_of_the_events_that_meet_the_conditions() -> None:
    for expectations, events, met in (
        (expected(none=True), 0, True),
        (expected(none=True), 1, False),
        (expected("event=other", none=True), 1, True),
        (expected("event=backup.nightly", none=True), 1, False),
        (expected(count=0), 1, False),
        (expected(count=2), 2, True),
        (expected(count=2), 3, False),
        (expected("event=backup.nightly", count=2), 1, False),
        (expected("event=backup.nightly", count=2), 2, True),
        (expected("event=backup.nightly"), 3, True),
        (expected("event=backup.nightly"), 0, False),
    ):
        assert (expectations.complaint([EVENT] * events) == []) is met, (expectations, events)


def test_the_complaint_about_a_number_says_how_many_there_were() -> None:
    assert expected(none=True).complaint([EVENT]) == ["expected no events; 1 received"]
    assert expected(count=2).complaint([]) == ["expected 2 events; none received"]
    first = expected("notify=false", count=1).complaint([EVENT, EVENT, {**EVENT, "notify": True}])
    assert first == ["expected 1 event with notify=false; 2 of 3 received match"]


def test_what_names_no_field_is_a_usage_error_with_the_fields_that_there_are() -> None:
    for given in ("", "event", "=x", "desc=x", "metadata.=x", "metadata=x", "exit_code=0", "Event=x"):
        with pytest.raises(UsageError) as caught:
            parse_expectations([given, "event=a"], none=False, count=None)
        assert repr(given.removeprefix("=")) in caught.value.message
        assert "metadata.KEY" in caught.value.message
        assert "event=a" not in caught.value.message
        assert given != "desc=x" or "description" in str(caught.value.hint)


# The command


def test_it_ends_with_0_and_in_silence_if_what_came_is_as_expected(logsh: Logsh) -> None:
    options = ("--expect", "event=backup.nightly", "--expect", "metadata.exit_code=2", "--expect-count", "1")
    done = logsh("sandbox", "-q", *options, "--", "sh", "-c", TWO)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


def test_it_ends_with_1_and_the_difference_on_standard_error_beside_the_commands_own_output(logsh: Logsh) -> None:
    options = ("--json", "--expect", "event=a\x1b[2J", "--expect-count", "3")
    done = logsh("sandbox", *options, "--", "sh", "-c", f"echo own output; {TWO}; echo end")
    assert done.code == 1
    assert [line["event"]["event"] for line in map(json.loads, done.stdout.splitlines())] == ["backup.nightly", "c"]
    assert done.stderr.splitlines()[:2] == ["own output", "end"]
    assert "expected 3 events" in done.stderr
    assert "\\x1b" in done.stderr
    assert "\x1b" not in done.stderr
    assert "  + event=backup.nightly\n" in done.stderr


def test_the_commands_own_failure_goes_before_the_expectation(logsh: Logsh) -> None:
    done = logsh("sandbox", "--expect", "event=a", "--", "sh", "-c", "exit 3")
    assert done.code == 3
    assert "expected" not in done.stderr


def test_an_expectation_that_cannot_be_checked_is_a_usage_error_and_nothing_runs() -> None:
    run = ("--", "touch", "ran")
    for options in (
        ("--expect", "event=a"),
        ("--expect-none",),
        ("--expect", "x", *run),
        ("--expect-none", "--expect-count", "0", *run),
    ):
        done = call_main("sandbox", *options)
        assert (done.code, done.stdout, Path("ran").exists()) == (2, "", False), options
        assert "--expect" in done.stderr


# Where the events go


def test_with_json_and_no_standard_output_the_command_runs_all_the_same(tmp_path: Path) -> None:
    argv = ["sh", "-c", f'exec "{LOGSH}" sandbox --json -- touch "{tmp_path}/ran" >&-']
    subprocess.run(argv, env=environment(), check=True, timeout=60)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("quiet", ["-q", "--json"])
def test_with_an_output_file_standard_output_is_the_commands_alone(logsh: Logsh, tmp_path: Path, quiet: str) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("of last time\n")
    script = f"echo own; {TWO}"
    options = (quiet, "--fail", "503", "--output", "events.jsonl")
    done = logsh("sandbox", *options, "--", "sh", "-c", script, cwd=tmp_path)
    assert (done.code, done.stdout) == (0, "own\n")
    events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [line["event"]["event"] for line in events] == ["backup.nightly", "c"]
    assert all(list(line) == ["event", "received_at", "status"] and line["status"] == 201 for line in events)
    assert (done.stderr == "") is (quiet == "-q")


def test_an_output_file_that_cannot_be_written_is_a_usage_error_before_anything_runs() -> None:
    done = call_main("sandbox", "--output", "/nowhere/events", "--", "touch", "ran")
    assert (done.code, done.stdout, Path("ran").exists()) == (2, "", False)
    assert "--output" in done.stderr
