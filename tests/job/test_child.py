"""The child process engine, with real processes, real signals and a real terminal."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logsh_cli import own_command
from logsh_cli.delivery import COURIER
from logsh_cli.job.child import Ending, shell_status
from logsh_cli.job.process_tree import _COURIER_COMMAND, Process, ProcessTree, members, parse_ps, read_process
from logsh_cli.job.spawn import CannotStart, environment_at_start, signal_set, spawn
from logsh_cli.job.tail import KEPT_BYTES, TailBuffer
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SUPPORT = Path(__file__).parents[1] / "support"
WRAP = [sys.executable, str(SUPPORT / "wrap.py")]
RECORDER = [sys.executable, str(SUPPORT / "recorder.py")]
PATIENCE_S = 20.0
GLIBC_INTERNAL = {32, 33}


class Job:
    """A wrapped recorder in a session, and so a process group, of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "signals"
        self.report = tmp_path / "report"
        command = [*WRAP, str(self.report), "{}", *RECORDER, str(self.log)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self.wrapper = self.process.pid
        wait_until(lambda: self.text().startswith("ready") and self.text().endswith("\n"), "the recorder")
        self.child = int(self.text().split()[1])

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def signals(self) -> list[int]:
        """Return all that the recorder got so far, once everything on its way has arrived."""
        # What the wrapper has not taken yet shows as pending; what it has taken is handed on before the next one.
        wait_until(lambda: not pending(self.wrapper), "the wrapper to take its signals")
        before = self.text().splitlines().count("10")
        os.kill(self.wrapper, signal.SIGUSR1)
        wait_until(lambda: self.text().splitlines().count("10") > before, "the mark")
        self.say("synchronised")
        lines = self.text().splitlines()
        last = len(lines) - 1 - lines[::-1].index("10")
        return [int(line) for line in [*lines[:last], *lines[last + 1 :]] if line.isdecimal()]

    def say(self, word: str) -> None:
        assert self.process.stdin
        before = self.text().count(word)
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()
        wait_until(lambda: self.text().count(word) > before, "an answer")

    def end(self) -> dict[str, Any]:
        self.process.communicate(timeout=PATIENCE_S)
        return load(self.report)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    job.process.kill()
    job.process.communicate()


def pending(pid: int) -> frozenset[int]:
    return signal_set(Path(f"/proc/{pid}/status").read_bytes(), b"ShdPnd")


def state(pid: int) -> str | None:
    process = read_process(pid)
    return process.state if process else None


def is_gone(pid: int) -> bool:
    return state(pid) in (None, "Z", "X")


def load(report: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(report.read_text())
    return {**values, "tail": base64.b64decode(values["tail"])}


def wrap(
    tmp_path: Path, *argv: str | bytes, **options: Any
) -> tuple[subprocess.CompletedProcess[bytes], dict[str, Any]]:
    report = tmp_path / "report"
    keywords = {name: options.pop(name) for name in ("input", "env", "cwd", "pass_fds") if name in options}
    command = [*WRAP, str(report), json.dumps(options), *argv]
    done = subprocess.run(command, capture_output=True, check=False, timeout=2 * PATIENCE_S, **keywords)
    assert report.exists(), done.stderr.decode()
    return done, load(report)


# --- starting -------------------------------------------------------------------------------------------------------


def test_a_process_that_nothing_could_end_counts_as_killed() -> None:
    assert shell_status(Ending("timed_out", None, None, 1.0, killed=True)) == 137


PIPE_TO = '{"tee": true}'


def make(path: Path, content: bytes, mode: int = 0o755) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def started(argv: list[str], path: object) -> tuple[int, bytes]:
    """The exit code and the output of what ``spawn`` starts."""
    reading, writing = os.pipe()
    pid = spawn(argv, {"PATH": str(path)}, mask=(), moves=[(writing, 1)])
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        shown = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_a_command_that_cannot_start_has_the_status_and_the_reason_of_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "directory").mkdir()
    make(tmp_path / "plain", b"echo\n", 0o644)
    make(tmp_path / "foreign", b"\x7fELF\0\0\0not for us")
    make(tmp_path / "orphan", b"#!/no/such/interpreter\n")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    for name, status, reason in (
        ("no-such-command", 127, "not found"),
        ("./no-such-file", 127, "not found"),
        ("", 127, "not found"),
        ("./directory", 126, "is a directory"),
        ("./plain", 126, "not executable"),
        ("plain", 126, "not executable"),
        ("./foreign", 126, "not a program for this machine"),
        ("./orphan", 127, "its interpreter was not found"),
        ("./plain/below", 126, "Not a directory"),
        ("./dangling", 127, "not found"),
        ("./a\0b", 126, "an argument or a variable holds a NUL"),
    ):
        with pytest.raises(CannotStart) as refused:
            spawn([name], {"PATH": f"/usr/bin:{tmp_path}:{tmp_path / 'plain'}"}, mask=())
        assert (refused.value.status, refused.value.reason) == (status, reason), name


def test_a_command_is_found_as_a_shell_finds_it(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    make(tmp_path / "first" / "tool", b"", 0o644)
    make(tmp_path / "second" / "tool", b"#!/bin/sh\necho second\n")
    make(tmp_path / "second" / "script", b'echo "$0|$1|$#"\nexit 5\n')
    path = f"{tmp_path}/first:{tmp_path}/second"
    assert started(["tool"], path) == (0, b"second\n"), "what may not be executed is passed over"
    assert started(["script", "a b"], path) == (5, f"{tmp_path}/second/script|a b|1\n".encode()), "sh runs it"


SIGNAL_STATE = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]


@pytest.mark.parametrize("setting", ["", "trap '' INT QUIT HUP PIPE USR1;"], ids=["as usual", "ignored"])
def test_the_child_has_the_signal_mask_and_dispositions_it_would_have_had(tmp_path: Path, setting: str) -> None:
    wrapped = shlex.join([*WRAP, str(tmp_path / "report"), "{}", *SIGNAL_STATE])
    # The trailing `:` keeps the shell from replacing itself with the command.
    script = f"{setting} {shlex.join(SIGNAL_STATE)}; {wrapped}; :"
    lines = subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout.splitlines(keepends=True)
    assert len(lines) == 6, lines
    alone, under_wrap = b"".join(lines[:3]), b"".join(lines[3:])
    for field in (b"SigBlk", b"SigIgn", b"SigCgt"):
        assert signal_set(under_wrap, field) - GLIBC_INTERNAL == signal_set(alone, field) - GLIBC_INTERNAL


def test_a_mask_that_the_caller_set_is_the_childs_too(tmp_path: Path) -> None:
    block = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [12]); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", block, *WRAP, str(tmp_path / "report"), "{}", *SIGNAL_STATE]
    done = subprocess.run(command, capture_output=True, check=False)
    assert signal_set(done.stdout, b"SigBlk") == {12}


