from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logsh_cli.errors import UsageError
from logsh_cli.event import utf16_length
from logsh_cli.job import NotifyOn, RunOptions, parse_success_codes
from logsh_cli.job.child import Ending, Kind
from logsh_cli.job.outcome import (
    STATUSES,
    Outcome,
    Past,
    Status,
    command_name,
    describe,
    duration_in_words,
    judge,
    metadata,
    wants_push,
    wants_report,
)

if TYPE_CHECKING:
    from pathlib import Path

ZERO = frozenset({0})


def ending(
    kind: Kind, code: int | None = None, number: int | None = None, seconds: float = 192.0, reason: str | None = None
) -> Ending:
    return Ending(kind, code, number, seconds, reason=reason)


def outcome(status: Status, seconds: float = 192.0) -> Outcome:
    return Outcome(status, 0 if status == "succeeded" else 2, None, seconds)


# --- judging and telling --------------------------------------------------------------------------------------------

TERM = frozenset({15})


def exited(code: int, **more: Any) -> Ending:
    return ending("exited", code)._replace(**more)


def died(number: int, **more: Any) -> Ending:
    return ending("signaled", None, number)._replace(**more)


@pytest.mark.parametrize(
    ("ended", "status", "description"),
    [
        (exited(0), "succeeded", "succeeded in 3m 12s"),
        (exited(24), "succeeded", "succeeded in 3m 12s"),
        (exited(2), "failed", "failed with exit code 2 after 3m 12s"),
        (died(15), "killed", "killed by SIGTERM after 3m 12s"),
        (died(34), "killed", "killed by SIGRTMIN after 3m 12s"),
        (died(37), "killed", "killed by SIGRTMIN+3 after 3m 12s"),
        (died(10), "succeeded", "succeeded in 3m 12s"),
        (exited(138), "succeeded", "succeeded in 3m 12s"),
        (died(15, ordered=TERM), "stopped", "stopped by SIGTERM after 3m 12s"),
        (exited(143, ordered=TERM), "stopped", "stopped by SIGTERM after 3m 12s"),
        (exited(1, ordered=TERM), "failed", "failed with exit code 1 after 3m 12s"),
        (died(9, ordered=TERM), "killed", "killed by SIGKILL after 3m 12s"),
        (exited(0, ordered=TERM), "succeeded", "succeeded in 3m 12s"),
        (exited(0, output_error="no space"), "failed", "failed with exit code 1 after 3m 12s"),
        (died(15, kind="timed_out"), "timed_out", "timed out after 3m 12s"),
        (exited(0, kind="timed_out"), "timed_out", "timed out after 3m 12s"),
        (exited(127, kind="not_started", reason="not found"), "not_started", "could not start x: not found"),
    ],
)
def test_an_ending_is_judged_and_told(ended: Ending, status: Status, description: str) -> None:
    judged = judge(ended, parse_success_codes("0,24,SIGUSR1"))
    assert judged.status == status
    assert (judged.succeeded, judged.failed) == (status == "succeeded", status not in ("succeeded", "stopped"))
    assert describe(judged, "x") == description
    assert describe(judged, "x", " Nightly backup ") == f"Nightly backup: {description}"


def test_code_0_is_a_failure_where_it_is_not_among_the_success_codes() -> None:
    assert judge(ending("exited", 0), frozenset({1})).status == "failed"


def test_an_overlong_prefix_is_shortened_and_the_ending_is_kept() -> None:
    told = describe(judge(ending("signaled", None, 9), ZERO), "x", "💥" * 200)
    assert told.endswith("…: killed by SIGKILL after 3m 12s")
    assert utf16_length(told) in (149, 150)


def test_an_overlong_reason_is_shortened() -> None:
    told = describe(judge(ending("not_started", 127, reason="x" * 500), ZERO), "c", "Backup")
    assert told.startswith("could not start c: xxx")
    assert utf16_length(told) == 150


@given(
    prefix=st.text(alphabet=st.characters(exclude_categories=())), reason=st.text(), status=st.sampled_from(STATUSES)
)
def test_a_description_always_fits(prefix: str, reason: str, status: Status) -> None:
    assert 0 < utf16_length(describe(Outcome(status, 1, "SIGTERM", 1.0, reason), "c" * 200, prefix)) <= 150


def test_a_duration_in_words() -> None:
    for seconds, words in {
        -1: "0s",
        0: "0s",
        0.04: "0s",
        0.4: "0.4s",
        0.96: "1s",
        1.25: "1.2s",
        9.94: "9.9s",
        9.96: "10s",
        12.4: "12s",
        59.4: "59s",
        59.6: "1m",
        60: "1m",
        192: "3m 12s",
        3599.7: "1h",
        7500: "2h 5m",
        7559: "2h 5m",
        86400: "1d",
        3 * 86400 + 4 * 3600 + 59: "3d 4h",
        1000 * 86400: "1000d",
    }.items():
        assert duration_in_words(seconds) == words, seconds


def test_metadata_has_what_is_known_and_nothing_empty() -> None:
    killed = judge(ending("signaled", None, signal.SIGTERM, seconds=1.23456), ZERO)
    assert metadata(killed, "web1", "backup.sh") == {
        "status": "killed",
        "signal": "SIGTERM",
        "duration_s": 1.235,
        "host": "web1",
        "command": "backup.sh",
    }
    assert metadata(outcome("failed"), "", "x", "boom") == {
        "status": "failed",
        "exit_code": 2,
        "duration_s": 192.0,
        "command": "x",
        "output": "boom",
    }


