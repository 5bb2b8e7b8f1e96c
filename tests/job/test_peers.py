"""Known behaviour of other wrappers, one table each: ``logsh run`` does the same in their place."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import LOGSH, PATIENCE_S
from tests.support.namespace import seeing
from tests.support.processes import wait_until
from tests.support.sending import settings_for
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and knows Linux's signals")

WRAP = [str(LOGSH), "run", "-e", "job"]
TAIL = ("--tail", "100")


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        for name, value in settings_for(server, LOGSH_DEADLINE="60").items():
            monkeypatch.setenv(name, value)
        yield server


def status_of(*options: str, script: str, **popen: object) -> tuple[int, str]:
    command = [*WRAP, *options, "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S, text=True, **popen)  # type: ignore[call-overload]
    return done.returncode, done.stdout


# --- dumb-init: what is sent to the wrapper is sent to the child, signal by signal ----------------------------------


def test_each_signal_to_the_wrapper_is_the_jobs_with_a_tail_too(tmp_path: Path) -> None:
    names = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "ALRM", "VTALRM", "PROF", "WINCH", "PWR", "STKFLT"]
    traps = "; ".join(f"trap 'echo {name} >> got' {name}" for name in names)
    script = f"{traps}; trap 'exit 0' RTMIN; : > got; while :; do sleep 0.02; done"
    with subprocess.Popen([*WRAP, *TAIL, "--", "bash", "-c", script], cwd=tmp_path) as process:
        got = tmp_path / "got"
        wait_until(got.exists, "the job")
        for count, name in enumerate(names, 1):
            process.send_signal(getattr(signal, f"SIG{name}"))
            wait_until(lambda: got.read_text().splitlines() == names[:count], name)  # noqa: B023 - called at once
        process.send_signal(signal.SIGRTMIN)
        assert process.wait(PATIENCE_S) == 0


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def state(pid: int) -> str:
    found = re.search(r"^State:\t(\w)", status(pid), re.MULTILINE)
    assert found
    return found[1]


def test_a_stop_and_a_continuation_are_the_jobs_too(tmp_path: Path) -> None:
    command = [*WRAP, "--", "sh", "-c", "echo $$ > pid; exec sleep 60"]
    with subprocess.Popen(command, cwd=tmp_path, process_group=0) as process:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the job")
        child = int((tmp_path / "pid").read_text())
        for _ in range(3):
            process.send_signal(signal.SIGTSTP)
            wait_until(lambda: state(child) == state(process.pid) == "T", "both to stop")
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: state(child) == state(process.pid) == "S", "both to go on")
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM


HEARS_TERM = """
trap 'echo term >> got' TERM; trap 'exit 9' USR1; : > got; : > up
while :; do sleep 0.02; if test -e go; then rm go; kill -TERM 0; fi; done
"""


@contextlib.contextmanager
def hearing_term(place: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[int], None]]]:
    """A job that says when it has a TERM, and what waits until it has had so many, and no more."""

    def has_had(count: int) -> None:
        def is_settled() -> bool:
            return "ShdPnd:\t" + "0" * 16 in status(process.pid) and (place / "got").read_text().count("term") >= count

        wait_until(is_settled, f"{count} of TERM")

    command = [*WRAP, *options, "--", "sh", "-c", HEARS_TERM]
    with subprocess.Popen(command, cwd=place, start_new_session=True) as process:
        wait_until((place / "up").exists, "the job")
        if not options:
            wait_until(lambda: bystanders(process.pid), "the bystander")
        yield process, has_had
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE_S) == 9


@pytest.mark.parametrize("options", [(), TAIL], ids=["plain", "with a tail"])
def test_a_job_that_signals_its_own_group_has_that_once_and_hears_the_next(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with hearing_term(tmp_path, *options) as (process, has_had):
        (tmp_path / "go").touch()
        for count in (1, 2, 3, 4):
            has_had(count)
            time.sleep(0.1)  # what is handed on once more comes within the grace, and a look
            process.terminate()
        has_had(5)
    assert (tmp_path / "got").read_text() == "term\n" * 5


def test_a_bystander_that_somebody_ended_is_replaced(tmp_path: Path) -> None:
    with hearing_term(tmp_path) as (process, has_had):
        (first,) = bystanders(process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: bystanders(process.pid) not in ([], [first]), "another bystander")
        os.killpg(process.pid, signal.SIGTERM)
        has_had(1)
    assert (tmp_path / "got").read_text() == "term\n"


def test_a_term_to_the_bystander_alone_does_not_hide_the_next(tmp_path: Path) -> None:
    with hearing_term(tmp_path) as (process, has_had):
        (first,) = bystanders(process.pid)
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: len(bystanders(process.pid)) > 1, "another bystander for TERM")
        process.terminate()
        has_had(1)
        os.killpg(process.pid, signal.SIGTERM)
        has_had(2)
    assert (tmp_path / "got").read_text() == "term\n" * 2


@pytest.mark.parametrize(("missing", "most"), [(("cat",), 1), (("cat", "busybox", "sh"), 2)])
def test_without_a_program_that_can_stand_by_the_job_hears_what_the_group_is_sent(
    tmp_path: Path, missing: Sequence[str], most: int
) -> None:
    (tmp_path / "nothing").touch()
    places = [Path(folder, name) for folder in ("/bin", "/usr/bin") for name in missing]
    without = seeing({str(place): tmp_path / "nothing" for place in places if place.exists()}, WRAP)
    script = "trap 'echo term >> got' TERM; trap 'exit 9' USR1; : > up; while :; do sleep 0.02; done"
    with subprocess.Popen([*without, "--", "bash", "-c", script], cwd=tmp_path, start_new_session=True) as process:
        wait_until((tmp_path / "up").exists, "the job")
        wait_until(lambda: len(missing) > 1 or bystanders(process.pid, "sh"), "the bystander")
        os.killpg(process.pid, signal.SIGTERM)
        wait_until((tmp_path / "got").exists, "the signal")
        time.sleep(0.2)  # what is handed on once more comes within the grace, and a look
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE_S) == 9
    assert 1 <= (tmp_path / "got").read_text().count("term") <= most


def bystanders(parent: int, program: str = "cat") -> list[int]:
    listing = subprocess.run(["ps", "-o", "pid=,comm=,stat=", "--ppid", str(parent)], capture_output=True, check=False)
    rows = [line.split() for line in listing.stdout.decode().splitlines()]
    return [int(row[0]) for row in rows if row[1] == program and row[2][0] != "Z"]


# --- tini: as a container's first process it hands signals on, buries orphans, and ends as the job did ---------------

NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]


ORPHANS = "for i in 1 2 3; do (sleep 0.1 & exec true); done; sleep 0.4; ps -A -o stat= | grep -c '^Z'"


@pytest.mark.skipif(
    subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode != 0,
    reason="user namespaces are not allowed here",
)
def test_as_the_first_process_it_ends_as_the_job_buries_orphans_and_hands_signals_on() -> None:
    for options, script, status, stdout in (
        ((), "exit 42", 42, ""),
        ((), "kill -TERM $$", 143, ""),
        ((), "kill -KILL $$", 137, ""),
        ((), ORPHANS, 1, "0\n"),
        ((*TAIL, "--timeout", "1m"), ORPHANS, 1, "0\n"),
        ((), "trap 'echo term; exit 7' TERM; (kill -TERM 1) ; while :; do sleep 0.02; done", 7, "term\n"),
    ):
        command = [*NAMESPACE, *WRAP, *options, "--", "sh", "-c", script]
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S, text=True)
        assert (done.returncode, done.stdout) == (status, stdout), (options, script)


def test_a_subreaper_that_somebody_made_us_buries_orphans() -> None:
    adopt = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    script = "for i in 1 2 3; do (sleep 0.1 & exec true); done; sleep 0.4; ps -o stat= --ppid $PPID | grep -c '^Z'"
    command = [sys.executable, "-c", adopt, *WRAP, "--", "sh", "-c", script]
    assert subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S).stdout == b"0\n"


# --- coreutils: timeout(1), and what other programs make of a full disk ---------------------------------------------


def test_a_timeout_has_the_statuses_of_timeout() -> None:
    limit = ("--timeout", "0.1")
    deaf = "trap '' TERM; while :; do sleep 0.02; done"
    for options, script, status in (
        (("--timeout", "30"), "exit 2", 2),
        (("--timeout", "0"), "sleep 0.2", 0),
        (limit, "exec sleep 10", 124),
        (limit, "trap 'exit 0' TERM; while :; do sleep 0.02; done", 124),
        ((*limit, *TAIL), "trap 'exit 3' TERM; while :; do sleep 0.02; done", 124),
        ((*limit, *TAIL), "kill -STOP $$; sleep 10", 124),
        ((*limit, "--kill-after", "0.1"), deaf, 137),
        ((*limit, "--kill-after", "0.1", *TAIL), deaf, 137),
        (("--timeout", "30"), "kill -TERM $$", -15),
        (("--timeout", "30"), "kill -KILL $$", -9),
    ):
        assert status_of(*options, script=script)[0] == status, (options, script)


@pytest.mark.parametrize("options", [(), (*TAIL, "--timeout", "1m")], ids=["plain", "with a tail and a timeout"])
def test_on_a_full_disk_a_job_fails(service: Server, options: tuple[str, ...]) -> None:
    for job in (["echo", "x"], ["seq", "1", "500000"], ["yes"]):
        with Path("/dev/full").open("wb") as full:
            command = ["env", *WRAP, *options, "--", *job]
            done = subprocess.run(command, stdout=full, stderr=subprocess.DEVNULL, check=False, timeout=PATIENCE_S)
        assert done.returncode not in (0, 2), job
    assert [event["icon"] for event in service.events] == ["❌"] * 3
