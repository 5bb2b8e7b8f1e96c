"""``logsh send`` as its users meet it: rules, options, defaults, retries and the deadline."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import answers as says
from tests.support.command import LOGSH, environment
from tests.support.inprocess import call_main
from tests.support.kept import keep
from tests.support.pty_session import Session
from tests.support.sending import (
    BODY,
    EVENT,
    KEY,
    LATER,
    Logsh,
    check_result,
    kept_rows,
    settings_for,
    wait_for_background,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.answers import Answer
    from tests.support.server import Server

# The documented rules


def test_all_problems_are_told_at_once_each_with_its_flag_and_rule_and_nothing_is_stored_or_sent(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    wrong = ("-e", "e" * 251, "-d", " ", "-w", "w" * 36, "-i", ":rokcet:", "-m", "novalue", "-m", "a:=nope", "-m", "=x")
    done = logsh("send", *wrong, env=settings_for(service))
    assert (done.code, done.stdout) == (2, "")
    for said in (
        "--event must be at most 250 characters; yours has 251 (use --truncate to shorten it)",
        "--desc must not be empty",
        "--workspace must be at most 35 characters; yours has 36",
        "--icon",
        ":rocket:",
        '--meta must be KEY=VALUE, or KEY:=JSON for a number or a boolean; got "novalue"',
        '--meta "a" must be JSON after :=; got "nope"',
        "--meta must have no empty key",
    ):
        assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert service.requests == []
    assert not (tmp_path / "state").exists()


def test_the_machine_form_of_a_broken_rule_lists_the_same_problems(logsh: Logsh, service: Server) -> None:
    done = logsh("send", "-e", "", "--json", env=settings_for(service))
    result = check_result(done, status="failed", exit_code=2, event=None, id=None, attempts=0, error="invalid_event")
    assert result["error"]["message"] == "--event must not be empty; --desc is required"
    assert done.stderr == ""


RULES = {
    "no event": (("-d", "d"), "--event is required"),
    "no description": (("-e", "e"), "--desc is required"),
    "white space alone is empty": (("-e", " \t\n", "-d", "d"), "--event must not be empty"),
    "description of 151": (("-e", "e", "-d", "d" * 151), "--desc must be at most 150 characters; yours has 151"),
    "icon that is a word": (("-e", "e", "-d", "d", "-i", "rocket"), "--icon"),
    "two icons": (("-e", "e", "-d", "d", "-i", "🚀🚀"), "--icon"),
    "empty icon": (("-e", "e", "-d", "d", "-i", ""), "--icon must not be empty"),
    "workspace that is empty": (("-e", "e", "-d", "d", "-w", ""), "--workspace must not be empty"),
    "the same key twice": (("-e", "e", "-d", "d", "-m", "a=1", "-m", "a=2"), '--meta must give each key once; "a"'),
    "a list": (("-e", "e", "-d", "d", "-m", "a:=[1]"), '--meta "a" must be a string, a number, true or false'),
    "null": (("-e", "e", "-d", "d", "-m", "a:=null"), '--meta "a" must be a string, a number, true or false'),
    "a value of 501": (("-e", "e", "-d", "d", "-m", "a=" + "x" * 501), "must be at most 500 characters; yours has 501"),
    "a key of 101": (("-e", "e", "-d", "d", "-m", "k" * 101 + "=1"), "must be at most 100 characters; yours has 101"),
    "NUL": (("-e", "e", "-d", "a\0b"), "--desc must not contain NUL characters"),
    "a lone surrogate": (("-e", "\udcff", "-d", "d"), "--event is not valid UTF-8 text"),
    "deadline of zero": (("-e", "e", "-d", "d", "--deadline", "0"), "--deadline must be above 0"),
    "deadline that is no number": (("-e", "e", "-d", "d", "--deadline", "nan"), "--deadline must be a duration"),
}


def test_a_broken_rule_is_wrong_usage_that_says_which(tmp_path: Path) -> None:
    for name, (args, said) in RULES.items():
        done = call_main("send", *args, env={"LOGSH_WORKSPACE": "w", "LOGSH_API_KEY": KEY})
        assert (done.code, done.stdout) == (2, ""), name
        assert said in done.stderr, name
        assert done.stderr.startswith("logsh: "), name
    assert not (tmp_path / "state").exists()


def test_a_problem_with_a_default_names_where_the_default_comes_from() -> None:
    done = call_main("send", *EVENT, env={"LOGSH_WORKSPACE": "w" * 36, "LOGSH_ICON": "no", "LOGSH_API_KEY": KEY})
    assert done.code == 2
    assert "LOGSH_WORKSPACE must be at most 35 characters" in done.stderr
    assert "LOGSH_ICON" in done.stderr


@pytest.mark.parametrize(
    ("env", "args", "error"),
    [
        ({"LOGSH_API_KEY": ""}, (), "missing_key"),
        ({"LOGSH_WORKSPACE": ""}, (), "missing_workspace"),
        ({}, ("-p", "nobody"), "unknown_profile"),
        ({"LOGSH_DEADLINE": "soon"}, (), "bad_config"),
        ({"LOGSH_API_URL": "http://logsh.example.com"}, (), "bad_config"),
        ({"LOGSH_API_KEY": "two words"}, (), "bad_config"),
    ],
    ids=["no key", "no workspace", "unknown profile", "bad variable", "plain http elsewhere", "impossible key"],
)
def test_what_must_be_set_up_first_is_78_and_says_what_to_do(
    service: Server, env: dict[str, str], args: tuple[str, ...], error: str, tmp_path: Path
) -> None:
    done = call_main("send", *EVENT, *args, "--json", env=settings_for(service) | env)
    result = check_result(done, status="failed", exit_code=78, id=None, error=error)
    assert result["error"]["hint"] or error == "bad_config"
    assert service.requests == []
    assert not (tmp_path / "state").exists()


def test_a_setting_that_only_shows_when_the_client_is_made_is_78_and_the_event_is_kept(
    service: Server, tmp_path: Path
) -> None:
    env = settings_for(service, LOGSH_API_URL="https://localhost:1", LOGSH_CA_FILE=str(tmp_path / "missing.pem"))
    done = call_main("send", *EVENT, "--json", env=env)
    check_result(done, status="queued", exit_code=78, id=1, attempts=0, error="bad_config")
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"]


# Options


def test_truncate_shortens_event_and_description_so_that_both_columns_take_them(logsh: Logsh, service: Server) -> None:
    done = logsh("send", "-e", "e" * 300, "-d", "🎉" * 200, "--truncate", env=settings_for(service))
    assert done.code == 0
    body = service.requests[0].json
    assert body["event"] == "e" * 149 + "…"
    assert body["description"] == "🎉" * 74 + "…"  # each is two of the service's units


def test_no_validate_leaves_the_judgement_to_the_service(logsh: Logsh, service: Server) -> None:
    service.default = says.error(403, "validation_error", "Icon must be a valid emoji 🔥.")
    done = logsh("send", "-e", "e" * 300, "-d", "d", "-i", "nope", "--no-validate", env=settings_for(service))
    assert done.code == 65
    assert "Icon must be a valid emoji 🔥. (HTTP 403)" in done.stderr
    assert service.requests[0].json["icon"] == "nope"


def test_a_dry_run_shows_exactly_what_is_then_sent_and_touches_nothing(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    given = ("send", *EVENT, "-i", ":tada:", "-m", "n:=1.50", "-m", "s=ünï")
    shown = logsh(*given, "--dry-run", "--json", env=settings_for(service)).json
    assert (shown["status"], shown["exit_code"], shown["attempts"], shown["id"]) == ("dry_run", 0, 0, None)
    assert service.requests == []
    assert not (tmp_path / "state").exists()
    request = shown["request"]
    assert list(request) == ["method", "url", "headers", "body"]

    assert logsh(*given, env=settings_for(service)).code == 0
    sent = service.requests[0]
    assert f"{request['method']} {request['url']}" == f"{sent.method} {service.url}{sent.path}"
    assert request["body"] == shown["event"] == sent.json
    assert request["headers"].pop("Authorization") == "Bearer [redacted]"
    assert {name.lower(): value for name, value in request["headers"].items()}.items() <= sent.headers.items()


def test_a_dry_run_needs_no_key_and_is_one_plain_line(logsh: Logsh) -> None:
    done = logsh("send", *EVENT, "-w", "shop", "--dry-run", "-q")
    assert (done.code, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("curl -X POST https://logsh.co/api/event ")
    assert line.endswith(f"-d '{json.dumps(BODY)}'")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_dry_run_in_a_pipe_is_a_command_that_sends_the_event(logsh: Logsh) -> None:
    given = ["-e", "it's", "-d", 'say "$HOME" `id` \\ ü', "-i", ":rocket:", "-m", "n:=3"]
    script = 'logsh send "$@" --dry-run | sh >&2'
    done = logsh("sandbox", "--json", "--", "sh", "-c", script, "sh", *given)
    (line,) = done.stdout.splitlines()
    (direct,) = logsh("sandbox", "--json", "--", "logsh", "send", *given, "-q").stdout.splitlines()
    assert json.loads(line)["event"] == json.loads(direct)["event"]


def test_success_is_one_line_that_says_what_and_where_and_quiet_says_nothing(logsh: Logsh, service: Server) -> None:
    done = logsh("send", *EVENT, env=settings_for(service))
    assert done.stdout.startswith("delivered: deploy.done -> shop (HTTP 201, ")
    assert len(done.stdout.splitlines()) == 1
    done = logsh("send", *EVENT, "-q", env=settings_for(service))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("answer", "code", "begins"),
    [
        (says.error(403, "validation_error", "No."), 65, "logsh: refused: the service refused the event: No. (HTTP"),
        (says.error(401, "unauthorized", "Who?"), 77, "logsh: not delivered, kept as #1: the service refused the key"),
        (says.error(503, "x", "Later.", LATER), 75, "logsh: not delivered, kept as #1: the service is not available"),
        (says.html404(), 78, "logsh: not delivered, kept as #1: the answer is not Logsh's: HTTP 404 with text/html"),
    ],
    ids=["refused", "key refused", "not available", "no Logsh"],
)
def test_a_failure_is_one_line_that_says_what_became_of_the_event_also_when_quiet(
    service: Server, answer: Answer, code: int, begins: str
) -> None:
    service.default = answer
    done = call_main("send", *EVENT, "-q", env=settings_for(service))
    assert (done.code, done.stdout) == (code, "")
    assert done.stderr.startswith(begins)
    assert len(done.stderr.splitlines()) == 1


def test_verbose_shows_request_answer_and_timings_of_every_attempt(logsh: Logsh, service: Server) -> None:
    service.script(
        says.error(503, "busy", "Come back.", {"Retry-After": "0"}, details={"why": "maintenance"}), says.drop()
    )
    done = logsh("send", *EVENT, "-v", env=settings_for(service))
    assert done.code == 0
    assert "3 attempts" in done.stdout
    lines = done.stderr.splitlines()
    assert all(line.startswith("* ") for line in lines)
    assert lines.count(f"* > POST {service.url}/api/event") == 3
    assert lines.count("* > Authorization: Bearer [redacted]") == 3
    assert lines.count(f"* > {json.dumps(BODY)}") == 3
    for line in (
        "* < HTTP/1.1 503",
        "* < Retry-After: 0",
        "* < name: busy",
        "* < message: Come back.",
        '* < details: {"why": "maintenance"}',
        "* < HTTP/1.1 201",
    ):
        assert lines.count(line) == 1, line
    assert sum(line.startswith("* no answer: ") for line in lines) == 1
    timings = [line for line in lines if line.startswith("* timings: ")]
    assert len(timings) == 3
    assert all("all in" in line for line in timings)


# Standard input


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"built in 3m 12s\n", "built in 3m 12s"),
        ("Grüße\r\nand more\n\n".encode(), "Grüße\r\nand more"),
        ("\ufeffwith a mark".encode(), "with a mark"),
    ],
    ids=["one line", "several lines", "byte order mark"],
)
def test_a_description_comes_from_standard_input(service: Server, given: bytes, sent: str) -> None:
    assert call_main("send", "-e", "e", "-d", "-", env=settings_for(service), stdin=given).code == 0
    assert service.requests[0].json["description"] == sent


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "--desc must not be empty"),
        (b" \n\n", "--desc must not be empty"),
        (b"caf\xe9", "--desc is not valid UTF-8 text"),
        (b"\0\0\0\0", "--desc must not contain NUL"),
        (b"line\n" * 2_000_000, "--desc must be at most 150 characters; yours has 9999999 (use --truncate"),
        (b"x" * 11_000_000, "--desc must be at most 150 characters; yours has"),
    ],
    ids=["nothing", "white space", "latin-1", "binary", "10 MB", "11 MB"],
)
def test_a_bad_description_on_standard_input_is_refused(service: Server, given: bytes, said: str) -> None:
    done = call_main("send", "-e", "e", "-d", "-", env=settings_for(service), stdin=given)
    assert done.code == 2
    assert said in done.stderr
    assert len(done.stderr) < 500
    assert service.requests == []


def test_ten_megabytes_can_be_truncated(logsh: Logsh, service: Server) -> None:
    text = "ü".encode() * 5_500_000
    assert logsh("send", "-e", "e", "-d", "-", "--truncate", env=settings_for(service), stdin=text).code == 0
    assert service.requests[0].json["description"] == "ü" * 149 + "…"


def test_closed_standard_input_is_wrong_usage(service: Server) -> None:
    env = environment(settings_for(service))
    shell = ["sh", "-c", f"{LOGSH} send -e e -d - --json <&-"]
    done = subprocess.run(shell, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["name"] == "usage"
    assert "closed" in done.stdout


# Defaults


def test_defaults_come_from_the_profile_the_project_file_and_the_environment(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    file = config / "config.toml"
    file.write_text(
        f'api_key = "{KEY}"\napi_url = "{service.url}"\nworkspace = "own"\nicon = "👋"\nnotify = true\n'
        f'[profiles.work]\napi_key = "{KEY}"\napi_url = "{service.url}"\nworkspace = "work"\n'
    )
    file.chmod(0o600)
    project = tmp_path / "project"
    project.mkdir()
    assert logsh("send", *EVENT, cwd=project).code == 0
    (project / ".logsh.toml").write_text('workspace = "project"\n[metadata]\nteam = "core"\nstage = 2\n')
    assert logsh("send", *EVENT, "-m", "team=mine", cwd=project).code == 0
    assert logsh("send", *EVENT, env={"LOGSH_WORKSPACE": "environment", "LOGSH_NOTIFY": "no"}, cwd=project).code == 0
    assert logsh("send", *EVENT, "-p", "work", env={"LOGSH_WORKSPACE": "environment"}, cwd=project).code == 0
    assert logsh("send", *EVENT, "-w", "flag", "-p", "work", "-i", "🔥", cwd=project).code == 0
    assert [
        (body["workspace"], body.get("icon"), body.get("notify"), body.get("metadata")) for body in service.events
    ] == [
        ("own", "👋", True, None),
        ("project", "👋", True, {"team": "mine", "stage": 2}),
        ("environment", "👋", False, {"team": "core", "stage": 2}),
        ("work", None, None, {"team": "core", "stage": 2}),
        ("flag", "🔥", None, {"team": "core", "stage": 2}),
    ]


def test_ci_adds_where_it_runs(service: Server) -> None:
    actions = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "ada/engine",
        "GITHUB_SHA": "c0ffee",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "7",
    }
    assert call_main("send", *EVENT, "--ci", "-m", "own=1", env=settings_for(service) | actions).code == 0
    metadata = service.requests[0].json["metadata"]
    assert metadata["ci_repository"] == "ada/engine"
    assert metadata["own"] == "1"


# Leniency

FORGIVEN: dict[str, tuple[Answer, int, str]] = {
    "refused": (says.error(403, "validation_error"), 65, "rejected"),
    "not available": (says.error(503, "x", "Later.", LATER), 75, "queued"),
    "key refused": (says.error(401, "unauthorized"), 77, "queued"),
}


@pytest.mark.parametrize(("answer", "code", "status"), FORGIVEN.values(), ids=FORGIVEN.keys())
def test_best_effort_makes_a_failed_delivery_a_warning(service: Server, answer: Answer, code: int, status: str) -> None:
    service.default = answer
    env = settings_for(service)
    assert call_main("send", *EVENT, env=env).code == code
    for lenient in (
        call_main("send", *EVENT, "--best-effort", env=env),
        call_main("send", *EVENT, "-q", env={**env, "LOGSH_BEST_EFFORT": "1"}),
    ):
        assert (lenient.code, lenient.stdout) == (0, "")
        assert lenient.stderr.startswith("logsh: warning: ")
        assert len(lenient.stderr.splitlines()) == 1
    done = call_main("send", *EVENT, "--best-effort", "--json", env=env)
    result = check_result(done, status=status, exit_code=0)
    assert result["error"]


def test_best_effort_forgives_an_event_that_could_not_be_kept_either(service: Server, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    service.default = says.error(503, "x", "Later.", LATER)
    env = settings_for(service)
    done = call_main("send", *EVENT, "--json", env=env)
    result = check_result(done, status="failed", exit_code=69, id=None, http_status=503, error="not_kept")
    assert "Later." in result["error"]["message"]
    done = call_main("send", *EVENT, "--best-effort", env=env)
    assert done.code == 0
    assert done.stderr.startswith("logsh: warning: ")


def test_best_effort_forgives_neither_usage_nor_configuration(service: Server) -> None:
    env = {**settings_for(service), "LOGSH_BEST_EFFORT": "yes"}
    assert call_main("send", "-e", "e", "--best-effort", env=env).code == 2
    assert call_main("send", *EVENT, "--best-effort", env={**env, "LOGSH_API_KEY": ""}).code == 78
    service.default = says.html404()
    assert call_main("send", *EVENT, "--best-effort", env=env).code == 78


def test_without_a_key_the_event_can_be_skipped(logsh: Logsh, tmp_path: Path) -> None:
    done = logsh("send", *EVENT, "-w", "shop", "--on-missing-key", "skip")
    assert (done.code, done.stdout) == (0, "")
    assert done.stderr.startswith("logsh: skipped: there is no API key")
    assert len(done.stderr.splitlines()) == 1
    done = logsh("send", *EVENT, "-w", "shop", "--json", env={"LOGSH_ON_MISSING_KEY": "skip"})
    check_result(done, status="skipped", exit_code=0, event=BODY, error="missing_key")
    assert done.stderr == ""
    done = logsh("send", *EVENT, "-w", "shop", "--on-missing-key", "fail", env={"LOGSH_ON_MISSING_KEY": "skip"})
    assert done.code == 78
    assert not (tmp_path / "state").exists()


def test_without_a_key_and_a_workspace_the_event_can_be_skipped() -> None:
    skip = ("--on-missing-key", "skip")
    done = call_main("send", *EVENT, *skip, "--json")
    assert (done.code, done.json["status"], done.json["error"]["name"]) == (0, "skipped", "missing_key")
    assert call_main("send", *EVENT, *skip, env={"LOGSH_API_KEY": KEY}).code == 78


def test_skipping_is_for_a_missing_key_and_nothing_else(service: Server) -> None:
    skip = ("--on-missing-key", "skip")
    assert call_main("send", "-e", "e", *skip, env=settings_for(service)).code == 2
    assert call_main("send", *EVENT, *skip, env={**settings_for(service), "LOGSH_API_KEY": "a b"}).code == 78
    assert call_main("send", *EVENT, *skip, env=settings_for(service)).code == 0
    assert len(service.events) == 1


# Retries and the deadline


def test_an_event_gets_through_once_the_service_is_back(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    service.script(says.error(503), says.error(503))
    done = logsh("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="delivered", exit_code=0, http_status=201, attempts=3)
    assert service.events == [BODY]
    assert kept_rows(tmp_path) == []


def test_a_pause_that_the_service_asks_for_is_kept(service: Server) -> None:
    service.script(says.error(503, headers={"Retry-After": "1"}))
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="delivered", attempts=2)
    assert service.requests[1].at - service.requests[0].at >= 1.0


def test_a_pause_beyond_the_deadline_goes_straight_to_the_outbox(service: Server, tmp_path: Path) -> None:
    service.default = says.error(429, "rate_limit_exceeded", "Slow down.", {"Retry-After": "11"})
    done = call_main("send", *EVENT, "--json", env=settings_for(service))
    check_result(done, status="queued", exit_code=75, attempts=1)
    (row,) = kept_rows(tmp_path)
    assert (row.attempts, row.http_status, row.error_name) == (1, 429, "unavailable")
    assert row.not_before >= row.accepted_at + 10


@pytest.mark.parametrize(
    ("answer", "args"),
    [(says.drip_headers(), ()), (says.drip_body(status=501), ("--deadline", "2"))],
    ids=["headers, by the variable", "body, by the option"],
)
def test_a_service_that_drips_holds_nobody_beyond_the_deadline(
    logsh: Logsh, service: Server, answer: Answer, args: tuple[str, ...]
) -> None:
    """Neither answer ever ends: without a deadline the call would not either."""
    service.default = answer
    done = logsh("send", *EVENT, *args, "--json", env=settings_for(service, LOGSH_DEADLINE="2"))
    result = check_result(done, status="queued", exit_code=75)
    assert result["elapsed_ms"] >= 600


def test_a_deadline_too_short_to_connect_keeps_the_event(service: Server, tmp_path: Path) -> None:
    done = call_main("send", *EVENT, "--json", "--deadline", "0.000000001", env=settings_for(service))
    check_result(done, status="queued", exit_code=75, error="unreachable")
    assert service.requests == []
    assert len(kept_rows(tmp_path)) == 1


def test_without_a_key_and_a_workspace_both_are_told_with_what_mends_them() -> None:
    done = call_main("send", *EVENT, env={"LOGSH_API_KEY": "", "LOGSH_WORKSPACE": ""})
    assert done.code == 78
    assert "there is no API key and no workspace yet (run `logsh login`, then `logsh config set" in done.stderr
    preview = call_main("send", *EVENT, "--dry-run", env={"LOGSH_API_KEY": "", "LOGSH_WORKSPACE": ""})
    assert (preview.code, "no API key" in preview.stderr) == (78, False)


# Background


def test_background_returns_before_the_service_answers_and_delivers_all_the_same(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    done = logsh("send", *EVENT, "--background", "--json", env=settings_for(service))
    check_result(done, status="stored", exit_code=0, id=1, event=BODY, attempts=0, http_status=None, error=None)
    assert wait_for_background(service, 1, tmp_path) == [BODY]
    assert kept_rows(tmp_path) == []


def test_background_delivers_in_the_foreground_where_nothing_can_be_stored(service: Server, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    done = call_main("send", *EVENT, "-b", "--json", env=settings_for(service))
    check_result(done, status="delivered", id=None, attempts=1)


def test_a_background_event_without_a_key_is_not_stored(tmp_path: Path) -> None:
    done = call_main("send", *EVENT, "-b", "-w", "shop", "--json")
    check_result(done, status="failed", exit_code=78, error="missing_key")
    assert not (tmp_path / "state").exists()


def test_a_delivery_takes_what_waited_along(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    env = settings_for(service)
    service.stop()
    assert logsh("send", "-e", "first", "-d", "d", "--deadline", "0.5", env=env).code == 75
    service.start()
    assert logsh("send", "-e", "second", "-d", "d", env=env).code == 0
    assert [body["event"] for body in wait_for_background(service, 2, tmp_path)] == ["second", "first"]


# At a terminal


def test_a_person_is_told_what_is_waited_for_and_the_line_is_gone_in_the_end(service: Server) -> None:
    service.script(says.error(503, headers={"Retry-After": "2"}))
    env = {**settings_for(service), "TERM": "xterm", "NO_COLOR": "1"}
    with Session([str(LOGSH), "send", *EVENT], env=env) as session:
        session.shows_match(rb"\r\x1b\[Klogsh: trying again in \d s: the service is not available: ")
        session.shows(b"\r\x1b[K")
        assert "delivered" in session.rest().decode()


@pytest.mark.parametrize("quiet", [False, True])
def test_a_person_is_told_that_older_events_still_wait(service: Server, tmp_path: Path, quiet: bool) -> None:
    keep(tmp_path, "older", lease="of another process")
    env = {**settings_for(service), "TERM": "dumb"}
    with Session([str(LOGSH), "send", *EVENT, *["-q"] * quiet], env=env) as session:
        shown = session.rest().decode()
    assert ("logsh: 1 older event is waiting to be delivered: see `logsh outbox list`" in shown) != quiet
