"""The child process engine, with real processes, real signals and a real terminal."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
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
from logsh_cli.job.spawn import environment_at_start, signal_set
from logsh_cli.job.tail import KEPT_BYTES, TailBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SUPPORT = Path(__file__).parents[1] / "support"
WRAP = [sys.executable, str(SUPPORT / "wrap.py")]
RECORDER = [sys.executable, str(SUPPORT / "recorder.py")]
PATIENCE_S = 20.0
GLIBC_INTERNAL = {32, 33}


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what}")


def wait_for_line(log: Path, line: str, count: int) -> None:
    wait_for(lambda: log.exists() and log.read_text().splitlines().count(line) >= count, f"{line}, {count} times")


class Job:
    """A wrapped recorder in a session, and so a process group, of its own."""

    def __init__(self, tmp_path: Path, prefix: list[str] | None = None, **options: Any) -> None:
        self.log = tmp_path / "signals"
        self.report = tmp_path / "report"
        command = [*(prefix or []), *WRAP, str(self.report), json.dumps(options), *RECORDER, str(self.log)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self.wrapper = self.process.pid
        self.child = int(wait_for(lambda: re.match(r"ready (\d+)\n", self.text()), "the recorder")[1])

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait_for_line(self, line: object, count: int = 1) -> None:
        wait_for_line(self.log, str(line), count)

    def signals(self) -> list[int]:
        """What the recorder got so far, once everything on its way has arrived."""
        # What the wrapper has not taken yet shows as pending; what it has taken is handed on before the next one.
        wait_for(lambda: not pending(self.wrapper), "the wrapper to take its signals")
        before = self.text().splitlines().count("10")
        os.kill(self.wrapper, signal.SIGUSR1)
        self.wait_for_line(10, before + 1)
        self.say("synchronised")
        lines = self.text().splitlines()
        last = len(lines) - 1 - lines[::-1].index("10")
        return [int(line) for line in [*lines[:last], *lines[last + 1 :]] if line.isdecimal()]

    def say(self, word: str) -> None:
        assert self.process.stdin
        before = self.text().count(word)
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()
        wait_for(lambda: self.text().count(word) > before, "an answer")

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


@pytest.mark.parametrize(
    ("script", "kind", "code", "number", "status"),
    [
        pytest.param("exit 0", "exited", 0, None, 0, id="success"),
        pytest.param("exit 3", "exited", 3, None, 3, id="failure"),
        pytest.param("exit 255", "exited", 255, None, 255, id="the highest code"),
        pytest.param("kill -TERM $$", "signaled", None, 15, 143, id="killed by TERM"),
        pytest.param("kill -KILL $$", "signaled", None, 9, 137, id="killed by KILL"),
        pytest.param("ulimit -c 0; kill -SEGV $$", "signaled", None, 11, 139, id="crashed"),
    ],
)
def test_an_ending_is_what_the_system_said_and_the_status_what_a_shell_shows(
    tmp_path: Path, script: str, kind: str, code: int | None, number: int | None, status: int
) -> None:
    done, ending = wrap(tmp_path, "sh", "-c", script)
    assert (ending["kind"], ending["exit_code"], ending["signal"]) == (kind, code, number)
    assert done.returncode == status


def test_a_process_that_nothing_could_end_counts_as_killed() -> None:
    assert shell_status(Ending("timed_out", None, None, 1.0, killed=True)) == 137


def make(path: Path, content: bytes, mode: int = 0o755) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
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
    ],
)
def test_a_command_that_cannot_start_has_the_status_and_the_reason_of_a_shell(
    tmp_path: Path, name: str, status: int, reason: str
) -> None:
    (tmp_path / "directory").mkdir()
    make(tmp_path / "plain", b"echo\n", 0o644)
    make(tmp_path / "foreign", b"\x7fELF\0\0\0not for us")
    make(tmp_path / "orphan", b"#!/no/such/interpreter\n")
    (tmp_path / "dangling").symlink_to("nowhere")
    done, ending = wrap(tmp_path, name, cwd=tmp_path, env={**os.environ, "PATH": f"/usr/bin:{tmp_path}"})
    assert (done.returncode, ending["kind"], ending["exit_code"]) == (status, "not_started", status)
    assert ending["reason"] == reason


@pytest.mark.parametrize("name", ["./script", "script"], ids=["by path", "by name"])
def test_a_script_without_an_interpreter_line_runs_under_sh(tmp_path: Path, name: str) -> None:
    make(tmp_path / "script", b'echo "$0|$1|$#"\nexit 5\n')
    env = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done, ending = wrap(tmp_path, name, "a b", cwd=tmp_path, env=env)
    path = "./script" if name == "./script" else f"{tmp_path}/script"
    assert (done.stdout.decode(), ending["exit_code"]) == (f"{path}|a b|1\n", 5)


def test_what_may_not_be_executed_is_passed_over_for_what_comes_later_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    make(tmp_path / "first" / "tool", b"", 0o644)
    make(tmp_path / "second" / "tool", b"#!/bin/sh\necho second\n")
    done, _ = wrap(tmp_path, "tool", env={**os.environ, "PATH": f"{tmp_path}/first:{tmp_path}/second"})
    assert done.stdout == b"second\n"


def test_arguments_arrive_byte_for_byte(tmp_path: Path) -> None:
    words = [b"a b", b"", b"'\"$HOME`", b"two\nlines", b"\xff\xfe\x80", "ü✅".encode(), b"--tail", b"-e", b"--", b"*"]
    done, _ = wrap(tmp_path, "printf", r"%s\0", *words)
    assert done.stdout.split(b"\0") == [*words, b""]


def test_the_child_is_in_the_same_process_group_and_session(tmp_path: Path) -> None:
    tell = "ps -o pgid=,sid= -p $$"
    script = f"{tell}; {shlex.join([*WRAP, str(tmp_path / 'report'), '{}', 'sh', '-c', tell])}"
    lines = subprocess.run(["sh", "-c", script], capture_output=True, check=False, start_new_session=True).stdout.split(
        b"\n"
    )
    assert lines[0] == lines[1] != b""


@pytest.mark.parametrize("tail", [None, 100], ids=["plain", "with a tail"])
def test_the_child_inherits_the_descriptors_of_the_caller_and_no_others(tmp_path: Path, tail: int | None) -> None:
    list_them = ["sh", "-c", "ls /proc/$$/fd"]
    with (tmp_path / "lock").open("w") as lock:
        descriptor = lock.fileno()
        alone = subprocess.run(list_them, capture_output=True, check=False, pass_fds=[descriptor]).stdout
        wrapped, _ = wrap(tmp_path, *list_them, pass_fds=[descriptor], tee=tail is not None)
    assert str(descriptor).encode() in alone.split()
    assert wrapped.stdout == alone


SIGNAL_STATE = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("", id="as usual"),
        pytest.param("trap '' INT QUIT;", id="in the background of a script"),
        pytest.param("trap '' HUP;", id="under nohup"),
        pytest.param("trap '' PIPE;", id="from a shell that ignores PIPE"),
        pytest.param("trap '' USR1 TERM;", id="with others ignored"),
    ],
)
def test_the_child_has_the_signal_mask_and_dispositions_it_would_have_had(tmp_path: Path, setting: str) -> None:
    wrapped = shlex.join([*WRAP, str(tmp_path / "report"), "{}", *SIGNAL_STATE])
    # The trailing `:` keeps the shell from replacing itself with the command.
    script = f"{setting} {shlex.join(SIGNAL_STATE)}; {wrapped}; :"
    output = subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout
    lines = output.splitlines(keepends=True)
    assert len(lines) == 6, output
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


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"LANG": "C", "A": "1"}, id="LANG=C"),
        pytest.param({}, id="nothing"),
        pytest.param({"LC_CTYPE": "POSIX"}, id="LC_CTYPE=POSIX"),
        pytest.param({"LC_CTYPE": "C.UTF-8"}, id="LC_CTYPE=C.UTF-8"),
        pytest.param({"LC_ALL": "C", "X": "\udcff"}, id="not UTF-8"),
    ],
)
def test_the_child_has_the_environment_of_the_caller_and_nothing_of_pythons(
    tmp_path: Path, env: dict[str, str]
) -> None:
    env = {"PATH": "/usr/bin:/bin", **env}
    alone = subprocess.run(["/usr/bin/env", "-0"], capture_output=True, check=False, env=env).stdout
    wrapped, _ = wrap(tmp_path, "/usr/bin/env", "-0", env=env)
    assert wrapped.stdout == alone


def test_an_environment_is_handed_on_as_it_is_given() -> None:
    assert environment_at_start({"A": "b", "LC_CTYPE": "de_DE.UTF-8"}) == {"A": "b", "LC_CTYPE": "de_DE.UTF-8"}


def test_the_command_is_looked_for_on_the_path_of_its_own_environment(tmp_path: Path) -> None:
    make(tmp_path / "tool", b"#!/bin/sh\necho mine\n")
    program = "import sys; from logsh_cli.job.child import start; start(['tool'], env={'PATH': sys.argv[1]}).wait()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=SUPPORT.parents[1])
    assert done.stdout == b"mine\n"


def test_a_status_is_not_lost_when_logsh_was_started_with_chld_ignored(tmp_path: Path) -> None:
    ignore = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", ignore, *WRAP, str(tmp_path / "report"), "{}", "sh", "-c", "exit 9"]
    assert subprocess.run(command, check=False).returncode == 9


# --- signals --------------------------------------------------------------------------------------------------------

HANDED_ON = ["TERM", "INT", "HUP", "QUIT", "USR2", "ALRM", "WINCH", "RTMIN"]


@pytest.mark.parametrize("name", HANDED_ON)
def test_a_signal_sent_to_logsh_reaches_the_child_once_each_time(job: Job, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    for count in range(1, 4):
        os.kill(job.wrapper, number)
        job.wait_for_line(int(number), count)
    assert job.signals() == [number] * 3


@pytest.mark.parametrize("name", HANDED_ON)
def test_a_signal_sent_to_the_whole_group_reaches_the_child_once(job: Job, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    os.killpg(job.wrapper, number)
    assert job.signals() == [number]
    os.killpg(job.wrapper, number)
    os.kill(job.wrapper, number)
    job.wait_for_line(int(number), 2)
    assert job.process.poll() is None


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


def test_a_burst_of_signals_arrives_in_full(job: Job) -> None:
    for count in range(1, 31):
        os.kill(job.wrapper, signal.SIGHUP)
        job.wait_for_line(1, count)
    assert job.signals() == [signal.SIGHUP] * 30


def test_logsh_outlives_the_signals_and_reports_how_the_child_ended(job: Job) -> None:
    os.kill(job.wrapper, signal.SIGTERM)
    job.wait_for_line(15)
    ending = job.end()
    assert (ending["kind"], ending["exit_code"], job.process.returncode) == ("exited", 7, 7)


def test_a_child_that_dies_of_the_signal_is_reported_as_killed_by_it(tmp_path: Path) -> None:
    report = tmp_path / "report"
    command = [*WRAP, str(report), "{}", "sh", "-c", "echo; exec sleep 60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    process.stdout.close()
    assert load(report)["signal"] == signal.SIGINT


def test_a_job_that_signals_its_own_group_still_hears_what_comes_to_logsh(tmp_path: Path) -> None:
    script = "trap 'echo got' TERM; sleep 0.5; kill -TERM 0; sleep 0.5; kill -TERM $PPID; sleep 0.5; echo end"
    report = tmp_path / "report"
    command = [*WRAP, str(report), "{}", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, check=False, start_new_session=True, timeout=PATIENCE_S)
    # Where the bystander has not noticed the first one yet, it is handed on: better twice than never.
    assert done.stdout in (b"got\ngot\nend\n", b"got\ngot\ngot\nend\n")


def test_a_signal_that_was_ignored_from_the_start_stays_ignored(tmp_path: Path) -> None:
    report = tmp_path / "report"
    command = ["nohup", *WRAP, str(report), "{}", "sh", "-c", "echo ready; read line; echo $line"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(b"still here\n", timeout=PATIENCE_S)
    assert (output, process.returncode) == (b"still here\n", 0)


def test_a_timer_set_before_logsh_was_started_still_hits_the_job(tmp_path: Path) -> None:
    alarm = "import os, signal, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", alarm, *WRAP, str(tmp_path / "report"), "{}", "sleep", "60"]
    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 128 + signal.SIGALRM


def test_logsh_waits_on_when_the_child_alone_is_stopped(job: Job) -> None:
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        os.kill(job.child, number)
        if number == signal.SIGTSTP:
            wait_for(lambda: state(job.child) in ("S", "T"), "the child")
        else:
            wait_for(lambda: state(job.child) == "T", "the child to stop")
        assert state(job.wrapper) != "T"
        os.kill(job.child, signal.SIGCONT)
    job.say("awake")
    assert job.end()["exit_code"] == 7


def test_the_group_stops_and_continues_as_one(job: Job) -> None:
    os.killpg(job.wrapper, signal.SIGSTOP)
    wait_for(lambda: state(job.wrapper) == state(job.child) == "T", "both to stop")
    os.killpg(job.wrapper, signal.SIGCONT)
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
    wait_for(lambda: all(map(is_gone, bystanders)), "the bystander to go")


# --- on a terminal --------------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal with a command in its foreground, as the session's leader."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.screen = b""

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def shows(self, text: bytes) -> None:
        """Wait until the text appears, and forget what came up to then."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.screen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.screen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.screen += os.read(self.master, 10000)
                except OSError:
                    raise AssertionError(f"ended without {text!r}: {self.screen!r}") from None
        self.screen = self.screen.split(text, 1)[1]

    def wait(self) -> int:
        """Wait until the command has ended by itself."""
        pid, status = wait_for(lambda: ended if (ended := os.waitpid(self.pid, os.WNOHANG))[0] else None, "the end")
        assert pid == self.pid
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)

    def hang_up(self) -> int:
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize(
    ("key", "number"), [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)], ids=["Ctrl-C", "Ctrl-\\"]
)
def test_a_key_that_signals_the_whole_foreground_reaches_the_child_once(
    tmp_path: Path, key: bytes, number: int
) -> None:
    log, report = tmp_path / "log", tmp_path / "report"
    terminal = Terminal([*WRAP, str(report), "{}", *RECORDER, str(log)])
    wait_for(lambda: log.exists() and "ready" in log.read_text(), "the recorder")
    for count in (1, 2):
        terminal.type(key)
        wait_for_line(log, str(int(number)), count)
        wait_for(lambda: not pending(terminal.pid), "logsh to take it")
        terminal.type(b"ping\n")
        wait_for_line(log, "ping", count)
    terminal.type(b"\x04")
    assert terminal.wait() == 7
    assert log.read_text().splitlines().count(str(int(number))) == 2