def test_the_child_has_the_environment_of_the_caller_and_nothing_of_pythons(tmp_path: Path) -> None:
    for more in ({"LANG": "C", "A": "1"}, {"LC_CTYPE": "C.UTF-8"}, {"LC_ALL": "C", "X": "\udcff"}):
        env = {"PATH": "/usr/bin:/bin", **more}
        alone = subprocess.run(["/usr/bin/env", "-0"], capture_output=True, check=False, env=env).stdout
        assert wrap(tmp_path, "/usr/bin/env", "-0", env=env)[0].stdout == alone, more


def test_an_environment_is_handed_on_as_it_is_given() -> None:
    assert environment_at_start({"A": "b", "LC_CTYPE": "de_DE.UTF-8"}) == {"A": "b", "LC_CTYPE": "de_DE.UTF-8"}


def test_a_status_is_not_lost_when_logsh_was_started_with_chld_ignored(tmp_path: Path) -> None:
    ignore = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", ignore, *WRAP, str(tmp_path / "report"), "{}", "sh", "-c", "exit 9"]
    assert subprocess.run(command, check=False).returncode == 9


# --- signals --------------------------------------------------------------------------------------------------------


def test_a_signal_sent_process_by_process_as_systemd_does_reaches_the_child_once(job: Job) -> None:
    for pid in sorted(group_of(job.wrapper)):
        os.kill(pid, signal.SIGTERM)
    assert job.signals() == [signal.SIGTERM]


def group_of(leader: int) -> set[int]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid="], capture_output=True, check=True).stdout.decode()
    return {pid for pid, group in (map(int, line.split()) for line in listing.splitlines()) if group == leader}


def test_different_signals_to_the_group_at_once_reach_the_child_once_each(job: Job) -> None:
    for name in ("HUP", "INT", "TERM"):
        os.killpg(job.wrapper, getattr(signal, f"SIG{name}"))
    assert sorted(job.signals()) == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]


def test_a_timer_set_before_logsh_was_started_still_hits_the_job(tmp_path: Path) -> None:
    alarm = "import os, signal, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", alarm, *WRAP, str(tmp_path / "report"), "{}", "sleep", "60"]
    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 128 + signal.SIGALRM


def test_logsh_waits_on_when_the_child_alone_is_stopped(job: Job) -> None:
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        os.kill(job.child, number)
        if number == signal.SIGTSTP:
            wait_until(lambda: state(job.child) in ("S", "T"), "the child")
        else:
            wait_until(lambda: state(job.child) == "T", "the child to stop")
        assert state(job.wrapper) != "T"
        os.kill(job.child, signal.SIGCONT)
    job.say("awake")
    assert job.end()["exit_code"] == 7


