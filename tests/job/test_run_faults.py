"""Whatever is wrong with us, ``logsh run`` leaves the job its output and its status, and says so on one line."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.blackhole import blackhole
from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.namespace import seeing
from tests.support.sending import KEY, kept_rows, settings_for
from tests.support.server import Listener, Server, drip_body, drip_headers, drop, error, gated, html404, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.support.answers import Answer

pytestmark = [
    pytest.mark.service(key=KEY),
    pytest.mark.skipif(os.name != "posix", reason="POSIX shells, limits and streams"),
]

DEADLINE_S = 1
BRIEFLY = {"LOGSH_DEADLINE": str(DEADLINE_S)}
"""For what never gets through; whatever does has time, also on a machine that stalls."""

JOB = ["sh", "-c", "printf out; echo err >&2; exit 3"]
SLACK_S = 15
"""The time that a loaded machine may add. A fault that is not bounded takes minutes, or for ever."""


class Outcome(NamedTuple):
    code: int
    stdout: str
    lines: list[str]
    """Return the lines of logsh, without the job's own."""


def run_job(
    env: Mapping[str, str | None], *options: str, job: Sequence[str] = JOB, prefix: Sequence[str] = ()
) -> Outcome:
    """Run the job, wait no longer than the deadline and the slack, and check what must hold whatever is wrong."""
    command = [*prefix, str(LOGSH), "run", *options, "--", *job]
    patient = environment({"LOGSH_DEADLINE": "60", **env})
    began = time.monotonic()
    done = subprocess.run(
        command, env=patient, capture_output=True, check=False, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
    )
    assert time.monotonic() - began < DEADLINE_S + SLACK_S
    assert done.stderr.startswith(b"err\n"), "the job's line is there, and first"
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode().splitlines()[1:])


def assert_one_line(outcome: Outcome, *words: str) -> None:
    """That the job is as it was, and that we said one thing, in which these words are."""
    assert (outcome.code, outcome.stdout) == (3, "out")
    assert len(outcome.lines) == 1, outcome.lines
    (line,) = outcome.lines
    assert line.startswith("logsh: ")
    assert "Traceback" not in line
    assert KEY not in line
    for word in words:
        assert word in line


# --- configuration --------------------------------------------------------------------------------------------------


def write_config(content: bytes) -> Callable[[Path], None]:
    def write(tmp_path: Path) -> None:
        (tmp_path / "config").mkdir(mode=0o700)
        (tmp_path / "config" / "config.toml").write_bytes(content)
        (tmp_path / "config" / "config.toml").chmod(0o600)

    return write


def config_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "config" / "config.toml").mkdir(parents=True)


def bad_project_file(tmp_path: Path) -> None:
    (tmp_path / "home" / ".logsh.toml").write_text("workspace = [1]\n")


def nothing(_tmp_path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "env", "options", "word"),
    [
        (nothing, {"LOGSH_API_KEY": None}, "", "no API key"),
        (nothing, {"LOGSH_API_KEY": "two words"}, "", "LOGSH_API_KEY"),
        (nothing, {"LOGSH_API_KEY": None, "LOGSH_API_KEY_FILE": "/no/such/file"}, "", "/no/such/file"),
        (nothing, {"LOGSH_WORKSPACE": None}, "", "no workspace"),
        (nothing, {}, "-w " + "w" * 36, "--workspace"),
        (nothing, {"LOGSH_API_URL": "http://example.org"}, "", "example.org"),
        (nothing, {"LOGSH_DEADLINE": "soon"}, "", "LOGSH_DEADLINE"),
        (nothing, {"LOGSH_CA_FILE": "/no/such/ca"}, "", ""),
        (nothing, {}, "--profile nobody", "nobody"),
        (write_config(b"workspace = \n"), {}, "", "config.toml"),
        (write_config(b"workspace = 1\n"), {}, "", "workspace"),
        (config_is_a_directory, {}, "", "config.toml"),
        (bad_project_file, {}, "", ".logsh.toml"),
    ],
)
def test_a_configuration_that_is_wrong_costs_one_line_with_a_start_too(
    service: Server,
    tmp_path: Path,
    prepare: Callable[[Path], None],
    env: dict[str, str | None],
    options: str,
    word: str,
) -> None:
    prepare(tmp_path)
    if "LOGSH_CA_FILE" in env:
        env = {**env, "LOGSH_API_URL": service.url.replace("http:", "https:")}
    assert_one_line(run_job({**settings_for(service), **env}, *options.split(), "--start"), word)


