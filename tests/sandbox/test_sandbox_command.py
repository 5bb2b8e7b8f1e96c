"""``logsh sandbox`` as a process: alone, and around a command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.command import LOGSH, PATIENCE_S, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.command import Completed

    Logsh = Callable[..., Completed]

EVENT = {"workspace": "web", "event": "user.signup", "description": "Ann joined"}
DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def sh(script: str) -> list[str]:
    return ["--", "sh", "-c", script]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def no_home_left(tmp_path: Path) -> bool:
    return not list((tmp_path / "tmp").glob("logsh-sandbox-*"))


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


@pytest.fixture
def user_config(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir(mode=0o700)
    path = tmp_path / "config" / "config.toml"
    path.touch(mode=0o600)
    return path


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A sandbox on its own, and its URL as it says it."""
    with subprocess.Popen(
        [LOGSH, "sandbox", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            stream = process.stderr if "--json" in options else process.stdout
            assert stream
            stream.readline()
            variables = dict(word.split("=", 1) for word in shlex.split(stream.readline())[1:])
            assert variables["LOGSH_API_KEY"]
            assert variables["LOGSH_WORKSPACE"] == "sandbox"
            yield process, variables["LOGSH_API_URL"]
        finally:
            process.kill()


def post(url: str, body: object = EVENT) -> httpx.Response:
    return httpx.post(f"{url}/api/event", json=body, headers={"Authorization": "Bearer logsh_canary"})


# Alone


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_alone_it_says_how_to_use_it_shows_events_and_ends_with_0_on_int_and_term(stop: signal.Signals) -> None:
    with serving() as (process, url):
        post(url, {**EVENT, "icon": "👤", "metadata": {"plan": "pro", "seats": 3}})
        process.send_signal(stop)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    (line,) = out.splitlines()
    assert "👤 user.signup  Ann joined  [web] plan=pro seats=3" in line
    assert err == ""


def test_alone_with_json_standard_output_has_one_line_for_each_event_and_nothing_else() -> None:
    with serving("--json", "--fail", "503,drop") as (process, url):
        assert post(url).status_code == 503
        with pytest.raises(httpx.HTTPError):
            post(url)
        post(url)
        post(url, {})
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    (received,) = lines(out)
    assert list(received) == ["event", "received_at", "status"]
    assert (received["event"], received["status"]) == (EVENT, 201)
    assert received["received_at"].endswith("+00:00")
    assert [line.partition(": ")[2] for line in err.splitlines()[:2]] == [
        "answered 503: --fail",
        "not answered: --fail drop",
    ]
    assert "answered 400" in err
    assert "canary" not in out + err


def test_an_event_is_shown_while_the_sandbox_goes_on_serving() -> None:
    with serving("--json") as (process, url):
        for number in range(3):
            post(url, {**EVENT, "event": f"event.{number}"})
            assert process.stdout
            assert json.loads(process.stdout.readline())["event"]["event"] == f"event.{number}"


def test_what_a_client_sends_cannot_drive_the_terminal() -> None:
    with serving() as (process, url):
        post(url, {**EVENT, "description": "\x1b[2Jgone\nforged", "metadata": {"a\x1b": "\x9b31m"}})
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert len(out.splitlines()) == 1
    assert not set("\x1b\x9b") & set(out)


def test_the_advice_shows_the_key_although_it_is_this_shells_key_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGSH_API_KEY", "logsh_sandbox_key")
    with serving():
        pass


def test_two_sandboxes_alone_do_not_get_in_each_others_way() -> None:
    with serving() as (_, one), serving() as (_, other):
        assert one != other
        assert (post(one).status_code, post(other).status_code) == (201, 201)


def test_a_port_that_is_taken_is_a_usage_error(logsh: Logsh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = logsh("sandbox", "--port", port)
        around = logsh("sandbox", "--port", port, *sh("echo ran"))
    assert (done.code, around.code, around.stdout) == (2, 2, "")
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--port", "x"), ("--fail", "teapot"), ("--fail", "")])
def test_options_that_cannot_be_are_refused_and_nothing_runs(logsh: Logsh, arguments: tuple[str, ...]) -> None:
    done = logsh("sandbox", *arguments, *sh("echo ran"))
    assert (done.code, done.stdout) == (2, "")


# Around a command: what it sends


def test_a_command_sends_to_the_sandbox_with_no_configuration_at_all(logsh: Logsh) -> None:
    done = logsh("sandbox", "--json", "--", "logsh", "send", "-q", "-e", "deploy.done", "-d", "v1")
    assert done.code == 0, done.stderr
    assert done.json["event"] == {"workspace": "sandbox", "event": "deploy.done", "description": "v1"}


def test_what_was_received_comes_after_the_commands_own_output(logsh: Logsh) -> None:
    done = logsh(
        "sandbox", *sh("logsh send -q -e a.b -d first -m n:=1 && echo own output && logsh send -q -e c -d second")
    )
    assert done.code == 0
    own, first, second = done.stdout.splitlines()
    assert own == "own output"
    assert first.endswith("a.b  first  [sandbox] n=1")
    assert second.endswith("c  second  [sandbox]")
    assert "received 2 events" in done.stderr


def test_quiet_prints_nothing_but_the_commands_own_output(logsh: Logsh) -> None:
    done = logsh("sandbox", "-q", "--fail", "503", *sh("logsh send -q -e a -d b; echo own"))
    assert (done.code, done.stdout, done.stderr) == (0, "own\n", "")


def test_that_nothing_was_received_is_said(logsh: Logsh) -> None:
    plain, machine = logsh("sandbox", *sh("true")), logsh("sandbox", "--json", *sh("true"))
    for done in (plain, machine):
        assert (done.code, done.stdout) == (0, "")
        assert "received no event" in done.stderr


def test_retries_are_shown_and_counted_as_one_event(logsh: Logsh) -> None:
    done = logsh("sandbox", "--json", "--fail", "503,429", "--", "logsh", "send", "-q", "-e", "a", "-d", "b")
    assert done.code == 0, done.stderr
    assert done.json["event"]["event"] == "a"
    assert "answered 503: --fail" in done.stderr
    assert "answered 429: --fail" in done.stderr


def test_an_event_sent_in_the_background_is_waited_for(logsh: Logsh) -> None:
    done = logsh("sandbox", "--json", "--fail", "503", "--", "logsh", "send", "-q", "-b", "-e", "later", "-d", "b")
    assert done.code == 0, done.stderr
    assert done.json["event"]["event"] == "later"


def test_an_event_that_was_refused_is_told_with_its_reason(logsh: Logsh) -> None:
    done = logsh("sandbox", "--json", *sh("logsh send -q --no-validate -i nonsense -e a -d b 2>/dev/null"))
    assert (done.code, done.stdout) == (65, "")
    assert "answered 400: icon" in done.stderr


# Around a command: its surroundings


def test_the_command_sees_the_sandbox_and_nothing_that_leads_to_the_real_logsh(logsh: Logsh, tmp_path: Path) -> None:
    real = {
        "LOGSH_API_KEY": "logsh_canary",
        "LOGSH_API_KEY_FILE": "/canary",
        "LOGSH_API_URL": "https://logsh.test",
        "LOGSH_CA_FILE": "/canary",
        "LOGSH_WORKSPACE": "web",
        "UNRELATED": "kept",
    }
    done = logsh("sandbox", "-q", *python(DUMP), env=real)
    assert done.code == 0, done.stderr
    seen = done.json
    assert "canary" not in done.stdout
    assert seen["LOGSH_API_URL"].startswith("http://127.0.0.1:")
    assert seen["LOGSH_API_KEY"].startswith("logsh_sandbox_")
    assert (seen["LOGSH_WORKSPACE"], seen["UNRELATED"]) == ("web", "kept")
    assert not {"LOGSH_API_KEY_FILE", "LOGSH_CA_FILE"} & set(seen)
    for name in ("LOGSH_CONFIG_DIR", "LOGSH_STATE_DIR"):
        assert Path(seen[name]).is_relative_to(tmp_path / "tmp")
    assert Path(seen["PATH"].split(os.pathsep)[0]).is_relative_to(tmp_path / "tmp")


def test_this_logsh_is_first_on_the_path_whatever_else_is_there(logsh: Logsh, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "logsh").write_text("#!/bin/sh\necho wrong\n")
    (other / "logsh").chmod(0o755)
    path = f"{other}{os.pathsep}{os.environ['PATH']}"
    done = logsh("sandbox", "-q", *sh("logsh --version"), env={"PATH": path})
    assert done.stdout == logsh("--version").stdout
    bare = logsh("sandbox", "-q", "--", "logsh", "--version", env={"PATH": None})
    assert bare.stdout == done.stdout


def test_every_profile_points_at_the_sandbox_and_keeps_what_it_says_about_events(
    logsh: Logsh, user_config: Path
) -> None:
    before = """\
api_key = "logsh_canary"
workspace = "home"

[profiles.work]
api_key = "logsh_canary_too"
api_url = "https://logsh.test"
ca_file = "/nowhere.pem"
workspace = "office"
icon = "🏢"
notify = true

[profiles."odd name"]
workspace = "odd"
"""
    user_config.write_text(before)
    script = "for p in default work 'odd name'; do logsh send -q -p \"$p\" -e e -d d || exit; done"
    done = logsh("sandbox", "--json", *sh(f'{script}; cat "$LOGSH_CONFIG_DIR/config.toml" >&2'))
    assert done.code == 0, done.stderr
    bare = {"event": "e", "description": "d"}
    assert [line["event"] for line in lines(done.stdout)] == [
        {"workspace": "home", **bare},
        {"workspace": "office", **bare, "icon": "🏢", "notify": True},
        {"workspace": "odd", **bare},
    ]
    assert "canary" not in done.stderr
    assert user_config.read_text() == before


def test_the_workspace_of_the_sandbox_gives_way_to_a_project_file(logsh: Logsh, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".logsh.toml").write_text('workspace = "shop"\n')
    done = logsh("sandbox", "--json", "--", "logsh", "send", "-q", "-e", "e", "-d", "d", cwd=project)
    assert done.json["event"]["workspace"] == "shop"


def test_the_users_own_outbox_is_not_touched(logsh: Logsh, tmp_path: Path) -> None:
    logsh("sandbox", "-q", *sh("logsh send -q -e e -d d"))
    assert not (tmp_path / "state").exists()


def test_a_broken_configuration_is_reported_before_anything_runs(logsh: Logsh, user_config: Path) -> None:
    user_config.write_text("api_key = ")
    done = logsh("sandbox", *sh("echo ran"))
    assert (done.code, done.stdout) == (78, "")
    assert str(user_config) in done.stderr


def test_the_command_has_the_standard_input_and_arguments_that_look_like_options(logsh: Logsh) -> None:
    done = logsh("sandbox", "-q", "--", "sh", "-c", 'cat; echo "$@"', "sh", "--json", "--", "-q", stdin=b"hello\n")
    assert (done.code, done.stdout) == (0, "hello\n--json -- -q\n")


def test_no_double_dash_is_needed_and_what_follows_the_command_is_its_own(logsh: Logsh) -> None:
    done = logsh("sandbox", "-q", "echo", "--json", "-q")
    assert (done.code, done.stdout) == (0, "--json -q\n")


# Around a command: its end


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_it_exits_with_the_commands_status_and_leaves_nothing_behind(
    logsh: Logsh, tmp_path: Path, script: str, code: int
) -> None:
    assert logsh("sandbox", *sh(script)).code == code
    assert no_home_left(tmp_path)


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126), ("/", 126)])
def test_a_command_that_cannot_be_started_is_127_or_126_and_said(
    logsh: Logsh, tmp_path: Path, command: str, code: int
) -> None:
    done = logsh("sandbox", "--", command)
    assert (done.code, done.stdout) == (code, "")
    assert command in done.stderr
    assert no_home_left(tmp_path)


