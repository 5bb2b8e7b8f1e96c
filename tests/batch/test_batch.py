"""``logsh batch`` as its users meet it: files and streams, bad lines, limits, signals, and a service that is away."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli.batch.pump import LONGEST_LINE
from logsh_cli.outbox import MAX_PENDING, Outbox, Owner
from tests.support import answers as says
from tests.support.command import LOGSH, Completed, environment
from tests.support.inprocess import call_main
from tests.support.processes import finish, kill_what_is_left, running, start_logsh, wait_until, wait_until_none_is_left
from tests.support.pty_session import Session
from tests.support.sending import LATER, Logsh, kept_rows, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.answers import Answer
    from tests.support.server import Server

TALLY_KEYS = ["accepted", "delivered", "queued", "rejected", "invalid", "elapsed_ms", "exit_code", "error"]
SOON_S = 20.0
"""Far more than anything here takes, even on a busy machine; far less than waiting for one event after another."""


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")


def lines(count: int, start: int = 0) -> bytes:
    """Good lines, with the events ``e0``, ``e1``, …"""
    return b"".join(b'{"event":"e%d","description":"d"}\n' % number for number in range(start, start + count))


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def names(server: Server) -> list[str]:
    """Return the events that arrived, in the order of their numbers: workers overtake one another."""
    return sorted((body["event"] for body in server.events), key=lambda name: (len(name), name))


def batch(service: Server, content: bytes, *args: str, **env: str) -> Completed:
    """``logsh batch --json`` of these lines in a file."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        return call_main("batch", file.name, "--json", *args, env=settings_for(service, **env))


