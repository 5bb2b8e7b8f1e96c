"""``logsh run``: what it reports of a job, and when."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import PATIENCE_S
from tests.support.processes import finish, start_logsh, wait_until
from tests.support.sending import KEY, kept_rows, settings_for
from tests.support.server import Server, error, gated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.command import Completed
    from tests.support.sending import Logsh

pytestmark = pytest.mark.service(key=KEY, validate=True)

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and shells")
pytestmark = posix

HOST = os.uname().nodename if hasattr(os, "uname") else ""
PATIENT = {"LOGSH_DEADLINE": "60"}
"""On a busy machine a delivery may take longer than `run` waits for it."""

SUCCEEDED = {"status": "succeeded", "exit_code": 0}


@pytest.fixture
def run(logsh: Logsh, service: Server) -> Logsh:
    """``logsh run ARGS`` with everything set up well."""

    def call(
        *args: str | bytes,
        env: Mapping[str, str | None] | None = None,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        timeout: float = PATIENCE_S,
    ) -> Completed:
        return logsh(
            "run", *args, env={**settings_for(service), **PATIENT, **(env or {})}, stdin=stdin, cwd=cwd, timeout=timeout
        )

    return call


def sh(script: str) -> list[str]:
    return ["--", "sh", "-c", script]


def metadata(event: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run and machine to machine, once it has been looked at."""
    facts = dict(event["metadata"])
    assert facts.pop("host") == HOST
    assert 0 <= facts.pop("duration_s") < 60
    return facts


# --- the event ------------------------------------------------------------------------------------------------------


def test_a_success_is_one_event_with_the_documented_fields_and_prints_nothing(run: Logsh, service: Server) -> None:
    done = run("--", "true")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    (event,) = service.events
    assert list(event) == ["workspace", "event", "description", "icon", "metadata"]
    assert (event["workspace"], event["event"], event["icon"]) == ("shop", "true", "✅")
    assert re.fullmatch(r"succeeded in \d+(\.\d)?s", event["description"])
    assert metadata(event) == {**SUCCEEDED, "command": "true"}


TIMED_OUT = "timed out after"
DEAF = "trap '' TERM; while :; do sleep 0.05; done"


@pytest.mark.parametrize(
    ("script", "status", "described", "facts"),
    [
        ("exit 2", 2, "failed with exit code 2 after", {"status": "failed", "exit_code": 2}),
        ("kill -TERM $$", -15, "killed by SIGTERM after", {"status": "killed", "signal": "SIGTERM"}),
        ("exec sleep 60", 124, TIMED_OUT, {"status": "timed_out", "signal": "SIGTERM"}),
        (DEAF, 137, TIMED_OUT, {"status": "timed_out", "signal": "SIGKILL"}),
        (None, 126, "could not start sh: not executable", {"status": "not_started", "exit_code": 126}),
    ],
    ids=["failed", "killed", "timed out", "deaf to TERM", "not started"],
)
def test_a_job_that_does_not_succeed_is_described_measured_and_pushed(
    run: Logsh, service: Server, tmp_path: Path, script: str | None, status: int, described: str, facts: dict[str, Any]
) -> None:
    (tmp_path / "sh").write_text("echo\n")
    limits = ["--timeout", "0.3s", "--kill-after", "0.2s"] if described == TIMED_OUT else []
    done = run(*limits, *(sh(script) if script else ["--", str(tmp_path / "sh")]))
    assert (done.code, done.stdout) == (status, "")
    lines = {"timed_out": rf"logsh: sh: timed out after \d+\.\d s{', killed' * (status == 137)}\n"}
    lines["not_started"] = rf"logsh: {tmp_path}/sh: not executable\n"
    assert re.fullmatch(lines.get(facts["status"], ""), done.stderr)
    (event,) = service.events
    assert event["description"].startswith(described)
    assert (event["event"], event["icon"], event["notify"]) == ("sh", "❌", True)
    assert metadata(event) == {**facts, "command": "sh"}


def test_names_icons_metadata_and_workspace_are_as_given(run: Logsh, service: Server) -> None:
    given = ["-e", "backup.nightly", "-d", "disk 3", "-w", "Servers", "-m", "host=web-1", "-m", "disk:=3"]
    icons = ["--icon-success", ":rocket:", "--icon-failure", "🔥"]
    for script in ("true", "false"):
        run(*given, *icons, *sh(script))
    good, bad = service.events
    assert [event["icon"] for event in (good, bad)] == ["🚀", "🔥"]
    assert good["workspace"] == "Servers"
    assert good["event"] == bad["event"] == "backup.nightly"
    assert good["description"].startswith("disk 3: succeeded in ")
    assert bad["description"].startswith("disk 3: failed with exit code 1 after ")
    assert good["metadata"]["disk"] == 3
    assert good["metadata"]["host"] == "web-1"


