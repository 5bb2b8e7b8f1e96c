"""``logsh run`` and signals: the keyboard, job control, ``kill``; each has the effect it would have without logsh."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.processes import wait_until
from tests.support.pty_session import CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, PROMPT, Bash, Session
from tests.support.recorder import LEFT
from tests.support.sending import KEY, settings_for
from tests.support.server import Server, gated

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and knows Linux's signals")

RECORDER = [sys.executable, str(Path(__file__).parents[1] / "support" / "recorder.py")]
WRAP = f"{LOGSH} run -e job --"
TAIL = f"{LOGSH} run -e job --tail 100 --"
PLAIN_AND_TAIL = pytest.mark.parametrize("wrap", [WRAP, TAIL], ids=["plain", "with a tail"])


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        for name, value in settings_for(server, LOGSH_DEADLINE="60").items():
            monkeypatch.setenv(name, value)
        yield server


def outcomes(service: Server) -> list[str]:
    return [event["metadata"]["status"] for event in service.events]


class Job:
    """A recorder under ``logsh run``, in a session and a process group of its own."""

    def __init__(self, tmp_path: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.log = tmp_path / "signals"
        command = [str(LOGSH), "run", *options, "--", *RECORDER, str(self.log)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=environment(env)
        )
        self.wrapper = self.process.pid
        wait_until(lambda: self.log.exists() and "ready" in self.log.read_text(), "the recorder to be ready")
        self.child = int(re.match(r"ready (\d+)", self.log.read_text())[1])  # type: ignore[index]

    def got(self) -> list[int]:
        """The signals of the recorder so far."""
        return [int(line) for line in self.log.read_text().splitlines() if line.isdecimal()]

    def wait_for(self, *numbers: int) -> None:
        wait_until(lambda: self.got() == list(numbers), f"{numbers}, not {self.got()}")

    def wait_until_taken(self) -> None:
        """Until logsh has taken what it was sent: two of a kind that wait are one to the kernel."""
        wait_until(lambda: not signal_set(self.wrapper, "ShdPnd"), "logsh to take its signals")

    def end(self) -> tuple[int, bytes]:
        """Let the recorder end, with its 7."""
        _, stderr = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, stderr


def signal_set(pid: int, field: str) -> set[int]:
    """One of the sets in ``/proc/PID/status``."""
    found = re.search(rf"^{field}:\t(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    bits = int(found[1], 16)
    return {number for number in signal.valid_signals() if bits >> (number - 1) & 1}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    job.process.kill()
    job.process.communicate()


# --- kill -----------------------------------------------------------------------------------------------------------

ABOUT_A_PROCESS_ITSELF = {
    *(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGXCPU, signal.SIGURG, signal.SIGIO),  # not about the job
    signal.SIGCONT,
}
CATCHABLE = sorted(signal.valid_signals() - LEFT)
FORWARDED = [number for number in CATCHABLE if number not in ABOUT_A_PROCESS_ITSELF]


def test_each_signal_sent_to_logsh_reaches_the_job_once_and_as_often_as_it_comes(job: Job, service: Server) -> None:
    sent: list[int] = []
    for number in (*FORWARDED, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(job.wrapper, number)
        sent.append(number)
        job.wait_for(*sent)
    assert job.end() == (7, b"")
    assert job.got() == sent
    assert outcomes(service) == ["failed"]


def test_each_signal_sent_to_the_job_is_its_own_affair(job: Job, service: Server) -> None:
    sent: list[int] = []
    for number in CATCHABLE:
        os.kill(job.child, number)
        sent.append(number)
        job.wait_for(*sent)
    assert job.end() == (7, b"")
    assert outcomes(service) == ["failed"]


def test_each_signal_sent_to_the_group_reaches_the_job_once(job: Job, service: Server) -> None:
    sent: list[int] = []
    for number in FORWARDED:
        os.killpg(job.wrapper, number)
        sent.append(number)
        job.wait_for(*sent)
        job.wait_until_taken()
    # To logsh alone, once everything before has been dealt with: what came twice would be there by now.
    os.kill(job.wrapper, signal.SIGTERM)
    job.wait_for(*sent, signal.SIGTERM)
    assert job.end() == (7, b"")
    assert outcomes(service) == ["failed"]


@pytest.mark.parametrize("name", ["HUP", "QUIT"])
def test_a_job_that_dies_of_what_logsh_was_sent_was_stopped_and_logsh_dies_the_same_way(
    service: Server, name: str
) -> None:
    number = signal.Signals[f"SIG{name}"]
    command = [str(LOGSH), "run", "--", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE_S) == (b"", b"")
    assert process.returncode == -number
    (event,) = service.events
    assert event["metadata"]["signal"] == f"SIG{name}"
    status, icon = ("killed", "❌") if name == "QUIT" else ("stopped", "⏹️")
    assert (event["metadata"]["status"], event["icon"], event.get("notify")) == (status, icon, name == "QUIT" or None)


def test_killing_logsh_leaves_the_job_to_itself_as_killing_a_shell_would(job: Job) -> None:
    job.process.kill()
    job.process.wait()
    os.kill(job.child, signal.SIGUSR1)
    job.wait_for(signal.SIGUSR1)


# --- while the report is on its way ---------------------------------------------------------------------------------


def delivering(service: Server, *options: str, status: int = 3) -> subprocess.Popen[bytes]:
    """A job that has ended, and whose report the service has not answered."""
    process = subprocess.Popen(
        [str(LOGSH), "run", *options, "--deadline", "60", "--", "sh", "-c", f"exit {status}"],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    service.wait_for(1)
    return process


@pytest.mark.parametrize(("name", "status"), [("TERM", 3), ("INT", -signal.SIGINT)])
def test_a_signal_to_stop_ends_the_wait_for_the_service_and_int_ends_a_loop(
    service: Server, name: str, status: int
) -> None:
    service.default = gated(threading.Event())
    process = delivering(service)
    process.send_signal(getattr(signal, f"SIG{name}"))
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert re.fullmatch(rb"logsh: not delivered, kept as #1: (interrupted|ended by TERM) \(.*\)\n", stderr)


@pytest.mark.parametrize("options", [(), ("--start",)], ids=["plain", "waiting for the start"])
def test_a_signal_that_was_the_jobs_does_not_harm_the_report_after_it(
    service: Server, options: tuple[str, ...]
) -> None:
    gate = threading.Event()
    service.default = gated(gate)
    process = delivering(service, *options)
    if options:
        wait_until(lambda: signals_arrive(process.pid), "the wait for the start")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGWINCH, signal.SIGRTMIN, signal.SIGURG):
        process.send_signal(number)
    gate.set()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stderr) == (3, b"")


def signals_arrive(pid: int) -> bool:
    """Return whether TERM is let through in the process's main thread."""
    return signal.SIGTERM not in signal_set(pid, "SigBlk")