def test_nothing_of_logsh_is_left_when_the_job_has_ended(job: Job) -> None:
    os.killpg(job.wrapper, signal.SIGTERM)
    job.signals()
    job.end()
    assert group_of(job.wrapper) == set()


def test_the_bystander_goes_when_logsh_is_killed(job: Job) -> None:
    bystanders = group_of(job.wrapper) - {job.wrapper, job.child}
    assert len(bystanders) == 1
    os.kill(job.wrapper, signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, bystanders)), "the bystander to go")


# --- timeouts -------------------------------------------------------------------------------------------------------


ESCAPES = r"""
sh -c 'echo $$ >> pids; exec sleep 60' &
sh -c 'sleep 60 & echo $! >> pids; wait' &
(sh -c 'trap "" TERM; echo $$ >> pids; while :; do sleep 0.05; done' &)
(setsid sh -c 'echo $$ >> pids; exec sleep 60' &)
sh -c 'echo $$ >> pids; kill -STOP $$' &
exec sleep 60
"""
"""A child, a grandchild, an orphan that is deaf to TERM, one in another session, and a child that is stopped."""


def test_a_timeout_ends_everything_that_the_command_started(tmp_path: Path) -> None:
    done, ending = wrap(tmp_path, "sh", "-c", ESCAPES, cwd=tmp_path, timeout_s=0.8, kill_after_s=0.4)
    assert (done.returncode, ending["kind"], ending["killed"]) == (137, "timed_out", True)
    left = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(left) == 5
    assert all(map(is_gone, left))


def test_a_command_that_ends_in_time_is_left_alone_and_so_is_what_it_leaves_behind(tmp_path: Path) -> None:
    script = "setsid sleep 60 >/dev/null 2>&1 & echo $!"
    done, ending = wrap(tmp_path, "sh", "-c", script, timeout_s=30)
    left = int(done.stdout)
    assert ending["kind"] == "exited"
    assert not is_gone(left)
    os.kill(left, signal.SIGKILL)


def test_a_timeout_spares_siblings_in_the_same_process_group(tmp_path: Path) -> None:
    wrapped = shlex.join([*WRAP, str(tmp_path / "report"), '{"timeout_s": 0.3}', "sleep", "60"])
    script = f"sleep 50 >/dev/null & sibling=$!; {wrapped}; kill -0 $sibling && echo alive; kill $sibling"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, check=False, timeout=PATIENCE_S, start_new_session=True
    )
    assert done.stdout == b"alive\n", done.stderr


def test_a_timeout_spares_children_that_logsh_had_before(tmp_path: Path) -> None:
    # `exec` makes the background job a child of logsh.
    wrapped = shlex.join([*WRAP, str(tmp_path / "report"), '{"timeout_s": 0.5}', "sleep", "60"])
    script = f"sleep 50 >/dev/null 2>&1 & echo $!; sleep 0.1; exec {wrapped}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False, timeout=PATIENCE_S)
    sibling = int(done.stdout)
    assert done.returncode == 124
    assert not is_gone(sibling)
    os.kill(sibling, signal.SIGKILL)


def test_a_delivery_that_the_job_started_is_not_part_of_the_job() -> None:
    assert _COURIER_COMMAND in "\0".join((*own_command(), COURIER, "")).encode()


def process(pid: int, parent: int, born: str = "5", state: str = "S") -> Process:
    return Process(pid, parent, state, born)


def pids(processes: list[Process]) -> list[int]:
    return [process.pid for process in processes]


def test_a_tree_is_the_command_its_descendants_and_what_was_left_to_us() -> None:
    family = [(20, 10, "5"), (21, 20, "5"), (22, 21, "5")]
    adopted = [(30, 10, "6"), (31, 30, "6")]
    others = [(1, 0, "0"), (10, 1, "3"), (40, 10, "4"), (50, 10, "7"), (60, 1, "8")]
    table = {pid: process(pid, parent, born) for pid, parent, born in (*family, *adopted, *others)}
    assert pids(members(table, 20, 10, {}, {50})) == [20, 30, 21, 31, 22]
    assert pids(members(table, 20, None, {}, ())) == [20, 21, 22]


def test_what_was_known_is_found_again_without_its_parent_unless_its_number_was_taken_by_another() -> None:
    table = {p.pid: p for p in (process(22, 1, "5"), process(23, 1, "9"))}
    assert pids(members(table, 20, None, {20: "5", 22: "5", 23: "6"}, ())) == [22]