def test_metadata_strings_fit_the_services_limit() -> None:
    values = metadata(outcome("failed"), "h" * 600, "💥" * 400, "o" * 600)
    assert all(utf16_length(value) <= 500 for value in values.values() if isinstance(value, str))


# --- what is worth telling ------------------------------------------------------------------------------------------

FAILURES: list[Status] = ["failed", "killed", "timed_out", "not_started"]


def test_what_does_not_depend_on_the_past() -> None:
    wanted: dict[str, set[Status]] = {
        "always": set(STATUSES),
        "failure": set(FAILURES),
        "success": {"succeeded"},
        "never": set(),
    }
    for past in map(Past.parse, (None, *STATUSES)):
        for status in STATUSES:
            for on in ("always", "failure", "success"):
                options = RunOptions((), on=on)
                assert wants_report(options, outcome(status), past) == (status in wanted[on]), (on, status, past)
            for on in ("always", "failure", "never"):
                assert wants_push(on, outcome(status), past) == (status in wanted[on]), (on, status, past)  # type: ignore[arg-type]


def test_a_change_is_breaking_or_recovering_and_never_a_stop() -> None:
    cases: list[tuple[str | None, bool, bool]] = [
        (None, False, True),
        ("succeeded", False, True),
        ("later", False, True),
    ]
    cases += [(status, True, False) for status in FAILURES]
    for stored, of_success, of_failure in cases:
        for status in STATUSES:
            wanted = {"succeeded": of_success, "stopped": False}.get(status, of_failure)
            past = Past.parse(stored)
            assert wants_report(RunOptions((), on="change"), outcome(status), past) == wanted, (stored, status)
            assert wants_push("change", outcome(status), past) == wanted, (stored, status)


RUNS: tuple[Status, ...] = ("succeeded", "failed", "killed", "stopped", "timed_out", "succeeded", "failed", "succeeded")


@pytest.mark.parametrize(
    ("notify_on", "after", "pushes"),
    [
        ("failure", 1, [1, 2, 4, 6]),
        ("failure", 2, [2, 4, 5]),
        ("failure", 4, []),
        ("change", 1, [1, 5, 6, 7]),
        ("change", 2, [2, 5]),
        ("always", 2, list(range(8))),
        ("never", 2, []),
    ],
)
def test_pushes_over_several_runs(notify_on: NotifyOn, after: int, pushes: list[int]) -> None:
    stored: str | None = None
    pushed = []
    for number, status in enumerate(RUNS):
        past = Past.parse(stored)
        if wants_push(notify_on, outcome(status), past, after):
            pushed.append(number)
        stored = str(past.then(outcome(status)))
    assert pushed == pushes


def test_what_is_remembered_counts_failures_in_a_row() -> None:
    stored = [str(Past.parse(before).then(outcome("failed"))) for before in (None, "succeeded", "killed", "failed/41")]
    assert stored == ["failed", "failed", "failed/2", "failed/42"]
    assert Past.parse("failed/9").then(outcome("stopped")) == Past("failed", 9)
    assert Past.parse("failed/9").then(outcome("succeeded")) == Past("succeeded", 0)
    assert Past.parse("failed/x") == Past("failed", 1)


def test_only_what_took_long_is_reported_and_every_failure() -> None:
    options = RunOptions((), longer_than=600)
    assert [wants_report(options, outcome("succeeded", seconds), Past()) for seconds in (599, 600)] == [False, True]
    assert wants_report(options, outcome("failed", 1), Past())
    assert not wants_report(options, outcome("stopped", 1), Past())


# --- parsing --------------------------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_success_codes(text)


def test_success_codes_are_understood() -> None:
    assert parse_success_codes(" 1 , 2,2,007") == {1, 2, 7}
    assert parse_success_codes("0,255") == {0, 255}
    assert parse_success_codes("0,SIGTERM,sigint,143") == {0, 130, 143}


def test_anything_else_is_no_success_code() -> None:
    for text in ("", ",", "0,", "256", "-1", "a", "1.0", "1 2", "²", "٣", "9" * 5000, "SIG", "SIGNOT", "SIG_DFL"):
        with pytest.raises(UsageError, match="--success-codes must be exit codes from 0 to 255"):
            parse_success_codes(text)


def test_the_default_event_name_is_the_base_name_of_the_command() -> None:
    for word, name in {
        "./backup.sh": "backup.sh",
        "/usr/bin/rsync": "rsync",
        "make": "make",
        "dir/": "dir",
        "/": "command",
        "": "command",
        " ": "command",
        b"/bin/caf\xc3\xa9": "café",
        b"/bin/\xff": "\ufffd",
        "/bin/\udcff": "\ufffd",
        "a\nb\x1b": "a\ufffdb\ufffd",
    }.items():
        assert command_name([word, "--token", "x"]) == name  # type: ignore[list-item]
    assert command_name([]) == "command"


def test_of_what_could_not_start_only_the_first_word_is_named_unless_it_is_a_file(tmp_path: Path) -> None:
    for command, name in (
        ("curl -u admin:hunter2 https://host/x", "curl"),
        ("/usr/bin/curl -u admin:hunter2", "curl"),
        ("  make  all", "make"),
        (" ", "command"),
        ("nosuch", "nosuch"),
    ):
        assert command_name([command], started=False) == name
    (tmp_path / "my script").touch()
    assert command_name([str(tmp_path / "my script")], started=False) == "my script"