def test_a_signal_ends_the_wait_for_the_start_as_well(service: Server) -> None:
    service.default = gated(threading.Event())
    process = delivering(service, "--start", status=5)
    wait_until(lambda: signals_arrive(process.pid), "the wait for the start")
    process.terminate()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert stderr.count(b"\n") == 1


def test_a_signal_while_the_settings_are_read_is_heard_and_the_report_is_kept_all_the_same(
    service: Server, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    os.mkfifo(key)
    command = [str(LOGSH), "run", "--", "sh", "-c", "exit 3"]
    env = environment({"LOGSH_API_KEY": None, "LOGSH_API_KEY_FILE": str(key)})
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process, key.open("wb") as writer:
        wait_until(lambda: signals_arrive(process.pid), "the settings to be read")
        for _ in range(3):
            process.terminate()
            wait_until(lambda: not signal_set(process.pid, "ShdPnd"), "the signal to be taken")
        writer.write(KEY.encode())
        writer.close()
        assert process.stderr
        assert process.stderr.read().startswith(b"logsh: not delivered, kept as #1: ended by TERM (")
        assert process.wait(PATIENCE_S) == 3
    assert service.requests == []


# --- the keyboard ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Bash]:
    with Bash(cwd=tmp_path) as bash:
        yield bash


def test_a_key_pressed_once_is_one_signal_for_the_job_and_twice_are_two(
    bash: Bash, tmp_path: Path, service: Server
) -> None:
    log = tmp_path / "log"
    bash.type(f"{WRAP} {shlex.join(RECORDER)} log; echo status $?\n".encode())
    wait_until(lambda: log.exists() and "ready" in log.read_text(), "the recorder")
    seen: list[str] = []
    for key, number in ((CTRL_C, signal.SIGINT), (CTRL_C, signal.SIGINT), (CTRL_BACKSLASH, signal.SIGQUIT)) * 2:
        bash.type(key)
        seen.append(str(int(number)))
        wait_until(lambda: log.read_text().splitlines()[1:] == seen, "the signal")
        bash.type(b"ping\n")  # the answer comes after anything that the key has set off
        seen.append("ping")
        wait_until(lambda: log.read_text().splitlines()[1:] == seen, "the answer")
    bash.type(CTRL_D)
    bash.shows(b"status 7")
    assert outcomes(service) == ["failed"]


@PLAIN_AND_TAIL
def test_ctrl_c_stops_a_loop_of_the_shell_and_a_script(bash: Bash, tmp_path: Path, wrap: str) -> None:
    bash.type(f"while true; do echo round; {wrap} sleep 30; done\n".encode())
    bash.shows(b"done\r\nround\r\n")
    wait_for_sleep(bash)
    bash.type(CTRL_C)
    assert b"round" not in bash.shows(PROMPT)
    assert b"130" in bash.run(b"echo $?")
    (tmp_path / "script").write_text(f"while true; do echo round; {wrap} sleep 30; done\necho after\n")
    with Session(["sh", "script"], cwd=tmp_path) as session:
        session.shows(b"round")
        wait_for_sleep(session)
        session.type(CTRL_C)
        assert session.rest().replace(b"^C", b"").strip() == b""
        assert session.wait() == -signal.SIGINT


def wait_for_sleep(session: Session) -> None:
    """Wait until the session's command, or something that it started, is ``sleep``."""

    def runs() -> bool:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,comm="], capture_output=True, check=True).stdout
        family = {session.process.pid}
        for row in sorted((line.split(None, 2) for line in listing.decode().splitlines()), key=lambda row: int(row[0])):
            if int(row[1]) in family:
                family.add(int(row[0]))
                if row[2] == "sleep":
                    return True
        return False

    wait_until(runs, "sleep to run")


@pytest.mark.parametrize("options", [(), ("--tail", "100")], ids=["plain", "with a tail"])
def test_ctrl_c_is_an_ordered_stop_although_the_job_may_have_it_before_us(
    service: Server, options: tuple[str, ...]
) -> None:
    for _ in range(2):
        command = [str(LOGSH), "run", "--on", "failure", *options, "--", "sh", "-c", "echo up; exec sleep 30"]
        with Session(command) as session:
            session.shows(b"up")
            session.type(CTRL_C)
            session.rest()
            assert session.wait() == -signal.SIGINT
    assert service.events == []


def test_ctrl_c_goes_on_with_a_loop_whose_job_took_it_as_no_reason_to_die(bash: Bash) -> None:
    job = "sh -c 'trap \"exit 4\" INT; echo up; while :; do sleep 0.05; done'"
    bash.type(f"for round in 1 2; do {WRAP} {job}; echo status $?; done\n".encode())
    bash.shows(b"\r\nup\r\n")
    bash.type(CTRL_C)
    bash.shows(b"status 4\r\nup\r\n")
    bash.type(CTRL_C)
    bash.shows(b"status 4\r\n")


def test_ctrl_c_while_the_report_is_on_its_way_gives_the_prompt_back_at_once(bash: Bash, service: Server) -> None:
    service.default = gated(threading.Event())
    bash.type(f"{LOGSH} run --deadline 600 -- sh -c 'exit 3'\n".encode())
    service.wait_for(1)
    bash.type(CTRL_C)
    shown = bash.shows(PROMPT)
    assert b"kept as #1" in shown
    assert b"130" in bash.run(b"echo $?")


def states(session: Session) -> list[str]:
    """The states of logsh and its job: of what is in the session besides the shell, without the bystander."""
    listing = subprocess.run(["ps", "-A", "-o", "sid=,pid=,stat=,comm="], capture_output=True, check=True).stdout
    leader = str(session.process.pid)
    rows = [line.split(None, 3) for line in listing.decode().splitlines()]
    return [row[2] for row in rows if row[0] == leader != row[1] and row[3] != "cat"]


def wait_until_stopped(session: Session) -> None:
    """A job that has been told to stop may still take a key that was meant for the shell."""
    wait_until(lambda: states(session) and all(state.startswith("T") for state in states(session)), "all to stop")


def wait_until_continued(session: Session) -> None:
    wait_until(lambda: all(state.startswith("S") and "+" in state for state in states(session)), "all to go on")


@PLAIN_AND_TAIL
def test_ctrl_z_stops_the_job_and_fg_continues_it(bash: Bash, service: Server, wrap: str) -> None:
    bash.type(f"{wrap} sh -c 'echo up; read x; echo \"got $x\"; exit 5'\n".encode())
    bash.shows(b"\r\nup\r\n")
    for _ in range(2):
        bash.type(CTRL_Z)
        bash.shows(b"Stopped")
        bash.shows(PROMPT)
        wait_until_stopped(bash)
        bash.type(b"fg\n")
        bash.shows(b"fg\r\n")
        wait_until_continued(bash)
    bash.type(b"word\n")
    bash.shows(b"got word\r\n")
    bash.shows(PROMPT)
    assert b"5" in bash.run(b"echo $?")
    assert outcomes(service) == ["failed"]


def test_bg_lets_a_stopped_job_finish_in_the_background(bash: Bash, service: Server) -> None:
    # A job that starts nothing: a shell's child that is stopped between fork and exec holds its parent in the kernel.
    code = 'import time; print("up", flush=True); [time.sleep(0.1) for _ in range(9)]; print("through")'
    bash.type(f"{WRAP} {sys.executable} -c '{code}'\n".encode())
    bash.shows(b"\r\nup\r\n")
    bash.type(CTRL_Z)
    bash.shows(b"Stopped")
    bash.shows(PROMPT)
    wait_until_stopped(bash)
    bash.type(b"bg\n")
    bash.shows(b"through\r\n")
    bash.type(b"wait; echo over\n")
    bash.shows(b"\nover")
    assert outcomes(service) == ["succeeded"]


@PLAIN_AND_TAIL
def test_a_program_that_stops_itself_gives_the_terminal_back(bash: Bash, wrap: str) -> None:
    bash.type(f"{wrap} sh -c 'echo up; kill -TSTP $$; echo continued'\n".encode())
    bash.shows(b"\r\nup\r\n")
    bash.shows(b"Stopped")
    bash.shows(PROMPT)
    bash.type(b"fg\n")
    bash.shows(b"\r\ncontinued\r")  # with a tail the terminal may add one more return, which shows nowhere
    bash.shows(PROMPT)


def test_kill_by_job_number_ends_the_job_once(bash: Bash, tmp_path: Path, service: Server) -> None:
    bash.type(
        f"{WRAP} sh -c 'trap \"echo term >> log; exit 8\" TERM; touch up; while :; do sleep 0.05; done' &\n".encode()
    )
    bash.shows(PROMPT)
    wait_until((tmp_path / "up").exists, "the job")
    bash.type(b"kill %1; wait %1; echo status $?\n")
    bash.shows(b"status 8")
    assert (tmp_path / "log").read_text() == "term\n"
    assert outcomes(service) == ["failed"]


def test_a_background_job_of_a_script_ignores_the_keyboard_as_it_would_have(tmp_path: Path) -> None:
    """A shell without job control starts background jobs with INT and QUIT ignored."""
    script = f"{WRAP} sh -c 'touch up; while [ ! -e go ]; do sleep 0.05; done; touch through' & wait; wait"
    with Session(["sh", "-c", f"trap 'echo caught' INT; {script}"], cwd=tmp_path) as session:
        wait_until((tmp_path / "up").exists, "the job")
        session.type(CTRL_C)
        session.shows(b"caught")
        (tmp_path / "go").touch()
        wait_until((tmp_path / "through").exists, "the job to go on")


def test_hanging_up_the_terminal_is_felt_and_reported(tmp_path: Path, service: Server) -> None:
    with Bash(cwd=tmp_path) as bash:
        bash.type(
            f"{WRAP} sh -c 'trap \"echo hup >> log; exit 3\" HUP; touch up; while :; do sleep 0.05; done'\n".encode()
        )
        wait_until((tmp_path / "up").exists, "the job")
        os.kill(bash.process.pid, signal.SIGHUP)  # as the terminal's emulator does; bash passes it to its jobs
        service.wait_for_events(1)
    assert (tmp_path / "log").read_text() == "hup\n"
    assert service.events[0]["metadata"]["exit_code"] == 3


def test_the_hangup_that_a_session_leader_gets_reaches_the_job(tmp_path: Path, service: Server) -> None:
    script = "trap 'echo hup >> log; exit 3' HUP; echo up; while :; do sleep 0.05; done"
    with Session([str(LOGSH), "run", "--", "sh", "-c", script], cwd=tmp_path) as session:
        session.shows(b"up")
        session.hang_up()
        service.wait_for_events(1)
    assert (tmp_path / "log").read_text() == "hup\n"
    assert service.events[0]["metadata"]["exit_code"] == 3


def test_a_background_job_that_reads_the_terminal_waits_for_the_foreground(bash: Bash) -> None:
    bash.type(f"{WRAP} sh -c 'read x; echo \"got $x\"' &\n".encode())
    bash.shows(PROMPT)
    bash.type(b"until jobs | grep Stopped; do sleep 0.1; done\n")
    bash.shows(b"\n[1]+  Stopped")
    bash.type(b"fg\n")
    bash.shows(b"fg\r\n")
    bash.type(b"word\n")
    bash.shows(b"got word")


def test_nohup_keeps_the_job_alive(service: Server) -> None:
    command: list[Any] = ["nohup", str(LOGSH), "run", "--", "sh", "-c", "echo up; read x; exit 2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.communicate(b"go\n", timeout=PATIENCE_S)
    assert process.returncode == 2
    assert outcomes(service) == ["failed"]