def test_arguments_never_leave_the_machine(run: Logsh, service: Server, tmp_path: Path) -> None:
    script = tmp_path / "dump"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    run("--", str(script), "--password=hunter2-hunter2")
    assert service.events[0]["event"] == service.events[0]["metadata"]["command"] == "dump"
    assert b"hunter2" not in service.requests[0].body


def test_the_projects_file_gives_workspace_and_metadata_and_flags_win(
    run: Logsh, service: Server, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".logsh.toml").write_text('workspace = "project"\n[metadata]\nteam = "ops"\ntier = "free"\n')
    run("-m", "tier=pro", "--", "true", cwd=project, env={"LOGSH_WORKSPACE": None})
    assert service.events[0]["workspace"] == "project"
    assert metadata(service.events[0]) == {**SUCCEEDED, "command": "true", "team": "ops", "tier": "pro"}


def test_what_is_too_long_is_shortened_so_that_the_ending_stays(run: Logsh, service: Server) -> None:
    run("-e", "e" * 400, "-d", "d" * 400, *sh("exit 5"))
    (event,) = service.events
    assert event["event"] == "e" * 149 + "…"
    assert len(event["description"]) <= 150
    assert "…: failed with exit code 5 after" in event["description"]


def test_a_name_that_is_none_gives_way_to_the_commands_own(run: Logsh, service: Server) -> None:
    assert run("-e", "  ", "--", "true").stderr == ""
    assert service.events[0]["event"] == "true"


def test_bytes_that_are_no_utf_8_do_not_keep_an_event_from_being_sent(run: Logsh, service: Server) -> None:
    assert run(b"-e", b"caf\xe9", b"-d", b"na\xefve", "--", "true").stderr == ""
    assert service.events[0]["event"] == "caf\ufffd"
    assert service.events[0]["description"].startswith("na\ufffdve: succeeded")