def test_the_output_of_ps_is_understood() -> None:
    listing = "    1     0 Ss   Mon Jan  1 10:00:00 2024\n  123     1 T+   Mon Jan  1 10:00:01 2024\n\n"
    assert parse_ps(listing) == [
        Process(1, 0, "S", "Mon Jan  1 10:00:00 2024"),
        Process(123, 1, "T", "Mon Jan  1 10:00:01 2024"),
    ]


def test_a_process_of_another_name_with_brackets_is_read_right() -> None:
    me = read_process(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert os.getpid() in pids(ProcessTree(os.getpid(), set).living())


# --- the tail -------------------------------------------------------------------------------------------------------


def test_the_tail_holds_the_end_of_both_streams(tmp_path: Path) -> None:
    done, ending = wrap(tmp_path, "sh", "-c", "echo out; sleep 0.1; echo err >&2; sleep 0.1; echo out", tee=True)
    assert (done.stdout, done.stderr) == (b"out\nout\n", b"err\n")
    assert ending["tail"] == b"out\nerr\nout\n"


def test_a_busy_process_left_behind_with_the_pipe_does_not_hold_logsh_up(tmp_path: Path) -> None:
    script = "sh -c 'while :; do echo more; done' & echo $! >&2; exit 4"
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        command = [*WRAP, str(tmp_path / "report"), PIPE_TO, "sh", "-c", script]
        assert subprocess.run(command, stdout=out, stderr=err, check=False, timeout=PATIENCE_S).returncode == 4
    os.kill(int((tmp_path / "err").read_text()), signal.SIGKILL)  # which fails if it is gone


def test_the_reason_that_a_job_gives_last_on_standard_error_is_the_end_of_the_tail(tmp_path: Path) -> None:
    for size in (10, 60_000, 300_000, 300_000):
        script = f"head -c {size} /dev/zero | tr '\\0' x; printf 'the end' >&2; exit 1"
        assert wrap(tmp_path, "sh", "-c", script, tee=True)[1]["tail"].endswith(b"xxxthe end"), size


def test_a_slow_reader_of_standard_output_does_not_make_the_reason_come_before_it(tmp_path: Path) -> None:
    script = "head -c 150000 /dev/zero | tr '\\0' x; printf 'the end' >&2; exit 1"
    command = [*WRAP, str(tmp_path / "report"), PIPE_TO, "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(0.3)
        assert process.stdout
        assert len(process.stdout.read()) == 150_000
    assert load(tmp_path / "report")["tail"].endswith(b"xxxthe end")


def test_a_slow_reader_of_standard_output_does_not_hold_up_standard_error(tmp_path: Path) -> None:
    script = "yes & echo now >&2; sleep 0.3; echo then >&2; wait"
    command = [*WRAP, str(tmp_path / "report"), PIPE_TO, "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        assert process.stderr.readline() + process.stderr.readline() == b"now\nthen\n"
        process.stdout.close()  # type: ignore[union-attr]


def test_a_stream_that_someone_made_non_blocking_loses_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [*WRAP, str(tmp_path / "report"), PIPE_TO, "head", "-c", "1000000", "/dev/zero"]
    with subprocess.Popen(command, stdout=writing) as process, os.fdopen(reading, "rb", 0) as output:
        os.close(writing)
        received = sum(len(chunk) for chunk in iter(lambda: output.read(1000), b""))
    assert (process.returncode, received) == (0, 1_000_000)


def test_an_interrupt_ends_the_wait_for_a_reader_that_does_not_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    script = "head -c 100000 /dev/zero; echo $$ > ended"
    command = [*WRAP, str(tmp_path / "report"), PIPE_TO, "sh", "-c", script]
    with subprocess.Popen(command, stdout=writing, cwd=tmp_path) as process:
        os.close(writing)
        wait_until(lambda: (tmp_path / "ended").exists() and (tmp_path / "ended").read_text(), "the job to end")
        wait_until(lambda: state(int((tmp_path / "ended").read_text())) is None, "logsh to wait for the reader")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    os.close(reading)


def test_a_tail_buffer_is_bounded_and_begins_with_a_whole_line_where_it_was_cut() -> None:
    buffer = TailBuffer()
    for number in range(50_000):
        buffer.add(f"line {number:07}\n".encode())
    kept = buffer.contents()
    assert KEPT_BYTES - 20 < len(kept) <= KEPT_BYTES
    assert re.fullmatch(rb"(line \d{7}\n)+", kept)
    assert kept.endswith(b"line 0049999\n")


def test_a_tail_buffer_keeps_what_is_short_whole() -> None:
    buffer = TailBuffer()
    buffer.add(b"half a line")
    assert buffer.contents() == b"half a line"
