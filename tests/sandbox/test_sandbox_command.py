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

from logsh_cli import __version__
from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.inprocess import call_main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.command import Completed

    Logsh = Callable[..., Completed]

EVENT = {"workspace": "web", "event": "user.signup", "description": "Ann joined"}
DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


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
def test_alone_it_says_how_to_use_it_shows_events_and_ends_with_0_on_int_and_term(
    stop: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGSH_API_KEY", "logsh_sandbox_key")  # which the advice shows all the same
    with serving() as (process, url), serving() as (_, other):
        assert url != other
        post(url, {**EVENT, "icon": "👤", "metadata": {"plan": "pro", "seats": 3}})
        post(url, {**EVENT, "description": "\x1b[2Jgone\nforged", "metadata": {"a\x1b": "\x9b31m"}})
        process.send_signal(stop)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    friendly, _hostile = out.splitlines()
    assert "👤 user.signup  Ann joined  [web] plan=pro seats=3" in friendly
    assert not set("\x1b\x9b") & set(out), "what a client sends can't drive the terminal"


def test_alone_with_json_standard_output_has_a_line_for_each_event_as_it_comes_and_nothing_else() -> None:
    with serving("--json", "--fail", "503,drop") as (process, url):
        assert process.stdout
        assert post(url).status_code == 503
        with pytest.raises(httpx.HTTPError):
            post(url)
        post(url)
        received = json.loads(process.stdout.readline())
        post(url, {})
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert list(received) == ["event", "received_at", "status"]
    assert (received["event"], received["status"]) == (EVENT, 201)
    assert received["received_at"].endswith("+00:00")
    notes = ["answered 503: --fail", "not answered: --fail drop"]
    assert [line.partition(": ")[2] for line in err.splitlines()[:2]] == notes
    assert "answered 400" in err
    assert "canary" not in err
    assert out == ""


def test_options_that_cannot_be_are_refused_and_nothing_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options in (("--port", port), ("--port", "70000"), ("--port", "x"), ("--fail", "teapot"), ("--fail", "")):
            done = call_main("sandbox", *options, "--", "touch", "ran")
            assert (done.code, done.stdout, Path("ran").exists()) == (2, "", False), options
            assert options[0] in done.stderr
        alone = call_main("sandbox", "--port", port)
    assert alone.code == 2
    assert f"127.0.0.1:{port}" in alone.stderr


# Around a command: what it sends


def test_a_command_sends_to_the_sandbox_with_no_configuration_at_all_and_retries_count_as_one_event(
    logsh: Logsh, tmp_path: Path
) -> None:
    done = logsh("sandbox", "--json", "--fail", "503,429", "--", "logsh", "send", "-q", "-e", "deploy.done", "-d", "v1")
    assert done.code == 0, done.stderr
    assert done.json["event"] == {"workspace": "sandbox", "event": "deploy.done", "description": "v1"}
    assert "answered 503: --fail" in done.stderr
    assert "answered 429: --fail" in done.stderr
    assert not (tmp_path / "state").exists(), "the user's own outbox is not touched"


def test_what_was_received_comes_after_the_commands_own_output_and_then_the_sandbox_dies_of_its_int(
    logsh: Logsh,
) -> None:
    script = "logsh send -q -e a.b -d first -m n:=1; echo own output; logsh send -q -e c -d second; kill -INT $$"
    done = logsh("sandbox", *sh(script))
    assert done.code == -signal.SIGINT
    own, first, second = done.stdout.splitlines()
    assert own == "own output"
    assert first.endswith("a.b  first  [sandbox] n=1")
    assert second.endswith("c  second  [sandbox]")
    assert "received 2 events" in done.stderr


def test_with_quiet_there_is_only_the_commands_own_output_from_its_own_input_and_arguments(logsh: Logsh) -> None:
    script = 'logsh send -q -e a -d b; cat; echo "$@"'
    words = ("sh", "-c", script, "sh", "--json", "--", "-q")  # no -- is needed before the command
    done = logsh("sandbox", "-q", "--fail", "503", *words, stdin=b"hello\n")
    assert (done.code, done.stdout, done.stderr) == (0, "hello\n--json -- -q\n", "")


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
def test_that_nothing_was_received_is_said(logsh: Logsh, options: tuple[str, ...]) -> None:
    done = logsh("sandbox", *options, "--", "true")
    assert (done.code, done.stdout) == (0, "")
    assert "received no event" in done.stderr


def test_an_event_sent_in_the_background_is_waited_for_and_goes_to_the_projects_workspace(
    logsh: Logsh, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/.logsh.toml").write_text('workspace = "shop"\n')
    send = ("logsh", "send", "-q", "-b", "-e", "later", "-d", "b")
    done = logsh("sandbox", "--json", "--fail", "503", "--", *send, cwd=tmp_path / "project")
    assert done.code == 0, done.stderr
    assert done.json["event"] == {"workspace": "shop", "event": "later", "description": "b"}


def test_an_event_that_was_refused_is_told_with_its_reason(logsh: Logsh) -> None:
    done = logsh("sandbox", "--json", *sh("logsh send -q --no-validate -i nonsense -e a -d b 2>/dev/null"))
    assert (done.code, done.stdout) == (65, "")
    assert "answered 400: icon" in done.stderr


def test_what_was_not_delivered_is_said(logsh: Logsh) -> None:
    done = logsh("sandbox", "--fail", "402", "--", "logsh", "send", "-q", "-e", "a", "-d", "b")
    assert done.code == 75
    assert "1 event had not been delivered" in done.stderr


# Around a command: its surroundings


def test_the_command_sees_the_sandbox_and_nothing_that_leads_to_the_real_logsh(logsh: Logsh, tmp_path: Path) -> None:
    away = ("LOGSH_API_KEY_FILE", "LOGSH_CA_FILE")
    real = dict.fromkeys(("LOGSH_API_KEY", *away), "/canary") | {"LOGSH_API_URL": "https://logsh.test"}
    done = logsh(
        "sandbox", "-q", "--", sys.executable, "-c", DUMP, env={**real, "LOGSH_WORKSPACE": "web", "ELSE": "kept"}
    )
    assert done.code == 0, done.stderr
    seen = done.json
    assert "canary" not in done.stdout
    assert seen["LOGSH_API_URL"].startswith("http://127.0.0.1:")
    assert seen["LOGSH_API_KEY"].startswith("logsh_sandbox_")
    assert (seen["LOGSH_WORKSPACE"], seen["ELSE"]) == ("web", "kept")
    assert not {*away} & set(seen)
    for place in (seen["LOGSH_CONFIG_DIR"], seen["LOGSH_STATE_DIR"], seen["PATH"].split(os.pathsep)[0]):
        assert Path(place).is_relative_to(tmp_path / "tmp")


def test_this_logsh_is_first_on_the_path_whatever_else_is_there(logsh: Logsh, tmp_path: Path) -> None:
    other = tmp_path / "logsh"
    other.write_text("#!/bin/sh\necho wrong\n")
    other.chmod(0o755)
    for path in (f"{tmp_path}{os.pathsep}{os.environ['PATH']}", None):
        done = logsh("sandbox", "-q", "--", "logsh", "--version", env={"PATH": path})
        assert done.stdout.split()[-1] == __version__


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


def test_a_broken_configuration_is_reported_before_anything_runs(user_config: Path) -> None:
    user_config.write_text("api_key = ")
    done = call_main("sandbox", "--", "touch", "ran")
    assert (done.code, Path("ran").exists()) == (78, False)
    assert str(user_config) in done.stderr


# Around a command: its end


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_it_exits_with_the_commands_status_and_leaves_nothing_behind(
    logsh: Logsh, tmp_path: Path, script: str, code: int
) -> None:
    assert logsh("sandbox", *sh(script)).code == code
    assert no_home_left(tmp_path)


def test_a_command_that_cannot_be_started_is_127_or_126_and_said(tmp_path: Path) -> None:
    for command, code in (("no-such-command", 127), ("/etc/passwd", 126), ("/", 126)):
        done = call_main("sandbox", "--", command)
        assert (done.code, done.stdout) == (code, "")
        assert command in done.stderr
        assert no_home_left(tmp_path)


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