def test_the_hangup_that_a_session_leader_gets_reaches_the_child(tmp_path: Path) -> None:
    log, report = tmp_path / "log", tmp_path / "report"
    terminal = Terminal(
        [
            *WRAP,
            str(report),
            "{}",
            "sh",
            "-c",
            f"trap 'echo hup >> {log}; exit 3' HUP; echo up; while :; do sleep 0.05; done",
        ]
    )
    terminal.shows(b"up")
    assert terminal.hang_up() == 3
    assert log.read_text() == "hup\n"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(["env", "TERM=dumb", "bash", "--norc", "--noprofile", "-i"])
    terminal.type(f"PS1='READY''> '; wrap='{' '.join(WRAP)} {tmp_path}/report {{}}'\n".encode())
    terminal.shows(b"READY> ")
    yield terminal
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.hang_up()


def test_ctrl_z_stops_the_job_and_fg_continues_it(shell: Terminal) -> None:
    shell.type(b'$wrap sh -c \'echo started; read x; echo "got $x"\'; echo "status $?"\n')
    shell.shows(b"\r\nstarted")
    shell.type(b"\x1a")
    shell.shows(b"Stopped")
    shell.shows(b"READY> ")
    # A job that has been told to stop may still take a key that is meant for the shell.
    wait_for(lambda: all(state.startswith("T") for state in states_below(shell.pid)), "all to stop")
    shell.type(b"fg\n")
    shell.shows(b"fg\r\n")
    shell.type(b"word\n")
    shell.shows(b"got word")