def test_a_command_that_int_ended_makes_the_sandbox_die_of_int_after_the_report(logsh: Logsh) -> None:
    done = logsh("sandbox", *sh("logsh send -q -e a -d b; kill -INT $$"))
    assert done.code == -signal.SIGINT
    assert "a  b  [sandbox]" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_reaches_the_command_and_what_it_sent_is_reported(number: signal.Signals, tmp_path: Path) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'logsh send -q -e stopped -d {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [LOGSH, "sandbox", "--json", *sh(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 7
    assert json.loads(out)["event"]["description"] == name
    assert no_home_left(tmp_path)


def test_term_while_deliveries_are_waited_for_leaves_nothing_behind(tmp_path: Path) -> None:
    # The sandbox waits, since an event is left in the outbox: all that comes is answered with a failure.
    faults = ",".join(["503"] * 50)
    script = "logsh send -q --deadline 1 -e a -d b 2>/dev/null; echo done"
    with subprocess.Popen(
        [LOGSH, "sandbox", "--fail", faults, *sh(script)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "done\n"
        process.terminate()
        process.wait(PATIENCE_S)
    assert no_home_left(tmp_path)


def test_what_was_not_delivered_is_said(logsh: Logsh) -> None:
    done = logsh("sandbox", "--fail", "402", "--", "logsh", "send", "-q", "-e", "a", "-d", "b")
    assert done.code == 75
    assert "1 event had not been delivered" in done.stderr