@pytest.mark.parametrize(
    ("option", "complaint", "kept"),
    [
        pytest.param(["--icon-failure", "nope"], "--icon-failure is not an emoji", {"a": "b"}, id="an icon"),
        pytest.param(["-m", "k" * 101 + "=v"], "--meta key", {}, id="metadata"),
        pytest.param(["--icon-failure", "nope", "-m", "x=" + "v" * 501], "--icon-failure", {}, id="both"),
    ],
)
def test_an_event_goes_out_without_what_is_wrong_with_it_and_says_so_on_one_line(
    run: Logsh, service: Server, option: list[str], complaint: str, kept: dict[str, str]
) -> None:
    done = run(*option, "-m", "a=b", *sh("exit 3"))
    assert (done.code, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert done.stderr.startswith("logsh: sent without what is wrong with it: ")
    assert complaint in done.stderr
    (event,) = service.events
    assert event["icon"] == "❌"
    assert metadata(event) == {"status": "failed", "exit_code": 3, "command": "sh", **kept}


# --- the command line -----------------------------------------------------------------------------------------------


def test_options_that_cannot_be_parsed_are_2_and_nothing_runs(run: Logsh, service: Server, tmp_path: Path) -> None:
    for wrong in (
        *("--on never", "--notify-on success", "--success-codes 0,256", "--timeout soon", "--kill-after -1s"),
        *("--tail 501", "--tail 0", "-m novalue", "-m n:=[1]", "--json", "--notify-after 0", "--evnt x"),
    ):
        done = run(*wrong.split(), "--", "touch", "ran", cwd=tmp_path)
        assert (done.code, done.stderr[:7]) == (2, "logsh: "), wrong
    assert run("--").code == 2
    assert not (tmp_path / "ran").exists()
    assert service.requests == []


def test_there_is_nothing_of_ours_on_standard_output_even_when_verbose_or_wrong(run: Logsh) -> None:
    assert run("-m", "wrong", "--", "echo", "--json").stdout == ""
    done = run("-v", "--start", "--", "echo", "job")
    assert done.stdout == "job\n"
    assert all(line.startswith("* ") for line in done.stderr.splitlines())


# --- when, and whether with a push ----------------------------------------------------------------------------------

OUTCOMES = {"good": "exit 0", "bad": "exit 1", "killed": "kill -KILL $$"}


def reports(run: Logsh, service: Server, *options: str, outcomes: str) -> list[tuple[str, bool]]:
    """For each of these runs: what was reported, ``""`` for nothing, and whether it was pushed."""
    seen = []
    for outcome in outcomes.split():
        before = len(service.events)
        assert run("-e", "job", *options, *sh(OUTCOMES[outcome])).stderr == ""
        new = service.events[before:]
        assert len(new) <= 1
        seen += [(new[0]["metadata"]["status"] if new else "", bool(new and new[0].get("notify")))]
    return seen


def test_a_change_is_breaking_or_recovering_over_several_runs(run: Logsh, service: Server) -> None:
    seen = reports(run, service, "--on", "change", outcomes="good bad bad good")
    assert seen == [("", False), ("failed", True), ("", False), ("succeeded", False)]
    seen = reports(run, service, "--notify-on", "change", outcomes="good bad killed good")
    assert seen == [("succeeded", False), ("failed", True), ("killed", False), ("succeeded", True)]


def test_a_change_is_one_of_this_workspace_in_any_case_and_of_this_event(run: Logsh, service: Server) -> None:
    change = ["--on", "change"]
    assert reports(run, service, *change, "-w", "Ops", outcomes="bad") == [("failed", True)]
    assert reports(run, service, *change, "-w", "oPS", outcomes="bad") == [("", False)]
    assert reports(run, service, *change, "-w", "other", outcomes="bad") == [("failed", True)]
    assert reports(run, service, *change, "-w", "OPS", outcomes="good") == [("succeeded", False)]
    run("-e", "another", *change, "-w", "ops", "--", "false")
    assert service.events[-1]["event"] == "another"


def test_a_change_is_one_of_this_profile(run: Logsh, service: Server, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir(mode=0o700)
    config = tmp_path / "config" / "config.toml"
    config.write_text(f'[profiles.second]\napi_url = "{service.url}"\napi_key = "{KEY}"\n')
    config.chmod(0o600)
    assert reports(run, service, "--on", "change", outcomes="bad bad") == [("failed", True), ("", False)]
    other = ["--on", "change", "--profile", "second", "-w", "shop"]
    assert reports(run, service, *other, outcomes="bad bad") == [("failed", True), ("", False)]


def test_a_change_that_could_not_be_told_is_still_one_the_next_time(run: Logsh, service: Server) -> None:
    lost = run("-e", "job", "--on", "change", "--", "false", env={"LOGSH_API_KEY": None})
    assert "there is no API key" in lost.stderr
    assert reports(run, service, "--on", "change", outcomes="bad bad") == [("failed", True), ("", False)]


def test_a_change_that_is_kept_for_later_has_been_told(run: Logsh, service: Server, logsh: Logsh) -> None:
    service.script(error(402, "payment_required", "Your monthly quota is spent."))
    kept = run("-e", "job", "--on", "change", "--", "false")
    assert kept.stderr.startswith("logsh: not delivered, kept as #1: ")
    assert reports(run, service, "--on", "change", outcomes="bad") == [("", False)]
    assert logsh("outbox", "flush", env=dict(settings_for(service))).code == 0
    assert [event["metadata"]["status"] for event in service.events] == ["failed"]


# --- the start ------------------------------------------------------------------------------------------------------


def test_the_start_is_reported_before_the_end(run: Logsh, service: Server) -> None:
    done = run("--start", "-e", "job", "-d", "nightly", "-m", "disk=3", *sh("exit 4"))
    assert (done.code, done.stderr) == (4, "")
    start, end = service.events
    assert (start["event"], start["description"], start["icon"]) == ("job", "nightly: started", "▶️")
    assert "notify" not in start
    run_id = start["metadata"].pop("run_id")
    assert start["metadata"] == {"status": "started", "host": HOST, "command": "sh", "disk": "3"}
    assert (end["metadata"]["status"], end["metadata"]["run_id"]) == ("failed", run_id)
    assert re.fullmatch("[0-9a-f]{16}", run_id)


def test_reporting_the_start_does_not_keep_the_job_waiting(service: Server, tmp_path: Path) -> None:
    gate = threading.Event()
    service.script(gated(gate))
    ran = tmp_path / "ran"
    process = start_logsh("run", "--start", "--", "touch", str(ran), env=dict(settings_for(service)))
    service.wait_for(1)
    wait_until(ran.exists, "the job to have run while the service has not answered")
    gate.set()
    assert finish(process).code == 0
    assert [event["metadata"]["status"] for event in service.events] == ["started", "succeeded"]


def test_a_start_that_can_not_be_told_leaves_one_line_and_that_after_the_job(run: Logsh) -> None:
    dead = {"LOGSH_API_URL": "http://127.0.0.1:1"}
    done = run("--start", "--on", "failure", "--deadline", "1", *sh("sleep 0.5; echo the job >&2"), env=dead)
    job, line = done.stderr.splitlines()
    assert job == "the job"
    assert line.startswith("logsh: not delivered, kept as #")


def test_the_start_of_what_could_not_start_is_not_reported(run: Logsh, service: Server) -> None:
    assert run("--start", "--", "/no/such/thing").code == 127
    assert [event["metadata"]["status"] for event in service.events] == ["not_started"]


def test_start_and_end_share_one_deadline(service: Server) -> None:
    gate = threading.Event()
    service.default = gated(gate)
    began = time.monotonic()
    done = finish(start_logsh("run", "--start", "--deadline", "3", "--", "true", env=dict(settings_for(service))))
    gate.set()
    assert (done.code, done.stderr.count("\n")) == (0, 1)
    assert time.monotonic() - began < 2 * 3


# --- the tail -------------------------------------------------------------------------------------------------------


def test_the_tail_is_sent_on_failure_redacted_before_it_is_cut(run: Logsh, service: Server) -> None:
    script = f'echo "earlier"; echo "\033[31mtoken=abcdef123456\033[0m"; echo "key {KEY}" >&2; echo "last"; exit 1'
    done = run("--tail", "40", *sh(script))
    assert f"key {KEY}\n" in done.stderr, "the job's own output stays as it is"
    output = service.events[0]["metadata"]["output"]
    assert len(output) <= 40
    assert output.endswith("last") or "[redacted]" in output
    assert "\033" not in output
    assert "abcdef" not in output
    assert KEY[-12:].encode() not in service.requests[0].body


def test_the_tail_is_not_sent_on_success_nor_without_output(run: Logsh, service: Server) -> None:
    run("--tail", "100", *sh("echo fine"))
    run("--tail", "100", *sh("exit 1"))
    assert ["output" in event["metadata"] for event in service.events] == [False, False]


def test_a_tail_of_500_fits_whatever_the_job_wrote(run: Logsh, service: Server) -> None:
    done = run("--tail", "500", *sh("head -c 100000 /dev/urandom; printf '🔥%.0s' $(seq 400); exit 1"))
    assert done.code == 1
    output = service.events[0]["metadata"]["output"]
    assert output.endswith("🔥" * 200)
    assert len(output.encode("utf-16-le")) // 2 <= 500


# --- CI -------------------------------------------------------------------------------------------------------------

ON_GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "o/r",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_SHA": "abc",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "7",
    "GITHUB_ACTOR": "ada",
}
NO_CI = dict.fromkeys(("CI", "TF_BUILD", "GITLAB_CI", *ON_GITHUB))


def test_ci_adds_the_facts_of_the_run_and_leaves_what_is_given_and_how_it_ended(logsh: Logsh, service: Server) -> None:
    env = {**settings_for(service), **NO_CI, **ON_GITHUB}
    given = ["--ci", "-m", "ci_branch=mine", "-m", "n:=1"]
    assert logsh("run", *given, "-m", "status=mine", "--", "true", env=env).stderr == ""
    assert logsh("send", "-e", "x", "-d", "y", *given, env=env).code == 0
    facts = {
        "ci_provider": "GitHub Actions",
        "ci_repository": "o/r",
        "ci_branch": "mine",
        "ci_commit": "abc",
        "ci_run_url": "https://github.com/o/r/actions/runs/7",
        "ci_actor": "ada",
        "n": 1,
    }
    ran, sent = service.events
    assert sent["metadata"] == facts
    assert metadata(ran) == {**facts, "status": "mine", "exit_code": 0, "command": "true"}


def test_outside_of_ci_the_option_adds_nothing(logsh: Logsh, service: Server) -> None:
    logsh("run", "--ci", "--", "true", env={**settings_for(service), **NO_CI})
    assert metadata(service.events[0]) == {**SUCCEEDED, "command": "true"}


NASTY = "100% of\r\nit\n::error::pwned\n::set-output name=a::b"


def test_on_github_a_delivery_problem_is_one_warning_that_can_not_become_another_command(
    logsh: Logsh, service: Server
) -> None:
    service.default = error(402, "payment_required", NASTY)
    for number, (command, status) in enumerate(
        (("run -e job -- sh -c exit\t3", 3), ("send -e job -d x", 75), ("send -e job -d x --best-effort", 0)), 1
    ):
        env = {**settings_for(service), "GITHUB_ACTIONS": "true", "FORCE_COLOR": "1"}
        done = logsh(*[word.replace("\t", " ") for word in command.split(" ")], env=env)
        assert (done.code, done.stdout, done.stderr.count("\n")) == (status, "", 1), command
        assert "\r" not in done.stderr
        assert "\033" not in done.stderr
        assert done.stderr.startswith(f"::warning title=logsh::not delivered, kept as #{number}: ")
        assert "100%25 of" in done.stderr


def test_on_github_a_missing_key_is_a_warning_and_one_to_be_skipped_is_not(run: Logsh) -> None:
    github = {"LOGSH_API_KEY": None, "GITHUB_ACTIONS": "true"}
    assert run("--", "false", env=github).stderr.startswith("::warning title=logsh::there is no API key")
    skipped = run("--", "false", env={**github, "LOGSH_ON_MISSING_KEY": "skip"})
    assert (skipped.code, skipped.stderr.count("\n")) == (1, 1)
    assert skipped.stderr.startswith("logsh: skipped: there is no API key")


def test_without_a_key_the_event_can_be_skipped(run: Logsh, service: Server, tmp_path: Path) -> None:
    done = run("--on-missing-key", "skip", *sh("exit 8"), env={"LOGSH_API_KEY": None})
    assert (done.code, done.stdout, done.stderr.count("\n")) == (8, "", 1)
    assert done.stderr.startswith("logsh: skipped: there is no API key")
    assert service.requests == []
    assert kept_rows(tmp_path) == []


# --- the C locale ---------------------------------------------------------------------------------------------------


def test_the_c_locale_takes_emoji_and_output_that_is_no_utf_8(run: Logsh, service: Server) -> None:
    env: dict[str, str | None] = {"LANG": None, "LC_ALL": "POSIX", "LC_CTYPE": None}
    script = "printf 'caf\\351 \\377 \\360\\237\\224\\245\\n'; exit 1"
    given = ["-e", "größe.🚀", "-d", "Größe", "--icon-failure", "🔥", "-m", "wer=Zoë"]
    done = run(*given, "--tail", "100", *sh(script), env=env)
    assert (done.code, done.raw_stdout, done.stderr) == (1, b"caf\xe9 \xff \xf0\x9f\x94\xa5\n", "")
    (event,) = service.events
    assert (event["event"], event["icon"]) == ("größe.🚀", "🔥")
    assert event["description"].startswith("Größe: failed with exit code 1")
    assert event["metadata"]["wer"] == "Zoë"
    assert event["metadata"]["output"] == "caf\ufffd \ufffd 🔥"


def test_where_python_knows_only_ascii_an_emoji_is_sent_and_shown_as_well_as_can_be(
    run: Logsh, service: Server
) -> None:
    ascii_only: dict[str, str | None] = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert run("-e", "größe.🚀", "-d", "Größe", "--", "true", env=ascii_only).stderr == ""
    assert service.events[0]["event"] == "größe.🚀"
    service.default = error(403, "validation_error", "Icon must be a valid emoji 🔥.")
    done = run("--", "true", env=ascii_only)
    assert (done.code, done.stderr.count("\n")) == (0, 1)
    assert r"Icon must be a valid emoji \U0001f525" in done.stderr


# --- what follows ---------------------------------------------------------------------------------------------------


def test_what_could_not_be_delivered_in_time_goes_to_a_courier(run: Logsh, service: Server, tmp_path: Path) -> None:
    well, service.default = service.default, error(503)
    assert run("--deadline", "0.1", "--", "true").stderr.startswith("logsh: not delivered, kept as #1: ")
    service.default = well
    wait_until(lambda: not kept_rows(tmp_path), "the courier to deliver it")
    assert len(service.events) == 1


def test_a_job_that_replaces_logsh_itself_ends_as_it_would_have(service: Server, tmp_path: Path) -> None:
    """Do what ``logsh run -- pip install -U logsh-cli`` does to the modules that are not loaded yet."""
    shutil.copytree(Path(__file__).parents[2] / "logsh_cli", tmp_path / "lib" / "logsh_cli")
    command = f"rm -rf {shlex.quote(str(tmp_path / 'lib'))}; echo gone; exit 9"
    program = [sys.executable, "-m", "logsh_cli", "run", "--", "sh", "-c", command]
    env = {**settings_for(service), "PYTHONPATH": str(tmp_path / "lib")}
    done = subprocess.run(program, env={**os.environ, **env}, capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (9, b"gone\n")
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"logsh: ")