def states_below(leader: int) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "sid=,pid=,stat=,comm="], capture_output=True, check=True).stdout
    rows = [line.split(None, 3) for line in listing.decode().splitlines()]
    return [row[2] for row in rows if int(row[0]) == leader != int(row[1]) and row[3] != "cat"]


def test_a_job_that_stops_itself_gives_the_terminal_back_to_the_shell(shell: Terminal) -> None:
    shell.type(b"$wrap sh -c 'echo started; kill -TSTP $$; echo continued'\n")
    shell.shows(b"\r\nstarted")
    shell.shows(b"Stopped")
    shell.shows(b"READY> ")
    shell.type(b"fg\n")
    shell.shows(b"\r\ncontinued")
    shell.shows(b"READY> ")


def test_a_background_job_that_reads_the_terminal_waits_for_the_foreground(shell: Terminal) -> None:
    shell.type(b"$wrap sh -c 'read x; echo \"got $x\"' &\n")
    shell.shows(b"READY> ")
    shell.type(b"until jobs | grep Stopped; do sleep 0.1; done\n")
    shell.shows(b"\n[1]+  Stopped")
    shell.type(b"fg\n")
    shell.shows(b"fg\r\n")
    shell.type(b"word\n")
    shell.shows(b"got word")


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_the_child_sees_the_terminal_on_each_stream(tmp_path: Path, stream: int) -> None:
    terminal = Terminal([*WRAP, str(tmp_path / "report"), "{}", "sh", "-c", f"test -t {stream} && echo yes-a-terminal"])
    terminal.shows(b"yes-a-terminal")
    assert terminal.wait() == 0