@contextlib.contextmanager
def streaming(service: Server, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A batch of a stream, to be written with ``put``."""
    with running("batch", "--json", *args, env=settings_for(service), stdin=subprocess.PIPE) as process:
        yield process


def put(process: subprocess.Popen[bytes], content: bytes, *, close: bool = False) -> None:
    assert process.stdin is not None
    process.stdin.write(content)
    process.stdin.flush()
    if close:
        process.stdin.close()
        process.stdin = None


def tally(done: Completed, code: int = 0, **expected: Any) -> dict[str, Any]:
    """That standard output is one line in the machine form, with these counts, and agrees with the exit code."""
    result: dict[str, Any] = done.json
    assert list(result) == TALLY_KEYS + ["last_line"] * ("last_line" in result)
    assert result["exit_code"] == done.code == code, done.stderr
    counts = dict.fromkeys(("accepted", "delivered", "queued", "rejected", "invalid"), 0)
    error = expected.pop("error", None)
    assert {name: result[name] for name in counts} == {**counts, **expected}, done.stderr
    assert (result["error"] and result["error"]["name"]) == error, result["error"]
    return result


# What a batch is


def test_every_line_becomes_an_event(service: Server, tmp_path: Path) -> None:
    content = (
        b'{"event":"a","description":"d","icon":":rocket:","notify":true,"metadata":{"n":1}}\n'
        b'{"workspace":"other","event":"b","description":"d"}\n'
    )
    tally(batch(service, content, "--jobs", "1"), accepted=2, delivered=2)
    assert service.events == [
        {"workspace": "shop", "event": "a", "description": "d", "icon": "🚀", "notify": True, "metadata": {"n": 1}},
        {"workspace": "other", "event": "b", "description": "d"},
    ]
    assert kept_rows(tmp_path) == []


def test_standard_input_is_read_and_nobody_watches_a_pipe(service: Server) -> None:
    done = call_main("batch", stdin=lines(3), env=settings_for(service, TERM="xterm"))
    assert (done.code, done.stderr, done.stdout[:13]) == (0, "", "3 delivered (")
    assert names(service) == ["e0", "e1", "e2"]
    done = call_main("batch", "-", "-q", stdin=lines(2), env=settings_for(service))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


def test_empty_lines_and_files_from_windows_are_no_trouble(service: Server) -> None:
    for content in (b"", b"\n\r\n  \n\xef\xbb\xbf\n"):
        tally(batch(service, content))
    content = b"\xef\xbb\xbf" + lines(3).replace(b"\n", b"\r\n\r\n")
    tally(batch(service, content), accepted=3, delivered=3)


def test_no_event_is_sent_twice_or_left_out(logsh: Logsh, service: Server) -> None:
    done = logsh("batch", "--json", "--jobs", "8", stdin=lines(1_000), env=settings_for(service))
    tally(done, accepted=1_000, delivered=1_000)
    assert names(service) == [f"e{number}" for number in range(1_000)]
    assert service.connections <= 8


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


def test_bad_lines_are_reported_by_number_and_the_others_go_out(service: Server, tmp_path: Path) -> None:
    for quiet in ((), ("-q",)):
        done = batch(service, MIXED, *quiet)
        tally(done, 65, accepted=2, delivered=2, invalid=7, error="refused")
        reported = [line for line in done.stderr.splitlines() if line.startswith("logsh: line ")]
        assert [int(line.split()[2].rstrip(":")) for line in reported] == list(BAD)
        for line, said in zip(reported, BAD.values(), strict=True):
            assert said in line
            assert len(line) < 300
    assert sorted(body["description"] for body in service.events) == ["1", "1", "2", "2"]
    assert kept_rows(tmp_path) == []


def test_events_that_the_service_refuses_are_shelved(service: Server, tmp_path: Path) -> None:
    service.script(says.error(403, "validation_error", "Icon must be a valid emoji."))
    result = tally(batch(service, lines(3), "--jobs", "1"), 65, accepted=3, delivered=2, rejected=1, error="refused")
    assert "Icon must be a valid emoji." in result["error"]["message"]
    assert [row.state for row in kept_rows(tmp_path)] == ["rejected"]


def test_what_is_too_long_can_be_shortened(service: Server) -> None:
    content = b'{"event":"e","description":"%s"}\n' % (b"x" * 400)
    assert batch(service, content).code == 65
    assert batch(service, content, "--truncate").code == 0
    assert service.events[0]["description"] == "x" * 149 + "…"


def test_best_effort_forgives_bad_lines_and_a_service_that_is_away(service: Server) -> None:
    service.stop()
    result = batch(service, lines(2) + b"bad\n", "--best-effort", "--deadline", "0.5").json
    assert (result["exit_code"], result["queued"], result["invalid"]) == (0, 2, 1)


# A dry run


def test_a_dry_run_checks_every_line_and_sends_and_stores_nothing(tmp_path: Path) -> None:
    done = call_main("batch", "--dry-run", "-w", "shop", stdin=lines(3))
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("dry_run: 3 good, nothing was sent (")
    assert call_main("batch", "--dry-run", "-w", "shop", "-q", stdin=lines(3)).stdout == ""
    tally(call_main("batch", "--dry-run", "--json", "-w", "shop", stdin=lines(3)), accepted=3)
    done = call_main("batch", "--dry-run", "--json", "-w", "shop", stdin=MIXED)
    tally(done, 65, accepted=2, invalid=7, error="refused")
    done = call_main("batch", "--dry-run", stdin=lines(1))
    assert done.code == 65
    assert "line 1: workspace is required" in done.stderr
    assert not (tmp_path / "state").exists()


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

    assert peak(50_000) < 1.2 * peak(1_000)


# What can't be read


def test_an_input_that_can_not_be_opened_is_wrong_usage(service: Server, tmp_path: Path) -> None:
    for file, said in (
        (str(tmp_path / "missing"), "No such file"),
        (str(tmp_path), "it is a directory"),
        ("a\0b", "not a valid file name"),
    ):
        done = call_main("batch", file, "--json", env=settings_for(service))
        assert said in tally(done, 2, error="usage")["error"]["message"]
    command = ["sh", "-c", 'exec "$0" batch --json <&-', str(LOGSH)]
    closed = subprocess.run(command, env=environment(settings_for(service)), capture_output=True, check=False)
    result = tally(Completed(closed.returncode, closed.stdout, closed.stderr), 2, error="usage")
    assert "standard input is closed" in result["error"]["message"]
    assert not (tmp_path / "state").exists()


def test_an_input_that_breaks_off_in_a_fault_loses_nothing_that_was_read(service: Server) -> None:
    """A terminal whose other side goes away gives EIO, as a disk that fails would."""
    near, far = os.openpty()
    with running("batch", "--json", "-q", env=settings_for(service), stdin=far) as process:
        os.close(far)
        os.write(near, lines(3))
        service.wait_for_events(3)
        os.close(near)
        done = finish(process)
    result = tally(done, 65, accepted=3, delivered=3, error="refused")
    assert "can't be read any further" in result["error"]["message"]


def test_a_rate_is_a_number_above_0_and_a_line_has_a_number_from_1_on() -> None:
    for options in (("--rate", "0"), ("--rate", "-1"), ("--rate", "nan"), ("--rate", "inf"), ("--from-line", "0")):
        assert call_main("batch", *options, os.devnull).code == 2, options


def test_without_a_key_nothing_is_taken_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    done = call_main("batch", stdin=lines(2))
    assert (done.code, done.stdout) == (78, "")
    assert "there is no API key and no workspace yet" in done.stderr
    tally(call_main("batch", "--json", "-w", "shop", stdin=lines(2)), 78, error="missing_key")
    done = call_main("batch", "--json", "-w", "shop", "--on-missing-key", "skip", stdin=lines(2))
    tally(done, error="missing_key")
    assert not (tmp_path / "state").exists()


# Streams


def test_each_line_of_a_stream_is_delivered_while_the_stream_stays_open(service: Server) -> None:
    with streaming(service, "-") as process:
        for number in range(3):
            put(process, lines(1, number))
            service.wait_for_events(number + 1, SOON_S)
        put(process, b'{"event":"the last line","description":"needs no end"}', close=True)
        tally(finish(process), accepted=4, delivered=4)


def test_a_stream_goes_on_after_bad_lines_and_an_outage(service: Server, tmp_path: Path) -> None:
    with streaming(service, "--deadline", "2") as process:
        put(process, b"bad\n" + lines(1, 1))
        service.wait_for_events(1)
        wait_until(lambda: not kept_rows(tmp_path), "e1 is acknowledged")
        service.stop()
        put(process, lines(1, 2))
        wait_until(lambda: any(row.attempts for row in kept_rows(tmp_path)), "e2 is tried and kept")
        service.start()
        put(process, lines(1, 3))
        service.wait_for_events(2)
        put(process, b"", close=True)
        assert finish(process).code == 65
    assert [body["event"] for body in service.wait_for_events(3)] == ["e1", "e3", "e2"], "what waited is taken along"
    wait_until_none_is_left(tmp_path / "state")


# A service that won't, or is away


def test_a_service_that_is_away_is_not_waited_for_line_by_line(service: Server, tmp_path: Path) -> None:
    service.stop()
    tally(batch(service, lines(500), "--deadline", "0.5"), 75, accepted=500, queued=500, error="unreachable")
    rows = kept_rows(tmp_path)
    assert (len(rows), {row.state for row in rows}) == (500, {"pending"})
    assert 1 <= sum(row.attempts > 0 for row in rows) <= 20


@pytest.mark.parametrize(
    ("answer", "code", "name"),
    [
        (says.OBSERVED.unauthorized, 77, "unauthorized"),
        (says.html404(), 78, "unexpected_answer"),
        (says.error(402, "payment_required"), 75, "unavailable"),
        (says.error(429, "rate_limit_exceeded", headers=LATER), 75, "unavailable"),
    ],
    ids=repr,
)
def test_what_no_line_can_change_keeps_them_all_after_a_few_requests(
    service: Server, tmp_path: Path, answer: Answer, code: int, name: str
) -> None:
    service.default = answer
    tally(batch(service, lines(300), "--jobs", "3"), code, accepted=300, queued=300, error=name)
    assert len(service.requests) <= 6
    assert {row.state for row in kept_rows(tmp_path)} == {"pending"}


def test_a_rate_is_kept(service: Server) -> None:
    tally(batch(service, lines(11), "--rate", "20"), accepted=11, delivered=11)
    times = [request.at for request in service.requests]
    assert times[-1] - times[0] >= 10 / 20 * 0.9


# The store


def fill(tmp_path: Path, count: int) -> None:
    store = Outbox.open(tmp_path / "state")
    store.add(Owner("another", "0" * 16), [b"{}"] * count)
    store.close()


def test_a_full_outbox_ends_it_with_69_and_says_where(service: Server, tmp_path: Path) -> None:
    fill(tmp_path, MAX_PENDING - 3)
    service.default = says.error(503, headers=LATER)
    tally(batch(service, lines(3)), 75, accepted=3, queued=3, error="unavailable")
    done = batch(service, b"\n" + lines(3))
    tally(done, 69, error="outbox_full")
    assert "logsh: line 2: the outbox is full" in done.stderr
    assert "this line and those after it were not taken" in done.stderr


def test_room_is_made_by_what_is_delivered(service: Server, tmp_path: Path) -> None:
    fill(tmp_path, MAX_PENDING - 250)
    tally(batch(service, lines(700)), accepted=700, delivered=700)


def test_without_a_store_lines_are_delivered_all_the_same_and_a_failure_is_69(service: Server, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    done = batch(service, lines(5), "-v")
    tally(done, accepted=5, delivered=5)
    assert "no outbox, so a failed delivery would be lost" in done.stderr
    service.default = says.error(503, headers=LATER)
    result = tally(batch(service, lines(5)), 69, accepted=5, error="not_kept")
    assert "it could not be kept" in result["error"]["message"]


def test_a_store_that_is_removed_meanwhile_is_begun_anew_with_the_same_owner(service: Server, tmp_path: Path) -> None:
    with streaming(service) as process:
        put(process, lines(1))
        service.wait_for_events(1)
        shutil.rmtree(tmp_path / "state")
        service.default = says.error(503, headers=LATER)
        put(process, lines(1, 1), close=True)
        tally(finish(process), 75, accepted=2, delivered=1, queued=1, error="unavailable")
    service.default = says.ok()
    tally(call_main("outbox", "flush", "--json", env=settings_for(service)), accepted=1, delivered=1)


# Signals


def half_way(service: Server, *args: str) -> subprocess.Popen[bytes]:
    """A batch of a stream of twenty lines, of which two are being sent, waiting for their answers."""
    process = start_logsh("batch", "--jobs", "2", *args, env=settings_for(service), stdin=subprocess.PIPE)
    put(process, lines(20))
    service.wait_for(2)
    return process


@pytest.mark.parametrize(
    ("signum", "code", "name"),
    [(signal.SIGINT, -signal.SIGINT, "interrupted"), (signal.SIGHUP, 143, "terminated")],
    ids=["INT", "HUP"],
)
def test_a_signal_lets_end_what_is_under_way_and_keeps_the_rest(
    service: Server, tmp_path: Path, signum: int, code: int, name: str
) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    process = half_way(service, "--json")
    process.send_signal(signum)
    time.sleep(0.2)
    assert process.poll() is None
    gate.set()
    done = finish(process)
    assert done.code == code
    result = done.json
    assert "kept: `logsh outbox flush`" in result["error"]["hint"]
    assert (result["exit_code"], result["error"]["name"]) == (130 if code < 0 else code, name)
    assert (result["accepted"], result["delivered"], result["queued"], len(service.events)) == (20, 2, 18, 2)
    assert [(row.state, row.attempts) for row in kept_rows(tmp_path)] == [("pending", 0)] * 18
    tally(call_main("outbox", "flush", "--json", env=settings_for(service)), accepted=18, delivered=18)
    assert names(service) == [f"e{number}" for number in range(20)]


def test_an_interrupted_batch_goes_on_where_it_stopped(service: Server, tmp_path: Path) -> None:
    gate = threading.Event()
    service.default = says.gated(gate)
    file = write(tmp_path / "f", b"bad\n" + lines(2_000))
    process = start_logsh("batch", file, "--jobs", "2", env=settings_for(service))
    service.wait_for(2)
    process.send_signal(signal.SIGINT)
    gate.set()
    done = finish(process)
    (last,) = re.findall(r"stopped after line (\d+)", done.stderr)
    assert f"`--from-line {int(last) + 1}` goes on" in done.stderr
    assert len(kept_rows(tmp_path)) + len(service.events) == int(last) - 1 < 2_000
    gone_on = call_main("batch", file, "--json", "--from-line", str(int(last) + 1), env=settings_for(service))
    tally(gone_on, accepted=2_001 - int(last), delivered=2_001 - int(last))
    assert call_main("outbox", "flush", env=settings_for(service)).code == 0
    assert names(service) == [f"e{number}" for number in range(2_000)]


def test_a_second_interrupt_quits_at_once_and_loses_nothing(service: Server, tmp_path: Path) -> None:
    service.default = says.slow(600)
    process = half_way(service, "--deadline", "600")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert finish(process, SOON_S).code == -signal.SIGINT
    assert len(kept_rows(tmp_path)) == 20


def test_json_that_is_not_one_event_a_line_is_recognized_once(service: Server) -> None:
    for content, hint in (
        (b'[\n  {"event": "a", "description": "d"},\n  1\n]\n', "jq -c '.[]' FILE | logsh batch -"),
        (b'[{"event": "a", "description": "d"}]\n', "jq -c '.[]' FILE | logsh batch -"),
        (b'{\n  "event": "a",\n  "description": "d"\n}\n{\n', "jq -c . FILE | logsh batch -"),
    ):
        done = batch(service, content)
        assert done.code == 65, content
        first, *later = done.stderr.splitlines()
        assert first.endswith(f"(one event a line: {hint})"), content
        assert hint not in "".join(later), content


# At a terminal


def test_a_person_who_watches_sees_how_far_it_is_below_what_is_said_about_a_line(
    service: Server, tmp_path: Path
) -> None:
    file = write(tmp_path / "f", b"bad\n" + lines(30))
    service.default = says.slow(0.02)
    env = {**settings_for(service), "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"}
    with Session([str(LOGSH), "batch", "--jobs", "2", file], env=env) as session:
        before = session.shows(b"logsh: line 1: ")
        assert before.endswith((b"\x1b[2K", b"\n")) or not before, before
        assert session.shows(b"\n").rstrip().endswith(b'"bad"')
        session.shows(b"sending")
        session.shows(b"30 delivered")
