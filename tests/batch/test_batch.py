"""``logsh batch`` as its users meet it: files and streams, bad lines, limits, signals, and a service that is away."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli.batch.lines import LONGEST_LINE
from logsh_cli.outbox import MAX_PENDING, Outbox, Owner
from tests.support import answers as says
from tests.support.command import LOGSH, environment
from tests.support.inprocess import call_main
from tests.support.processes import finish, kill_what_is_left, running, start_logsh, wait_until, wait_until_none_is_left
from tests.support.pty_session import Session
from tests.support.sending import KEY, LATER, Logsh, kept_rows, settings_for
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.answers import Answer
    from tests.support.command import Completed

TALLY_KEYS = ["accepted", "delivered", "queued", "rejected", "invalid", "elapsed_ms", "exit_code", "error"]
SOON_S = 20.0
"""Far more than anything here takes, even on a busy machine; far less than waiting for one event after another."""


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")


@pytest.fixture
def nobody() -> str:
    """The address of a service that is away."""
    with Server() as server:
        return server.url


def lines(count: int, start: int = 0) -> bytes:
    """Good lines, with the events ``e0``, ``e1``, …"""
    return b"".join(b'{"event":"e%d","description":"d"}\n' % number for number in range(start, start + count))


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def names(server: Server) -> list[str]:
    """What arrived, in the order of its numbers: workers overtake one another."""
    return sorted((body["event"] for body in server.events), key=lambda name: (len(name), name))


def tally(done: Completed, **expected: Any) -> dict[str, Any]:
    """That standard output is one line in the machine form, with these counts, and agrees with the exit code."""
    result: dict[str, Any] = done.json
    assert list(result) == TALLY_KEYS + ["last_line"] * ("last_line" in result)
    assert result["exit_code"] == done.code
    counts = dict.fromkeys(("accepted", "delivered", "queued", "rejected", "invalid"), 0)
    error = expected.pop("error", None)
    assert {name: result[name] for name in counts} == {**counts, **expected}, done.stderr
    assert (result["error"] and result["error"]["name"]) == error, result["error"]
    return result


# What a batch is


def test_every_line_becomes_an_event(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    file = write(
        tmp_path / "events.jsonl",
        b'{"event":"a","description":"d","icon":":rocket:","notify":true,"metadata":{"n":1}}\n'
        b'{"workspace":"other","event":"b","description":"d"}\n',
    )
    done = logsh("batch", file, "--json", "--jobs", "1", env=settings_for(service))
    tally(done, accepted=2, delivered=2)
    assert done.code == 0
    assert service.events == [
        {"workspace": "shop", "event": "a", "description": "d", "icon": "🚀", "notify": True, "metadata": {"n": 1}},
        {"workspace": "other", "event": "b", "description": "d"},
    ]
    assert kept_rows(tmp_path) == []


@pytest.mark.parametrize("args", [(), ("-",)], ids=["no argument", "dash"])
def test_standard_input_is_read(logsh: Logsh, service: Server, args: tuple[str, ...]) -> None:
    done = logsh("batch", *args, stdin=lines(3), env=settings_for(service))
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("3 delivered (")
    assert names(service) == ["e0", "e1", "e2"]


def test_quiet_says_nothing_on_success(service: Server, tmp_path: Path) -> None:
    done = call_main("batch", write(tmp_path / "f", lines(2)), "-q", env=settings_for(service))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("content", [b"", b"\n\r\n  \n\xef\xbb\xbf\n"], ids=["no bytes", "empty lines"])
def test_no_lines_are_no_trouble(service: Server, tmp_path: Path, content: bytes) -> None:
    done = call_main("batch", write(tmp_path / "f", content), "--json", env=settings_for(service))
    tally(done)
    assert done.code == 0


def test_a_file_from_windows_is_read(service: Server, tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + lines(3).replace(b"\n", b"\r\n\r\n")
    done = call_main("batch", write(tmp_path / "f", content), "--json", env=settings_for(service))
    tally(done, accepted=3, delivered=3)


def test_no_event_is_sent_twice_or_left_out(logsh: Logsh, service: Server) -> None:
    done = logsh("batch", "--json", "--jobs", "8", stdin=lines(1_000), env=settings_for(service))
    tally(done, accepted=1_000, delivered=1_000)
    assert names(service) == [f"e{number}" for number in range(1_000)]


# Bad lines

MIXED = (
    b'{"event":"good","description":"1"}\n'
    b"not json\n"
    b"\n"
    b'{"event":"x","description":"d","colour":"red"}\n'
    b'{"event":"","description":"d","icon":"x"}\n'
    b'{"event":"%s","description":"d"}\n'
    b'{"event":"\xff","description":"d"}\n'
    b'{"event":"x","description":"d","metadata":{"n":NaN}}\n'
    b'{"event":"x","event":"y","description":"d"}\n'
    b'{"event":"good","description":"2"}'
) % (b"x" * 2 * LONGEST_LINE)
BAD = {
    2: "not valid JSON",
    4: '"colour" is not a field',
    5: "event must not be empty; icon ",
    6: "longer than 1048576 bytes",
    7: "not valid UTF-8",
    8: 'metadata "n" must be a number',
    9: "a key comes twice",
}


@pytest.mark.parametrize("quiet", [(), ("-q",)], ids=["", "quiet"])
def test_bad_lines_are_reported_by_number_and_the_others_go_out(
    service: Server, tmp_path: Path, quiet: tuple[str, ...]
) -> None:
    done = call_main("batch", write(tmp_path / "f", MIXED), *quiet, env=settings_for(service))
    assert done.code == 65
    reported = [line for line in done.stderr.splitlines() if line.startswith("logsh: line ")]
    assert [int(line.split()[2].rstrip(":")) for line in reported] == list(BAD)
    for line, said in zip(reported, BAD.values(), strict=True):
        assert said in line
        assert len(line) < 300
    assert sorted(body["description"] for body in service.events) == ["1", "2"]
    assert kept_rows(tmp_path) == []


def test_the_machine_form_counts_bad_lines_and_they_are_reported_all_the_same(service: Server, tmp_path: Path) -> None:
    done = call_main("batch", write(tmp_path / "f", MIXED), "--json", env=settings_for(service))
    tally(done, accepted=2, delivered=2, invalid=7, error="refused")
    assert done.stderr.count("logsh: line ") == 7


def test_events_that_the_service_refuses_are_shelved(service: Server, tmp_path: Path) -> None:
    service.script(says.error(403, "validation_error", "Icon must be a valid emoji."))
    file = write(tmp_path / "f", lines(3))
    done = call_main("batch", file, "--json", "--jobs", "1", env=settings_for(service))
    result = tally(done, accepted=3, delivered=2, rejected=1, error="refused")
    assert done.code == 65
    assert "Icon must be a valid emoji." in result["error"]["message"]
    assert [row.state for row in kept_rows(tmp_path)] == ["rejected"]


def test_an_event_or_description_that_is_too_long_can_be_shortened(service: Server, tmp_path: Path) -> None:
    file = write(tmp_path / "f", b'{"event":"e","description":"%s"}\n' % (b"x" * 400))
    assert call_main("batch", file, env=settings_for(service)).code == 65
    assert call_main("batch", file, "--truncate", env=settings_for(service)).code == 0
    assert service.events[0]["description"] == "x" * 149 + "…"


def test_best_effort_forgives_bad_lines_and_a_service_that_is_away(nobody: str, tmp_path: Path) -> None:
    env = {"LOGSH_API_URL": nobody, "LOGSH_API_KEY": KEY, "LOGSH_WORKSPACE": "shop"}
    file = write(tmp_path / "f", lines(2) + b"bad\n")
    done = call_main("batch", file, "--json", "--best-effort", "--deadline", "0.5", env=env)
    result = done.json
    assert (result["exit_code"], result["queued"], result["invalid"]) == (0, 2, 1)


# A dry run


def test_a_dry_run_checks_every_line_and_sends_and_stores_nothing(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good", lines(3)), write(tmp_path / "bad", MIXED)
    done = call_main("batch", good, "--dry-run", "-w", "shop")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("dry_run: 3 good, nothing was sent (")
    assert call_main("batch", good, "--dry-run", "-w", "shop", "-q").stdout == ""
    tally(call_main("batch", good, "--dry-run", "--json", "-w", "shop"), accepted=3)
    done = call_main("batch", bad, "--dry-run", "--json", "-w", "shop")
    tally(done, accepted=2, invalid=7, error="refused")
    assert done.code == 65
    assert not (tmp_path / "state").exists()


def test_a_dry_run_misses_a_workspace_that_nobody_set(tmp_path: Path) -> None:
    done = call_main("batch", write(tmp_path / "good", lines(1)), "--dry-run")
    assert done.code == 65
    assert "line 1: workspace is required" in done.stderr


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    script = (
        "import os, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )

    def peak(count: int) -> int:
        file = write(tmp_path / str(count), lines(count))
        command = [sys.executable, "-c", script, str(LOGSH), "batch", "--dry-run", "-w", "shop", file]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
        code, size = map(int, done.stdout.split())
        assert code == 0
        return size

    assert peak(100_000) < 1.2 * peak(1_000)


# What can't be read


def test_an_input_that_can_not_be_opened_is_wrong_usage(service: Server, tmp_path: Path) -> None:
    for file, said in (
        (str(tmp_path / "missing"), "No such file"),
        (str(tmp_path), "it is a directory"),
        ("a\0b", "not a valid file name"),
    ):
        done = call_main("batch", file, "--json", env=settings_for(service))
        result = tally(done, error="usage")
        assert done.code == 2
        assert said in result["error"]["message"]
    assert not (tmp_path / "state").exists()


def test_closed_standard_input_is_wrong_usage(service: Server) -> None:
    command = ["sh", "-c", 'exec "$0" batch --json <&-', str(LOGSH)]
    done = subprocess.run(command, env=environment(settings_for(service)), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard input is closed" in json.loads(done.stdout)["error"]["message"]


def test_an_input_that_breaks_off_in_a_fault_loses_nothing_that_was_read(service: Server) -> None:
    """A terminal whose other side goes away gives EIO, as a disk that fails would."""
    near, far = os.openpty()
    with running("batch", "--json", "-q", env=settings_for(service), stdin=far) as batch:
        os.close(far)
        os.write(near, lines(3))
        service.wait_for_events(3)
        os.close(near)
        done = finish(batch)
    tally(done, accepted=3, delivered=3, error="refused")
    assert done.code == 65
    assert "can't be read any further" in done.json["error"]["message"]


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_a_rate_is_a_number_above_0(rate: str) -> None:
    assert call_main("batch", "--rate", rate, os.devnull).code == 2


def test_a_missing_key_and_a_missing_workspace_are_told_together(tmp_path: Path) -> None:
    done = call_main("batch", write(tmp_path / "f", lines(2)))
    assert (done.code, done.stdout) == (78, "")
    assert "there is no API key and no workspace yet" in done.stderr


def test_without_a_key_nothing_is_taken_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    file = write(tmp_path / "f", lines(2))
    done = call_main("batch", file, "--json", "-w", "shop")
    tally(done, error="missing_key")
    assert done.code == 78
    done = call_main("batch", file, "--json", "-w", "shop", "--on-missing-key", "skip")
    tally(done, error="missing_key")
    assert done.code == 0
    done = call_main("batch", file, "-w", "shop", "--on-missing-key", "skip")
    assert (done.code, done.stdout) == (0, "")
    assert done.stderr == "logsh: skipped: there is no API key (run `logsh login`, or set LOGSH_API_KEY)\n"
    assert not (tmp_path / "state").exists()


# Streams


def test_each_line_of_a_stream_is_delivered_while_the_stream_stays_open(service: Server) -> None:
    with running("batch", "-", "--json", env=settings_for(service), stdin=subprocess.PIPE) as batch:
        assert batch.stdin is not None
        for number in range(5):
            batch.stdin.write(lines(1, number))
            batch.stdin.flush()
            service.wait_for_events(number + 1, SOON_S)
        batch.stdin.write(b'{"event":"the last line","description":"needs no end"}')
        batch.stdin.close()
        batch.stdin = None
        tally(finish(batch), accepted=6, delivered=6)


def test_a_stream_goes_on_after_bad_lines_and_an_outage(service: Server, tmp_path: Path) -> None:
    with running("batch", "--deadline", "0.3", env=settings_for(service), stdin=subprocess.PIPE) as batch:
        assert batch.stdin is not None
        batch.stdin.write(b"bad\n" + lines(1, 1))
        batch.stdin.flush()
        service.wait_for_events(1)
        wait_until(lambda: not kept_rows(tmp_path), "e1 is acknowledged")
        service.stop()
        batch.stdin.write(lines(1, 2))
        batch.stdin.flush()
        wait_until(lambda: any(row.attempts for row in kept_rows(tmp_path)), "e2 is tried and kept")
        service.start()
        batch.stdin.write(lines(1, 3))
        batch.stdin.flush()
        service.wait_for_events(2)
        batch.stdin.close()
        batch.stdin = None
        done = finish(batch)
    assert done.code == 65
    assert [body["event"] for body in service.wait_for_events(3)] == ["e1", "e3", "e2"], "what waited is taken along"
    wait_until_none_is_left(tmp_path / "state")


# A service that won't, or is away


def test_a_service_that_is_away_is_not_waited_for_line_by_line(logsh: Logsh, nobody: str, tmp_path: Path) -> None:
    env = {"LOGSH_API_URL": nobody, "LOGSH_API_KEY": KEY, "LOGSH_WORKSPACE": "shop"}
    done = logsh("batch", "--json", "--deadline", "1", stdin=lines(500), env=env, timeout=2 * SOON_S)
    tally(done, accepted=500, queued=500, error="unreachable")
    assert done.code == 75
    rows = kept_rows(tmp_path)
    assert len(rows) == 500
    assert {row.state for row in rows} == {"pending"}
    assert 1 <= sum(row.attempts > 0 for row in rows) <= 20


@pytest.mark.parametrize(
    ("answer", "code", "name"),
    [
        pytest.param(says.OBSERVED.unauthorized, 77, "unauthorized", id="the key is refused"),
        pytest.param(says.html404(), 78, "unexpected_answer", id="not a Logsh"),
        pytest.param(says.error(402, "payment_required"), 75, "unavailable", id="the quota is spent"),
        pytest.param(says.error(503, headers=LATER), 75, "unavailable", id="down for an hour"),
        pytest.param(
            says.error(429, "rate_limit_exceeded", headers=LATER), 75, "unavailable", id="limited for an hour"
        ),
    ],
)
def test_what_no_line_can_change_keeps_them_all_after_a_few_requests(
    service: Server, tmp_path: Path, answer: Answer, code: int, name: str
) -> None:
    service.default = answer
    file = write(tmp_path / "f", lines(300))
    done = call_main("batch", file, "--json", "--jobs", "3", env=settings_for(service))
    tally(done, accepted=300, queued=300, error=name)
    assert done.code == code
    assert len(service.requests) <= 6
    assert {row.state for row in kept_rows(tmp_path)} == {"pending"}


def test_a_flush_goes_on_where_a_batch_had_to_stop(service: Server, tmp_path: Path) -> None:
    service.default = says.OBSERVED.unauthorized
    file = write(tmp_path / "f", lines(50))
    assert call_main("batch", file, env=settings_for(service)).code == 77
    service.default = says.ok()
    tally(call_main("outbox", "flush", "--json", env=settings_for(service)), accepted=50, delivered=50)
    assert names(service) == [f"e{number}" for number in range(50)]


def test_a_limit_of_a_second_is_waited_out_and_costs_nothing(service: Server, tmp_path: Path) -> None:
    service.script(*[says.OBSERVED.limited] * 2)
    done = call_main("batch", write(tmp_path / "f", lines(20)), "--json", env=settings_for(service))
    tally(done, accepted=20, delivered=20)
    assert done.code == 0


def test_a_rate_is_kept(service: Server, tmp_path: Path) -> None:
    done = call_main("batch", write(tmp_path / "f", lines(16)), "--rate", "20", env=settings_for(service))
    assert done.code == 0
    times = [request.at for request in service.requests]
    assert times[-1] - times[0] >= 15 / 20 * 0.9


def test_jobs_are_so_many_connections_at_most(service: Server, tmp_path: Path) -> None:
    file = write(tmp_path / "f", lines(30))
    assert call_main("batch", file, "--jobs", "2", env=settings_for(service)).code == 0
    assert service.connections <= 2


# The store


def test_a_full_outbox_ends_it_with_69_and_says_where(service: Server, tmp_path: Path) -> None:
    with_room = Outbox.open(tmp_path / "state")
    with_room.add(Owner("another", "0" * 16), [b"{}"] * (MAX_PENDING - 3))
    with_room.close()
    service.default = says.error(503, headers=LATER)
    content = lines(3)
    done = call_main("batch", write(tmp_path / "fits", content), "--json", env=settings_for(service))
    tally(done, accepted=3, queued=3, error="unavailable")
    done = call_main("batch", write(tmp_path / "f", b"\n" + content), "--json", env=settings_for(service))
    tally(done, error="outbox_full")
    assert done.code == 69
    assert "logsh: line 2: the outbox is full" in done.stderr
    assert "this line and those after it were not taken" in done.stderr


def test_room_is_made_by_what_is_delivered(service: Server, tmp_path: Path) -> None:
    almost = Outbox.open(tmp_path / "state")
    almost.add(Owner("another", "0" * 16), [b"{}"] * (MAX_PENDING - 250))
    almost.close()
    done = call_main("batch", write(tmp_path / "f", lines(700)), "--json", env=settings_for(service))
    tally(done, accepted=700, delivered=700)


def test_without_a_store_lines_are_delivered_all_the_same_and_a_failure_is_69(service: Server, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    file = write(tmp_path / "f", lines(5))
    done = call_main("batch", file, "--json", "-v", env=settings_for(service))
    tally(done, accepted=5, delivered=5)
    assert "no outbox, so a failed delivery would be lost" in done.stderr
    service.default = says.error(503, headers=LATER)
    done = call_main("batch", file, "--json", env=settings_for(service))
    result = tally(done, accepted=5, error="not_kept")
    assert done.code == 69
    assert "it could not be kept" in result["error"]["message"]


def test_a_store_that_is_removed_meanwhile_is_begun_anew_with_the_same_owner(service: Server, tmp_path: Path) -> None:
    with running("batch", "--json", env=settings_for(service), stdin=subprocess.PIPE) as batch:
        assert batch.stdin is not None
        batch.stdin.write(lines(1))
        batch.stdin.flush()
        service.wait_for_events(1)
        shutil.rmtree(tmp_path / "state")
        service.default = says.error(503, headers=LATER)
        batch.stdin.write(lines(1, 1))
        batch.stdin.close()
        batch.stdin = None
        done = finish(batch)
    tally(done, accepted=2, delivered=1, queued=1, error="unavailable")
    service.default = says.ok()
    tally(call_main("outbox", "flush", "--json", env=settings_for(service)), accepted=1, delivered=1)


def test_older_events_are_taken_along(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    service.stop()
    assert call_main("send", "-e", "older", "-d", "d", "--deadline", "0.3", env=settings_for(service)).code == 75
    service.start()
    assert logsh("batch", stdin=lines(1), env=settings_for(service)).code == 0
    assert [body["event"] for body in service.wait_for_events(2)] == ["e0", "older"]
    wait_until_none_is_left(tmp_path / "state")


# Signals


def half_way(service: Server, *args: str) -> subprocess.Popen[bytes]:
    """A batch of a stream of twenty lines, of which two are being sent, waiting for their answers."""
    batch = start_logsh("batch", "--jobs", "2", *args, env=settings_for(service), stdin=subprocess.PIPE)
    assert batch.stdin is not None
    batch.stdin.write(lines(20))
    batch.stdin.flush()
    service.wait_for(2)
    return batch


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGQUIT, -signal.SIGINT)],
    ids=["INT", "TERM", "HUP", "QUIT"],
)
def test_a_signal_lets_end_what_is_under_way_and_keeps_the_rest(
    service: Server, tmp_path: Path, signum: int, code: int
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    batch = half_way(service)
    batch.send_signal(signum)
    assert not wait_for_end(batch, 0.3)
    gate.set()
    done = finish(batch)
    assert done.code == code
    assert "kept: `logsh outbox flush`" in done.stderr
    assert "2 delivered, 18 kept (" in done.stderr
    assert len(service.events) == 2
    rows = kept_rows(tmp_path)
    assert [(row.state, row.attempts) for row in rows] == [("pending", 0)] * 18
    tally(call_main("outbox", "flush", "--json", env=settings_for(service)), accepted=18, delivered=18)
    assert names(service) == [f"e{number}" for number in range(20)]


def test_the_machine_form_of_a_batch_that_was_interrupted(service: Server) -> None:
    service.default = says.slow(0.3)
    batch = half_way(service, "--json")
    batch.send_signal(signal.SIGINT)
    done = finish(batch)
    assert done.code == -signal.SIGINT
    result = done.json
    assert (result["accepted"], result["delivered"], result["queued"]) == (20, 2, 18)
    assert (result["exit_code"], result["error"]["name"]) == (130, "interrupted")


def test_an_interrupted_batch_goes_on_where_it_stopped(service: Server, tmp_path: Path) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    file = write(tmp_path / "f", b"bad\n" + lines(3_000))
    batch = start_logsh("batch", file, "--jobs", "2", env=settings_for(service))
    service.wait_for(2)
    batch.send_signal(signal.SIGINT)
    gate.set()
    done = finish(batch)
    (last,) = re.findall(r"stopped after line (\d+)", done.stderr)
    assert f"`--from-line {int(last) + 1}` goes on" in done.stderr
    assert len(kept_rows(tmp_path)) + len(service.events) == int(last) - 1 < 3_000
    gone_on = call_main("batch", file, "--json", "--from-line", str(int(last) + 1), env=settings_for(service))
    tally(gone_on, accepted=3_001 - int(last), delivered=3_001 - int(last))
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert names(service) == [f"e{number}" for number in range(3_000)]


def test_lines_before_the_first_wanted_are_not_looked_at(service: Server, tmp_path: Path) -> None:
    file = write(tmp_path / "f", b"bad\n" * 10 + lines(5))
    done = call_main("batch", file, "--json", "--from-line", "12", env=settings_for(service))
    tally(done, accepted=4, delivered=4)
    assert call_main("batch", file, "--from-line", "0", env=settings_for(service)).code == 2


def test_a_second_interrupt_quits_at_once_and_loses_nothing(service: Server, tmp_path: Path) -> None:
    service.default = says.slow(600)
    batch = half_way(service, "--deadline", "600")
    batch.send_signal(signal.SIGINT)
    assert not wait_for_end(batch, 0.3)
    batch.send_signal(signal.SIGINT)
    assert finish(batch, SOON_S).code == -signal.SIGINT
    assert len(kept_rows(tmp_path)) == 20


def test_an_interrupt_does_not_wait_for_the_next_attempt(service: Server, tmp_path: Path) -> None:
    service.default = says.error(503, headers=LATER)
    batch = half_way(service, "--deadline", "7200")
    batch.send_signal(signal.SIGINT)
    assert finish(batch, SOON_S).code == -signal.SIGINT
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"] * 20


def wait_for_end(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends within this time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b'[\n  {"event": "a", "description": "d"},\n  1\n]\n', "jq -c '.[]' FILE | logsh batch -"),
        (b'[{"event": "a", "description": "d"}]\n', "jq -c '.[]' FILE | logsh batch -"),
        (b'{\n  "event": "a",\n  "description": "d"\n}\n{\n', "jq -c . FILE | logsh batch -"),
    ],
    ids=["an array over many lines", "an array on one", "an object over many lines"],
)
def test_json_that_is_not_one_event_a_line_is_recognized_once(
    service: Server, tmp_path: Path, content: bytes, hint: str
) -> None:
    done = call_main("batch", write(tmp_path / "f", content), env=settings_for(service))
    assert done.code == 65
    first, *later = done.stderr.splitlines()
    assert first.endswith(f"(one event a line: {hint})")
    assert hint not in "".join(later)


# At a terminal


def test_what_is_said_about_a_line_stands_on_a_line_above_the_bar(service: Server, tmp_path: Path) -> None:
    file = write(tmp_path / "f", b"bad\n" + lines(5))
    env = {**settings_for(service), "TERM": "xterm", "NO_COLOR": "1"}
    with Session([str(LOGSH), "batch", file], env=env) as session:
        before = session.shows(b"logsh: line 1: ")
        assert before.endswith((b"\x1b[2K", b"\n")) or not before, before
        assert session.shows(b"\n").rstrip().endswith(b'"bad"')


def test_a_person_who_watches_sees_how_far_it_is(service: Server, tmp_path: Path) -> None:
    near, far = os.openpty()
    file = write(tmp_path / "f", lines(30))
    service.default = says.slow(0.02)
    env = {**settings_for(service), "TERM": "xterm", "COLUMNS": "100"}
    with running("batch", "--jobs", "2", file, env=env, stderr=far) as batch:
        os.close(far)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux tells that the other side is closed
            while piece := os.read(near, 4096):
                shown += piece
        os.close(near)
        done = finish(batch)
    assert done.code == 0
    assert done.stdout.startswith("30 delivered (")
    assert b"sending" in shown
    assert b" delivered" in shown


def test_nobody_watches_a_pipe(service: Server, tmp_path: Path) -> None:
    done = call_main("batch", write(tmp_path / "f", lines(3)), env=settings_for(service, TERM="xterm"))
    assert done.stderr == ""