# --- timeouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [
        pytest.param("exec sleep 60", None, signal.SIGTERM, id="dies of TERM"),
        pytest.param("trap 'exit 5' TERM; while :; do sleep 0.05; done", 5, None, id="ends itself"),
        pytest.param("trap 'exit 0' TERM; while :; do sleep 0.05; done", 0, None, id="ends itself well"),
        pytest.param("trap '' TERM; while :; do sleep 0.05; done", None, signal.SIGKILL, id="ignores TERM"),
        pytest.param("kill -STOP $$", None, signal.SIGTERM, id="is stopped"),
        pytest.param("trap '' TERM; kill -STOP $$; sleep 60 & wait; sleep 60", None, signal.SIGKILL, id="both"),
    ],
)
def test_a_timeout_ends_a_command_that(tmp_path: Path, script: str, code: int | None, number: int | None) -> None:
    done, ending = wrap(tmp_path, "sh", "-c", script, timeout_s=0.3, kill_after_s=0.5)
    assert (ending["kind"], ending["exit_code"], ending["signal"]) == ("timed_out", code, number)
    assert done.returncode == (137 if number == signal.SIGKILL else 124)


def test_a_command_that_ends_in_time_is_left_alone_and_so_is_what_it_leaves_behind(tmp_path: Path) -> None:
    script = "setsid sleep 60 >/dev/null 2>&1 & echo $!"
    done, ending = wrap(tmp_path, "sh", "-c", script, timeout_s=30)
    left = int(done.stdout)
    assert ending["kind"] == "exited"
    assert not is_gone(left)
    os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize(
    "escape",
    [
        pytest.param("sleep 60 & echo $! > pid; wait", id="a child"),
        pytest.param("sh -c 'sleep 60 & echo $! > pid; wait' & wait", id="a grandchild"),
        pytest.param(
            "(sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 0.05; done' &); sleep 60", id="deaf orphan"
        ),
        pytest.param(
            "(setsid sh -c 'echo $$ > pid; exec sleep 60' &); exec sleep 60", id="an orphan in another session"
        ),
        pytest.param("sh -c 'echo $$ > pid; kill -STOP $$' & wait", id="a stopped child"),
    ],
)
def test_a_timeout_ends_everything_that_the_command_started(tmp_path: Path, escape: str) -> None:
    _, ending = wrap(tmp_path, "sh", "-c", escape, cwd=tmp_path, timeout_s=0.5, kill_after_s=0.5)
    assert ending["kind"] == "timed_out"
    assert is_gone(int((tmp_path / "pid").read_text()))


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


