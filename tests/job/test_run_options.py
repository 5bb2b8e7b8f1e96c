"""``logsh run``: what its options change about the report, its delivery and what is shown of the job."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.processes import finish, start_logsh, wait_until
from tests.support.sending import KEY, kept_rows, settings_for
from tests.support.server import gated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.command import Completed
    from tests.support.sending import Logsh
    from tests.support.server import Server

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and shells")


@pytest.fixture
def run(logsh: Logsh, service: Server) -> Logsh:
    def call(*args: str | bytes, env: Mapping[str, str | None] | None = None, **more: Any) -> Completed:
        return logsh("run", *args, env={**settings_for(service), **(env or {})}, **more)

    return call


def sh(script: str) -> list[str]:
    return ["--", "sh", "-c", script]


# --- what is reported, and how --------------------------------------------------------------------------------------


def test_an_icon_is_for_every_ending_and_special_ones_win(run: Logsh, service: Server) -> None:
    run("-i", ":rocket:", "--icon-failure", "🔥", *sh("true"))
    run("-i", ":rocket:", "--icon-failure", "🔥", *sh("false"))
    run("-i", ":rocket:", "--icon-success", "🎉", *sh("false"))
    assert [event["icon"] for event in service.events] == ["🚀", "🔥", "🚀"]


def test_only_long_jobs_are_reported_and_every_failure(run: Logsh, service: Server) -> None:
    run("--longer-than", "10m", *sh("true"))
    run("--longer-than", "10m", *sh("exit 3"))
    run("--longer-than", "0.1s", *sh("sleep 0.2"))
    assert [event["metadata"]["status"] for event in service.events] == ["failed", "succeeded"]


def test_pushes_begin_with_the_nth_failure_in_a_row_and_end_with_the_recovery(run: Logsh, service: Server) -> None:
    for code in (1, 2, 3, 0, 1, 0):
        run("-e", "job", "--notify-after", "2", *sh(f"exit {code}"))
    assert [event.get("notify", False) for event in service.events] == [False, True, True, True, False, False]


def test_a_signal_may_be_a_success(run: Logsh, service: Server) -> None:
    for script in ("kill -TERM $$", "exit 143"):
        run("--success-codes", "0,SIGTERM", *sh(script))
    assert [event["description"].split(" in ")[0] for event in service.events] == ["succeeded", "succeeded"]


def stopped(service: Server, *options: str, script: str = "echo ready; exec sleep 60") -> Completed:
    process = start_logsh("run", *options, *sh(script), env=dict(settings_for(service)))
    assert process.stdout
    process.stdout.readline()
    process.terminate()
    return finish(process)


TRAPS = "trap 'exit 143' TERM; echo; while :; do sleep 0.1; done"


def test_an_ordered_stop_is_neither_a_failure_nor_a_change(run: Logsh, service: Server) -> None:
    for on in ("failure", "success", "change"):
        stopped(service, "--on", on, "-e", "job")
    assert service.events == []
    stopped(service, "-e", "job", "--notify-on", "change")
    stopped(
        service, "-e", "job", "--notify-on", "always", script="trap 'exit 143' TERM; echo; while :; do sleep 0.1; done"
    )
    run("-e", "job", "--on", "change", "--", "true")
    assert [event["metadata"]["status"] for event in service.events] == ["stopped", "stopped"]
    assert [event.get("notify", False) for event in service.events] == [False, True]
    assert re.fullmatch(r"stopped by SIGTERM after \d+(\.\d)?s", service.events[0]["description"])


def test_a_term_that_the_job_sent_itself_is_no_ordered_stop(run: Logsh, service: Server) -> None:
    run(*sh("kill -TERM $$"))
    command = [str(LOGSH), "run", *sh("kill -TERM 0")]
    subprocess.run(command, env=environment(settings_for(service)), start_new_session=True, check=False)
    assert [event["metadata"]["status"] for event in service.events] == ["killed", "killed"]


def test_every_key_that_is_set_and_every_secret_variable_is_hidden_in_the_tail(
    run: Logsh, service: Server, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir(mode=0o700)
    (tmp_path / "config" / "config.toml").write_text('api_key = "first-key"\n[profiles.b]\napi_key = "second-key"\n')
    (tmp_path / "config" / "config.toml").chmod(0o600)
    (tmp_path / "file").write_text("third-key\n")
    env: dict[str, str | None] = {"LOGSH_API_KEY_FILE": str(tmp_path / "file"), "MY_PASSWD": "open sesame"}
    run("--tail", "500", *sh(f"echo first-key, second-key, third-key, {KEY}, $MY_PASSWD; exit 1"), env=env)
    assert service.events[0]["metadata"]["output"] == ", ".join(["[redacted]"] * 5)


def test_output_that_could_not_be_passed_on_is_said_and_reported(service: Server) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - as the shell opens it
        command = [str(LOGSH), "run", "--tail", "9", "--", "echo", "x"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment(settings_for(service)), check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"logsh: echo: its output could not be passed on: No space left on device\n"
    assert service.events[0]["metadata"]["output_error"] == "No space left on device"
    assert service.events[0]["metadata"]["status"] == "failed"


# --- what is said ---------------------------------------------------------------------------------------------------


def test_a_command_line_in_quotation_marks_stays_here_and_gets_a_hint(run: Logsh, service: Server) -> None:
    done = run("-q", "--on", "success", "--", "curl -u admin:hunter2 https://host")
    assert (done.code, done.stderr) == (127, "logsh: curl…: not found (did you mean: logsh run -- sh -c '…')\n")
    run("--start", "--", "curl -u admin:hunter2 https://host")
    (event,) = service.events
    assert event["event"] == event["metadata"]["command"] == "curl"
    assert event["description"] == "could not start curl: not found"
    assert b"hunter2" not in service.requests[0].body


def test_a_timeout_is_said_whatever_is_reported(run: Logsh) -> None:
    done = run("-q", "--on", "success", "--timeout", "0.2", *sh("trap 'exit 0' TERM; while :; do sleep 0.05; done"))
    assert done.code == 124
    assert re.search(r"^logsh: sh: timed out after \d\.\d s\n\Z", done.stderr, re.MULTILINE)


def test_a_timeout_of_0_is_none(run: Logsh) -> None:
    assert run("--timeout", "0", *sh("sleep 0.3; exit 6")).code == 6


@pytest.mark.parametrize(("code", "shown"), [(0, ("", "")), (3, ("one\nthree\n", "two\n"))])
def test_a_quiet_job_is_heard_only_if_it_fails(run: Logsh, service: Server, code: int, shown: tuple[str, str]) -> None:
    done = run("--quiet-job", "--tail", "50", *sh(f"echo one; echo two >&2; echo three; exit {code}"))
    assert (done.code, done.stdout, done.stderr) == (code, *shown)
    assert ("output" in service.events[0]["metadata"]) == bool(code)


def test_a_dry_run_shows_both_events_and_runs_nothing(run: Logsh, service: Server, tmp_path: Path) -> None:
    done = run("--dry-run", "-e", "job", "-d", "nightly", "--notify-on", "always", "--", "touch", str(tmp_path / "ran"))
    assert (done.code, done.stderr) == (0, "")
    bodies = [json.loads(found) for found in re.findall(r"\{.*\}", done.stdout)]
    assert [body["description"] for body in bodies] == [
        "nightly: succeeded in 0s",
        "nightly: failed with exit code 1 after 0s",
    ]
    assert {body["event"] for body in bodies} == {"job"}
    assert KEY not in done.stdout
    assert not (tmp_path / "ran").exists()
    assert service.requests == []


# --- how long the report may take -----------------------------------------------------------------------------------


@pytest.fixture
def gate(service: Server) -> Iterator[threading.Event]:
    """The service answers nothing until this is set."""
    event = threading.Event()
    service.default = gated(event)
    yield event
    event.set()


def opened_after(gate: threading.Event, seconds: float) -> None:
    timer = threading.Timer(seconds, gate.set)
    timer.daemon = True
    timer.start()


KEPT = re.compile(r"logsh: not delivered, kept as #\d+: .*\n")


def test_after_the_job_a_courier_takes_over_before_long(run: Logsh, gate: threading.Event, tmp_path: Path) -> None:
    opened_after(gate, 8)  # the delivery of a `send` would still be waiting by then
    assert KEPT.fullmatch(run("--", "true").stderr)
    # It sends after a minute, since the service may have the event: what it does then is seen where no answer is late.
    wait_until(lambda: list((tmp_path / "state").glob("courier-*.lock")), "the courier to be at work")


@pytest.mark.parametrize(("options", "env"), [((), {"CI": "true"}), (("--deadline", "30"), {})], ids=["CI", "deadline"])
def test_under_ci_and_with_a_deadline_it_may_take_longer(
    run: Logsh, gate: threading.Event, options: tuple[str, ...], env: dict[str, str | None]
) -> None:
    opened_after(gate, 4.5)
    assert run(*options, "--", "true", env=env).stderr == ""


def test_after_an_ordered_stop_it_is_a_second(service: Server, gate: threading.Event) -> None:
    opened_after(gate, 2.9)
    done = stopped(service)
    assert done.code == -signal.SIGTERM
    assert KEPT.fullmatch(done.stderr)


def test_while_an_event_of_just_now_still_waits_it_is_a_quick_try(run: Logsh, gate: threading.Event) -> None:
    assert KEPT.fullmatch(run("--deadline", "0.1", "--", "true").stderr)
    opened_after(gate, 2.9)
    assert KEPT.fullmatch(run("--", "true").stderr)


def test_in_the_background_nothing_waits(service: Server, gate: threading.Event, tmp_path: Path) -> None:
    process = start_logsh("run", "-b", "--deadline", "600", *sh("exit 3"), env=dict(settings_for(service)))
    done = finish(process, timeout=PATIENCE_S)
    assert (done.code, done.stdout, done.stderr) == (3, "", "")
    assert len(kept_rows(tmp_path)) == 1
    gate.set()
    wait_until(lambda: not kept_rows(tmp_path), "the courier to deliver it")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_while_the_job_runs_what_its_end_needs_is_loaded_and_nothing_is_sent(service: Server) -> None:
    env = dict(settings_for(service))
    process = start_logsh("run", "--", "cat", env=env, stdin=subprocess.PIPE)
    libraries = Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: "/_ssl." in libraries.read_text(), "the library that a request needs")
    assert service.requests == []
    assert finish(process).code == 0
    assert len(service.events) == 1