def test_a_file_where_the_configuration_directory_should_be_is_no_configuration(
    service: Server, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("a file\n")
    assert run_job(dict(settings_for(service))) == Outcome(3, "out", [])


# --- the network ----------------------------------------------------------------------------------------------------

FAULTY: dict[str, Answer] = {
    "silent": gated(threading.Event()),
    "dripping headers": drip_headers(),
    "dripping a body": drip_body(),
    "hanging up": drop(),
    "gibberish": raw(b"\x00\xff gibberish\r\n\r\n", name="gibberish"),
    "out of quota": error(402, "payment_required", "Your monthly quota is spent."),
    "refusing the key": error(401, "unauthorized", "Your Bearer Token is missing, invalid or expired."),
    "refusing the event": error(403, "validation_error", "Icon must be a valid emoji 🔥."),
    "no Logsh": html404(),
    "hostile": error(400, "bad_request", "\x1b[2J\r\n::error::\u202etxt"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_service_that_does_not_work_costs_one_line_and_the_deadline(service: Server, fault: str) -> None:
    service.default = FAULTY[fault]
    outcome = run_job({**settings_for(service), **BRIEFLY})
    if fault == "dripping a body":  # a 201 is a 201 however long its text is
        assert (outcome.code, outcome.stdout, len(outcome.lines) <= 1) == (3, "out", True)
        return
    assert_one_line(outcome)
    assert outcome.lines[0].isprintable()
    assert "\u202e" not in outcome.lines[0]


def test_a_service_that_hangs_up_on_the_start_costs_one_line(service: Server) -> None:
    service.default = gated(threading.Event())
    assert_one_line(run_job({**settings_for(service), **BRIEFLY}, "--start"))


def test_a_connection_that_is_refused_costs_one_line(tmp_path: Path) -> None:
    with Server() as gone:
        pass
    assert_one_line(run_job({**settings_for(gone), **BRIEFLY}), "not delivered, kept as #1")
    assert len(kept_rows(tmp_path)) == 1


def test_a_connection_that_is_neither_made_nor_refused_costs_one_line(service: Server) -> None:
    with blackhole() as (host, port):
        assert_one_line(
            run_job({**settings_for(service), **BRIEFLY, "LOGSH_API_URL": f"http://{host}:{port}"}), "kept as #1"
        )


def test_a_server_without_tls_where_there_should_be_some_costs_one_line(service: Server) -> None:
    assert_one_line(
        run_job({**settings_for(service), **BRIEFLY, "LOGSH_API_URL": service.url.replace("http:", "https:")})
    )


def test_a_proxy_that_never_answers_costs_one_line(service: Server) -> None:
    with Listener() as proxy:
        env = {"LOGSH_API_URL": "https://logsh.example", "https_proxy": f"http://127.0.0.1:{proxy.port}"}
        assert_one_line(run_job({**settings_for(service), **BRIEFLY, **env}), "kept as #1")
        assert proxy.connections


def test_a_name_server_that_never_answers_costs_one_line_and_the_deadline(service: Server, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.0.153", 53))
        except PermissionError:
            pytest.skip("a name server's port needs root")
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.153\noptions timeout:30 attempts:5\n")
        (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
        prefix = seeing(
            {"/etc/resolv.conf": tmp_path / "resolv.conf", "/etc/nsswitch.conf": tmp_path / "nsswitch.conf"}, []
        )
        outcome = run_job({**settings_for(service), **BRIEFLY, "LOGSH_API_URL": "https://logsh.example"}, prefix=prefix)
        silent.settimeout(0)
        assert b"\5logsh\7example" in silent.recv(1000), "it was asked"
    assert_one_line(outcome, "kept as #1")


# --- the disk -------------------------------------------------------------------------------------------------------


def limited(limit: str) -> list[str]:
    """Return the words that run a command under a limit of the shell's ``ulimit``."""
    return ["sh", "-c", f'ulimit -S {limit}; exec "$@"', "sh"]


FULL_DISK = limited("-f 0")
"""As good as a full one: no file can grow."""


def make_state_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file\n")


def make_outbox_a_directory(tmp_path: Path) -> None:
    (tmp_path / "state" / "outbox.db").mkdir(parents=True)


@pytest.mark.parametrize(
    ("prepare", "prefix"),
    [(nothing, FULL_DISK), (make_state_a_file, []), (make_outbox_a_directory, [])],
    ids=["a full disk", "a file in place of the directory", "a directory in place of the file"],
)
def test_without_a_store_the_event_still_goes_out_and_only_a_failure_is_said(
    service: Server, tmp_path: Path, prepare: Callable[[Path], None], prefix: list[str]
) -> None:
    prepare(tmp_path)
    assert run_job(dict(settings_for(service)), "--on", "change", prefix=prefix) == Outcome(3, "out", [])
    assert [event["metadata"]["exit_code"] for event in service.events] == [3]
    env = {**settings_for(service), **BRIEFLY, "LOGSH_API_URL": "http://127.0.0.1:1"}
    assert_one_line(run_job(env, prefix=prefix), "could not be kept")


def test_a_disk_that_fills_up_under_an_outbox_that_is_there_does_not_stop_the_report(
    service: Server, tmp_path: Path
) -> None:
    assert run_job(dict(settings_for(service))).lines == []
    outcome = run_job(dict(settings_for(service)), "--on", "change", prefix=FULL_DISK)
    assert (outcome.code, outcome.lines) == (3, [])
    assert (tmp_path / "state" / "outbox.db").stat().st_size > 0


def test_an_outbox_that_is_damaged_is_set_aside_with_one_line(service: Server, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "outbox.db").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    assert_one_line(run_job(dict(settings_for(service))), "outbox.db.corrupt-")
    assert len(service.events) == 1


def test_an_outbox_that_somebody_holds_does_not_hold_up_the_job(service: Server, tmp_path: Path) -> None:
    assert run_job(dict(settings_for(service))).lines == []
    with sqlite3.connect(tmp_path / "state" / "outbox.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        command = [str(LOGSH), "run", "--", "sh", "-c", "touch ran; exit 3"]
        env = environment(settings_for(service, LOGSH_DEADLINE="60"))
        with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + PATIENCE_S
            while not (tmp_path / "ran").exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            holder.execute("ROLLBACK")
            assert process.communicate(timeout=PATIENCE_S)[1] == b""
    holder.close()
    assert process.returncode == 3
    assert len(service.events) == 2


# --- ourselves ------------------------------------------------------------------------------------------------------


def test_a_missing_home_costs_nothing_that_the_job_would_notice(service: Server) -> None:
    home = {"HOME": None, "LOGSH_CONFIG_DIR": None, "LOGSH_STATE_DIR": None, "XDG_STATE_HOME": "/proc/nowhere"}
    outcome = run_job({**settings_for(service), **home})
    assert outcome == Outcome(3, "out", [])


def test_a_working_directory_that_is_gone_is_none_of_our_business(service: Server, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    script = 'cd "$0"; rmdir "$0"; exec "$@"'
    command = ["sh", "-c", script, str(here), str(LOGSH), "run", "--", "env", "printf", "out"]
    done = subprocess.run(
        command, env=environment(settings_for(service, LOGSH_DEADLINE="60")), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out", b"")
    assert len(service.events) == 1


def test_hardly_any_descriptors_are_enough_for_the_job(service: Server) -> None:
    for descriptors, *options in ((5,), (8,), (6, "--start"), (5, "--tail", "50"), (8, "--tail", "50")):
        # A shell needs descriptors beyond 9 to redirect, so this job doesn't.
        command = [
            *limited(f"-n {descriptors}"),
            str(LOGSH),
            "run",
            *map(str, options),
            "--",
            "sh",
            "-c",
            "printf out; exit 3",
        ]
        done = subprocess.run(
            command, env=environment(settings_for(service, LOGSH_DEADLINE="60")), capture_output=True, check=False
        )
        assert (done.returncode, done.stdout) == (3, b"out"), (descriptors, options)
        assert done.stderr.count(b"\n") <= 1


@pytest.mark.parametrize("name", ["job/report", "outbox"])
def test_a_fault_in_logsh_itself_costs_one_line(service: Server, tmp_path: Path, name: str) -> None:
    """A module that can't be loaded any more, as amid an upgrade; the copy that is run has it spoilt."""
    subprocess.run(["cp", "-r", str(Path(__file__).parents[2] / "logsh_cli"), str(tmp_path)], check=True)
    package = tmp_path / "logsh_cli" / name
    module = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    assert module.exists()
    module.write_text("raise RuntimeError('spoilt')\n")
    command = [sys.executable, "-m", "logsh_cli", "run", "--", *JOB]
    env = environment({**settings_for(service), "PYTHONPATH": str(tmp_path)})
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=PATIENCE_S, cwd=tmp_path)
    job, line = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, job) == (3, b"out", "err")
    assert line.startswith("logsh: ")
    assert "spoilt" in line


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"], ids=["closed", "full"])
def test_a_line_that_can_not_be_written_changes_nothing(service: Server, closed: str) -> None:
    script = f'"$@" sh -c "exit 3" {closed}'
    command = ["sh", "-c", script, "sh", str(LOGSH), "run", "--"]
    env = environment({**settings_for(service), "LOGSH_API_KEY": None})
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (3, b"")


def test_the_jobs_duration_is_its_own_whatever_the_service_does(service: Server) -> None:
    gate = threading.Event()
    service.script(gated(gate))
    command = [str(LOGSH), "run", "--start", "--", "sh", "-c", "date +%s%N; sleep 0.3; date +%s%N"]
    with subprocess.Popen(
        command, env=environment(settings_for(service, LOGSH_DEADLINE="60")), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        began, ended = int(process.stdout.readline()), int(process.stdout.readline())
        gate.set()
        assert process.wait(PATIENCE_S) == 0
    measured = service.wait_for_events(2)[1]["metadata"]["duration_s"]
    assert (ended - began) / 1e9 <= measured + 0.001


def test_a_key_that_a_pipe_gives_but_once_reports_a_longer_job(service: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    env = {**settings_for(service), "LOGSH_API_KEY": None, "LOGSH_API_KEY_FILE": str(tmp_path / "key")}
    for options, count in (((), 1), (("--start",), 3)):
        with subprocess.Popen(["sh", "-c", f"echo {KEY} >{tmp_path / 'key'}"]):
            done = run_job({**env, "LOGSH_DEADLINE": None}, *options, job=["sh", "-c", "sleep 2; echo err >&2; exit 3"])
        assert (done.code, done.lines) == (3, [])
        assert len(service.events) == count


def test_a_key_that_is_never_written_holds_up_neither_the_end_nor_the_tail(service: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    env = {**settings_for(service), "LOGSH_API_KEY": None, "LOGSH_API_KEY_FILE": str(tmp_path / "key")}
    with subprocess.Popen(["sh", "-c", f"exec sleep 100 >{tmp_path / 'key'}"]) as writer:
        try:
            assert_one_line(run_job(env, "--tail", "9"), "nobody writes to it")
            # The key is a variable's; whatever else may hold one is looked at for what the tail must not show.
            assert run_job({**env, "LOGSH_API_KEY": KEY}, "--tail", "9") == Outcome(3, "out", [])
        finally:
            writer.kill()