def test_orphans_left_to_logsh_do_not_pile_up_as_zombies(tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5; do (sleep 0.01 &); done; sleep 0.3; ps -o stat= --ppid $PPID | grep -c Z"
    done, _ = wrap(tmp_path, "sh", "-c", script, timeout_s=30)
    assert done.stdout == b"0\n"


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


@pytest.mark.parametrize("tail", [None, 100], ids=["plain", "with a tail"])
def test_ten_megabytes_pass_through_both_streams_byte_for_byte(tmp_path: Path, tail: int | None) -> None:
    data = os.urandom(10 * 1024 * 1024)
    done, ending = wrap(tmp_path, "tee", "/dev/stderr", input=data, tee=tail is not None)
    assert done.stdout == data
    assert done.stderr == data
    assert len(ending["tail"]) <= KEPT_BYTES
    assert bool(ending["tail"]) == (tail is not None)


def test_the_tail_holds_the_end_of_both_streams(tmp_path: Path) -> None:
    done, ending = wrap(tmp_path, "sh", "-c", "echo out; sleep 0.1; echo err >&2; sleep 0.1; echo out", tee=True)
    assert (done.stdout, done.stderr) == (b"out\nout\n", b"err\n")
    assert ending["tail"] == b"out\nerr\nout\n"


def test_output_is_passed_on_at_once(tmp_path: Path) -> None:
    command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", "printf prompt; read x; printf $x"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert os.read(process.stdout.fileno(), 100) == b"prompt"
    assert process.communicate(b"done\n", timeout=PATIENCE_S)[0] == b"done"


@pytest.mark.parametrize("writes", ["exec sleep 60", "while :; do echo more; done"], ids=["silent", "busy"])
def test_a_process_left_behind_with_the_pipe_does_not_hold_logsh_up(tmp_path: Path, writes: str) -> None:
    script = f"sh -c '{writes}' & echo $! >&2; exit 4"
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", script]
        assert subprocess.run(command, stdout=out, stderr=err, check=False, timeout=PATIENCE_S).returncode == 4
    os.kill(int((tmp_path / "err").read_text()), signal.SIGKILL)  # which fails if it is gone


def test_what_a_process_left_behind_writes_later_comes_out_as_it_would_without_us(tmp_path: Path) -> None:
    done, _ = wrap(tmp_path, "sh", "-c", "(sleep 0.5; echo late; echo later >&2) & echo soon; exit 4", tee=True)
    assert (done.returncode, done.stdout, done.stderr) == (4, b"soon\nlate\n", b"later\n")


def test_a_reader_that_goes_away_is_felt_by_the_child(tmp_path: Path) -> None:
    report = tmp_path / "report"
    command = shlex.join([*WRAP, str(report), '{"tee": true}', "yes"]) + " | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=PATIENCE_S)
    assert done.stdout == b"y\n"
    assert wait_for(report.exists, "the report")
    assert load(report)["signal"] == signal.SIGPIPE


@pytest.mark.parametrize(
    ("script", "statuses"),
    [
        pytest.param("exec yes", {141}, id="endless"),
        pytest.param("exec seq 1 500000", {141}, id="more than a pipe holds"),
        pytest.param("echo short", {1, 141}, id="less than that"),
        pytest.param("echo one; sleep 0.1; exit 6", {6}, id="a code of its own"),
    ],
)
def test_a_full_disk_makes_no_success_of_a_job(tmp_path: Path, script: str, statuses: set[int]) -> None:
    command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", script]
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run(command, stdout=full, check=False, timeout=PATIENCE_S).returncode in statuses
    assert load(tmp_path / "report")["output_error"] == "No space left on device"


@pytest.mark.parametrize("size", [10, 60_000, 300_000])
def test_the_reason_that_a_job_gives_last_on_standard_error_is_the_end_of_the_tail(tmp_path: Path, size: int) -> None:
    script = f"head -c {size} /dev/zero | tr '\\0' x; printf 'the end' >&2; exit 1"
    for _ in range(5):
        _, ending = wrap(tmp_path, "sh", "-c", script, tee=True)
        assert ending["tail"].endswith(b"xxxthe end")


def test_a_slow_reader_of_standard_output_does_not_make_the_reason_come_before_it(tmp_path: Path) -> None:
    script = "head -c 150000 /dev/zero | tr '\\0' x; printf 'the end' >&2; exit 1"
    command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(0.3)
        assert process.stdout
        assert len(process.stdout.read()) == 150_000
    assert load(tmp_path / "report")["tail"].endswith(b"xxxthe end")


def test_a_slow_reader_of_standard_output_does_not_hold_up_standard_error(tmp_path: Path) -> None:
    script = "yes & echo now >&2; sleep 0.3; echo then >&2; wait"
    command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        assert process.stderr.readline() + process.stderr.readline() == b"now\nthen\n"
        process.stdout.close()  # type: ignore[union-attr]


def test_streams_that_are_one_file_keep_the_order_of_what_is_written(tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", script]
    seen = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout
    assert seen.splitlines() == [f"{stream} {i}".encode() for i in range(1, 10) for stream in ("out", "err")]


def test_output_that_is_held_back_is_shown_in_order_or_not_at_all() -> None:
    program = "import sys; from logsh_cli.job.child import start; c = start(sys.argv[2:], hold=True); e = c.wait()\n"
    program += "if sys.argv[1] == 'show': c.show_output()"
    for word, stdout, stderr in (("show", b"one\nthree\n", b"two\n"), ("hide", b"", b"")):
        job = ["sh", "-c", "echo one; echo two >&2; echo three"]
        command = [sys.executable, "-c", program, word, *job]
        done = subprocess.run(command, capture_output=True, check=True, cwd=SUPPORT.parents[1])
        assert (done.stdout, done.stderr) == (stdout, stderr)


def test_a_stream_that_someone_made_non_blocking_loses_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    size = 1_000_000
    command = [*WRAP, str(tmp_path / "report"), '{"tee": true}', "head", "-c", str(size), "/dev/zero"]
    process = subprocess.Popen(command, stdout=writing)
    os.close(writing)
    received = 0
    while chunk := os.read(reading, 1000):
        received += len(chunk)
    os.close(reading)
    assert process.wait(PATIENCE_S) == 0
    assert received == size


def test_a_stream_that_is_closed_stays_closed(tmp_path: Path) -> None:
    wrapped = shlex.join([*WRAP, str(tmp_path / "report"), '{"tee": true}', "sh", "-c", "ls /proc/$$/fd >&2"])
    done = subprocess.run(["sh", "-c", f"{wrapped} >&- <&-"], capture_output=True, check=False, timeout=PATIENCE_S)
    alone = subprocess.run(["sh", "-c", "sh -c 'ls /proc/$$/fd >&2' >&- <&-"], capture_output=True, check=False).stderr
    assert done.stderr == alone


def test_an_interrupt_ends_the_wait_for_a_reader_that_does_not_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    report = tmp_path / "report"
    process = subprocess.Popen(
        [*WRAP, str(report), '{"tee": true}', "head", "-c", "100000", "/dev/zero"], stdout=writing
    )
    os.close(writing)
    wait_for(lambda: not children_named(process.pid, "head"), "the job to end")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    os.close(reading)


def children_named(pid: int, name: str) -> bool:
    listing = subprocess.run(["ps", "-o", "comm=,stat=", "--ppid", str(pid)], capture_output=True, check=False).stdout
    return bool(re.search(rf"(?m)^({name}|python\S*)\s+[^Z]", listing.decode())) or b"cat" not in listing


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
