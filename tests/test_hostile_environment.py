"""Machines on which nothing is as it should be: locales, streams, directories, arguments and signals."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logsh_cli.errors import ExitCode
from tests.support import answers as says
from tests.support.command import LOGSH, PATIENCE_S, Completed, environment
from tests.support.inprocess import call_main
from tests.support.processes import finish, start_logsh
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
    from collections.abc import Iterator, Mapping

    from tests.support.server import Server

posix = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")

NOWHERE = {
    "LOGSH_API_URL": "http://127.0.0.1:1",
    "LOGSH_API_KEY": KEY,
    "LOGSH_WORKSPACE": "shop",
    "LOGSH_DEADLINE": "0.05",
    "HTTPS_PROXY": "http://127.0.0.1:1",
}
"""Settings with which nothing reaches a network, whatever else is given."""


def shell(script: str, env: Mapping[str, str | None]) -> Completed:
    """Run a line of ``sh`` in which ``$LOGSH`` is the installed command."""
    line = ["/bin/sh", "-c", script]
    done = subprocess.run(
        line, env=environment({**env, "LOGSH": str(LOGSH)}), capture_output=True, check=False, timeout=60
    )
    return Completed(done.returncode, done.stdout, done.stderr)


def check_clear(done: Completed, *codes: int) -> None:
    """A documented exit code and words in place of a traceback."""
    assert done.code in codes, done
    assert "Traceback" not in done.stderr
    assert "a fault in logsh" not in done.stderr + done.stdout


# Locales

LOCALES: dict[str, dict[str, str | None]] = {
    "LC_ALL=C": {"LC_ALL": "C"},
    "a locale that is not installed": {"LC_ALL": "xx_XX.ISO-8859-15"},
    "PYTHONIOENCODING=ascii:strict": {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
    "PYTHONIOENCODING=utf-16": {"PYTHONIOENCODING": "utf-16"},
    "nothing at all": {name: None for name in os.environ if name not in {"HOME", "PATH"}},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_a_poor_locale_changes_neither_the_event_nor_the_exit_code(
    logsh: Logsh, service: Server, locale: str, tmp_path: Path
) -> None:
    env: dict[str, str | None] = {
        **LOCALES[locale],
        **settings_for(service),
        "LOGSH_STATE_DIR": str(tmp_path / "state"),
    }
    given = ("send", "-e", "größe", "-d", "世界 👋", "-i", "🚀", "-m", "ключ=значение")
    event = {"event": "größe", "description": "世界 👋", "icon": "🚀", "metadata": {"ключ": "значение"}}
    check_clear(logsh(*given, "-v", env=env), 0)
    done = logsh(*given, "--json", env=env)
    check_clear(done, 0)
    if "ascii" in locale:
        assert done.raw_stdout.isascii()
    assert locale.endswith("utf-16") or done.json["event"] == {"workspace": "shop", **event}
    assert service.events == [{"workspace": "shop", **event}] * 2
    service.default = says.error(400, "bad_request", "Nein, danke für 🎉")
    check_clear(logsh(*given, env={**env, "FORCE_COLOR": "1"}), 65)


def test_without_utf8_mode_arguments_that_can_not_be_understood_are_refused_clearly(
    logsh: Logsh, service: Server
) -> None:
    env = settings_for(service, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    check_clear(logsh("send", "-e", "e", "-d", "Grüße", env=env), 0, 2)
    assert all(body["description"] == "Grüße" for body in service.events)


# Streams


@posix
@pytest.mark.parametrize("redirections", [">&-", "--json 2>&-", "-v <&-", "-v >&- 2>&-", "--json <&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing_about_the_event(service: Server, redirections: str, tmp_path: Path) -> None:
    send = f'"$LOGSH" send -e deploy.done -d "v1 is live" {redirections}'
    service.script(says.error(503, "x", "Later.", LATER))
    check_clear(shell(send, settings_for(service)), 75)
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"]
    if "<" in redirections:
        check_clear(shell(send, settings_for(service)), 0)
        assert service.events[0] == BODY


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "rich"])
def test_a_full_disk_behind_the_streams_changes_nothing_about_the_event(
    service: Server, env: dict[str, str], tmp_path: Path
) -> None:
    send = '"$LOGSH" send -e deploy.done -d "v1 is live"'
    full = {**settings_for(service), **env}
    for redirections in (">/dev/full 2>&1", "--json >/dev/full" if not env else "-v 2>/dev/full"):
        assert shell(f"{send} {redirections}", full).code == 0
    service.default = says.error(400, "bad_request")
    assert shell(f"{send} 2>/dev/full", full).code == 65
    assert len(kept_rows(tmp_path)) == 1


@posix
@pytest.mark.parametrize(("env", "code"), [({}, 75), ({"FORCE_COLOR": "1"}, 0)], ids=["plain", "rich"])
def test_a_reader_that_has_gone_changes_nothing_about_the_event(
    service: Server, env: dict[str, str], code: int, tmp_path: Path
) -> None:
    service.default = says.error(503, "x", "Later.", LATER) if code else says.ok()
    ours, theirs = os.pipe()
    os.close(ours)
    process = start_logsh("send", *EVENT, "-v", env={**settings_for(service), **env}, stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert process.wait(PATIENCE_S) == code
    assert len(kept_rows(tmp_path)) == bool(code)


@posix
def test_commands_that_only_show_something_end_quietly() -> None:
    full = [f"{command} >/dev/full" for command in ("--help", "outbox list", "config list")]
    for line in (*full, "--help | true", "send --help >&-", "doctor --json | true"):
        done = shell(f'"$LOGSH" {line}', NOWHERE)
        assert done.code in {int(code) for code in ExitCode} - {ExitCode.FAULT}, line
        assert "Traceback" not in done.stderr, line


# Directories


def homeless(home: str | None) -> dict[str, str | None]:
    return {"HOME": home, "LOGSH_CONFIG_DIR": None, "LOGSH_STATE_DIR": None, "XDG_RUNTIME_DIR": None}


@pytest.fixture
def read_only_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory that takes no files; root, who may write in spite of any mode, gets a mount that is read-only."""
    directory = tmp_path / "locked"
    directory.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield directory
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", directory], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"root may write to any directory, and may not mount one here: {mounted.stderr!r}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@posix
@pytest.mark.parametrize("home", ["/proc", "/dev/null", "read-only"])
def test_a_home_that_takes_no_files_costs_only_the_promise_to_keep(
    logsh: Logsh, service: Server, home: str, request: pytest.FixtureRequest
) -> None:
    if home == "read-only":
        home = str(request.getfixturevalue("read_only_directory"))
    env: dict[str, str | None] = {**settings_for(service), **homeless(home)}
    done = logsh("send", *EVENT, "-b", "--json", env=env)
    check_result(done, status="delivered", id=None)
    assert (done.stderr, service.events) == ("", [BODY])
    service.default = says.error(503, "x", "Later.", LATER)
    done = logsh("send", *EVENT, "--json", env=env)
    result = check_result(done, status="failed", exit_code=69, id=None, error="not_kept")
    assert "Later." in result["error"]["message"]


def test_a_home_that_is_not_there_yet_is_made(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    done = logsh("send", *EVENT, "--json", env={**settings_for(service), **homeless(str(home))})
    check_result(done, status="delivered", id=1)
    (state,) = home.rglob("outbox.db")
    assert state.stat().st_mode & 0o777 == 0o600


def test_without_a_home_everything_works_that_is_told_where(logsh: Logsh, service: Server) -> None:
    done = logsh("send", *EVENT, "--json", env={**settings_for(service), "HOME": None})
    check_result(done, status="delivered", id=1)


def test_without_a_path_even_a_background_delivery_works(logsh: Logsh, service: Server, tmp_path: Path) -> None:
    done = logsh("send", *EVENT, "-b", "--json", env={**settings_for(service), "PATH": None})
    check_result(done, status="stored")
    assert wait_for_background(service, 1, tmp_path) == [BODY]


@posix
def test_a_working_directory_that_is_gone_is_no_obstacle(service: Server, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    send = '"$LOGSH" send -e deploy.done -d "v1 is live"'
    done = shell(f'cd "{gone}" && rmdir "{gone}" && {send} -q && {send} -b --json', settings_for(service))
    check_result(done, status="stored")
    assert wait_for_background(service, 2, tmp_path) == [BODY, BODY]


def test_a_module_in_the_working_directory_is_not_taken_for_a_library(
    logsh: Logsh, service: Server, tmp_path: Path
) -> None:
    for name in ("httpx", "typer", "json", "sqlite3", "logsh_cli"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('loaded from the working directory')")
    check_clear(logsh("send", *EVENT, env=settings_for(service), cwd=tmp_path), 0)
    check_clear(logsh("send", *EVENT, "-b", env=settings_for(service), cwd=tmp_path), 0)
    assert wait_for_background(service, 2, tmp_path) == [BODY, BODY]


@posix
@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\0", b"workspace = ", b"a = 1\n" * 20_000, b""],
    ids=["binary", "half a line", "unknown keys", "empty"],
)
def test_a_broken_configuration_file_is_78_and_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir(mode=0o700)
    (tmp_path / "config" / "config.toml").write_bytes(content)
    done = call_main("send", *EVENT, "--json", env=NOWHERE)
    check_clear(done, 75 if not content else 78)
    assert not content or "config.toml" in done.json["error"]["message"]


# Arguments

BAD_TEXTS = {
    "a byte that is no UTF-8": "caf\udce9",
    "a lone surrogate": "\ud800",
    "NUL": "a\0b",
    "only NUL": "\0",
    "100 KB": "x" * 100_000,
    "a line break": "a\nb\x1b[31m",
}
PLACES: dict[str, tuple[str, ...]] = {
    "event": ("send", "-d", "d", "-e"),
    "description": ("send", "-e", "e", "-d"),
    "workspace": ("send", *EVENT, "-w"),
    "icon": ("send", *EVENT, "-i"),
    "meta": ("send", *EVENT, "-m"),
    "profile": ("send", *EVENT, "-p"),
    "deadline": ("send", *EVENT, "--deadline"),
    "on-missing-key": ("send", *EVENT, "--on-missing-key"),
    "argument": ("send", *EVENT),
    "command": (),
    "batch file": ("batch",),
    "batch rate": ("batch", "--rate"),
    "outbox id": ("outbox", "show"),
    "outbox command": ("outbox",),
    "config get": ("config", "get"),
    "config set workspace": ("config", "set", "workspace"),
    "config set ca_file": ("config", "set", "ca_file"),
    "config set api_url": ("config", "set", "api_url"),
    "config set profile": ("config", "set", "workspace", "w", "-p"),
    "login url": ("login", "--key-stdin", "--no-verify", "--api-url"),
    "login profile": ("login", "--key-stdin", "--no-verify", "-p"),
    "logout profile": ("logout", "-p"),
    "completion": ("completion",),
    "sandbox faults": ("sandbox", "--fail"),
    "sandbox port": ("sandbox", "--port"),
    "doctor deadline": ("doctor", "--deadline"),
}


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_text_that_can_not_be_meant_is_refused_clearly_wherever_it_stands(text: str) -> None:
    for name, place in PLACES.items():
        for flags in ((), ("--json",)):
            done = call_main(*place, text, *flags, env=NOWHERE, stdin=b"logsh_key\n")
            shown = done.stdout + done.stderr
            assert done.code in (0, 2, 75, 78), (name, shown)
            assert not any(word in shown for word in ("\x1b", "Traceback", "a fault in logsh")), (name, shown)
            shown.encode()
            if "send" in place and text != BAD_TEXTS["a line break"]:
                assert done.code in (2, 78), name
                assert len(shown) < 2_000, name


@posix
@pytest.mark.parametrize("place", ["event", "command"])
def test_a_byte_that_is_no_utf8_gets_a_clear_answer_from_the_process_too(logsh: Logsh, place: str) -> None:
    args = [word.encode() for word in PLACES[place]]
    done = logsh(*args, b"caf\xe9", env=NOWHERE)
    check_clear(done, 2, 78)
    assert done.stderr.startswith("logsh: ")


def test_more_arguments_than_anybody_needs_are_no_obstacle(logsh: Logsh, service: Server) -> None:
    many = [word for number in range(3_000) for word in ("-m", f"k{number}={'v' * 20}")]
    check_clear(logsh("send", *EVENT, *many, env=settings_for(service)), 0)
    assert len(service.events[0]["metadata"]) == 3_000
    done = logsh("send", "-e", "e", "-d", "x" * 100_000, "--json", env=settings_for(service))
    check_result(done, exit_code=2, error="invalid_event")
    check_clear(logsh("send", "-e", "e", "-d", "x" * 100_000, "--no-validate", env=settings_for(service)), 0)
    assert service.events[1]["description"] == "x" * 100_000


VARIABLES = (
    *("LOGSH_API_URL", "LOGSH_API_KEY", "LOGSH_API_KEY_FILE", "LOGSH_WORKSPACE", "LOGSH_PROFILE", "LOGSH_ICON"),
    *("LOGSH_NOTIFY", "LOGSH_DEADLINE", "LOGSH_BEST_EFFORT", "LOGSH_ON_MISSING_KEY", "LOGSH_CA_FILE", "COLUMNS"),
    *("LOGSH_CONFIG_DIR", "LOGSH_STATE_DIR", "CREDENTIALS_DIRECTORY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"),
    *("TERM", "FORCE_COLOR"),
)
ODD_VALUES = (
    "x" * 100_000,
    "\x1b[31m",
    "caf\udce9",
    "nan",
    "-1",
    "1e999",
    "\n\n",
    "😀" * 200,
    "[",
    "~nosuchuser/x",
    os.devnull,
)


def test_no_value_of_a_variable_is_a_fault() -> None:
    for name, value in itertools.product(VARIABLES, ODD_VALUES):
        env = {**NOWHERE, **({"LOGSH_API_KEY": ""} if name == "LOGSH_API_KEY_FILE" else {}), name: value}
        if name == "LOGSH_DEADLINE" and not value.strip():
            continue  # as good as unset
        done = call_main("send", *EVENT, "--json", env=env)
        check_clear(done, 2, 69, 75, 78)
        assert "\x1b[31m" not in done.stderr + done.stdout, (name, value)
        assert done.json["exit_code"] == done.code, (name, value)


# Signals


@pytest.fixture
def hanging(service: Server) -> Iterator[Server]:
    gate = Event()
    service.default = says.gated(gate)
    yield service
    gate.set()


def started(server: Server, *flags: str) -> subprocess.Popen[bytes]:
    return start_logsh("send", *EVENT, "--deadline", "60", *flags, env=settings_for(server))


INT, TERM = (-signal.SIGINT, "interrupted", 130), (143, "terminated", 143)
SIGNALS = {signal.SIGINT: INT, signal.SIGQUIT: INT, signal.SIGTERM: TERM, signal.SIGHUP: TERM}
"""For each signal to stop: the status for a shell, and the name and the exit code in the machine form."""


@posix
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_during_a_delivery_keeps_the_event_and_says_so(
    hanging: Server, number: signal.Signals, tmp_path: Path
) -> None:
    process = started(hanging, "--json")
    hanging.wait_for(1)
    process.send_signal(number)
    done = finish(process)
    result: dict[str, Any] = done.json
    assert (done.stderr, result["status"], result["id"]) == ("", "queued", 1)
    assert (done.code, result["error"]["name"], result["exit_code"]) == SIGNALS[number]
    assert [row.state for row in kept_rows(tmp_path)] == ["pending"]

    process = started(hanging, "--best-effort")
    hanging.wait_for(2)
    while process.poll() is None:  # by the dozen
        process.send_signal(number)
        time.sleep(0.0005)
    done = finish(process)
    assert done.code == SIGNALS[number][0]
    assert "Traceback" not in done.stderr
    assert len(kept_rows(tmp_path)) == 2


@posix
def test_a_signal_at_any_moment_ends_it_and_loses_nothing_that_was_accepted(hanging: Server, tmp_path: Path) -> None:
    moments = random.Random(8)
    arrived = 0
    for number in list(SIGNALS) * 2:
        process = started(hanging)
        time.sleep(moments.uniform(0.01, 0.2))  # the moment is what is being tried
        process.send_signal(number)
        done = finish(process)
        # Before logsh has its own say, the signal does what it does to every Python program.
        if "Fatal Python error" not in done.stderr:
            assert done.code in (SIGNALS[number][0], -number)
        assert "logsh_cli/c" not in done.stderr, done.stderr
        rows = kept_rows(tmp_path)
        assert len(rows) >= len(hanging.requests)
        assert len(rows) >= arrived + ("kept as" in done.stderr)
        arrived = len(rows)


@posix
def test_a_signal_that_was_ignored_from_the_start_stays_ignored(service: Server) -> None:
    gate = Event()
    service.default = says.gated(gate)
    script = 'trap "" INT TERM; "$LOGSH" send -e deploy.done -d "v1 is live" & wait $!'
    env = environment({**settings_for(service), "LOGSH": str(LOGSH)})
    process = subprocess.Popen(["/bin/sh", "-c", script], env=env, stdout=subprocess.PIPE, start_new_session=True)
    service.wait_for(1)
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    gate.set()
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.startswith(b"delivered: ")


# Whatever else

VOCABULARY = """
send batch outbox config login logout completion help version list show flush retry drop get set unset path api_key
workspace icon ca_file deadline notify bash zsh exit-codes json -e --event -d --desc - -w --workspace -i --icon -m
--meta --notify --no-notify --truncate --no-validate --dry-run --deadline --best-effort --on-missing-key skip fail
-p --profile --json -q -v --jobs --rate --all --adopt --reveal --key-stdin --no-verify --ci --help --version -- -x
--evnt default 1 0.01 a=b a:=1 a:=[ = :rocket: 🚀 . / /dev/null /proc/self/mem ~
"""
ARGV = st.lists(st.sampled_from([*VOCABULARY.split(), ""]) | st.text(max_size=8), max_size=9)
SEND = ["send", *EVENT]
STARTS = st.sampled_from([[], SEND[:1], SEND, [*SEND, "--dry-run"], ["config"], ["outbox"], ["batch"], ["login"]])
DOCUMENTED = {int(code) for code in ExitCode} - {ExitCode.FAULT}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=STARTS, argv=ARGV, stdin=st.binary(max_size=40))
def test_no_command_line_is_a_fault(tmp_path: Path, start: list[str], argv: list[str], stdin: bytes) -> None:
    for directory in ("config", "state"):
        shutil.rmtree(tmp_path / directory, ignore_errors=True)
    line = [*start, *argv]
    # These would serve, start a process of their own, or wait for one.
    if not {"run", "sandbox", "courier", "doctor", "-b", "--background"}.isdisjoint(line):
        return
    done = call_main(*line, env=NOWHERE, stdin=stdin)
    assert done.code in DOCUMENTED, done
    assert "Traceback" not in done.stderr
    if "--json" in line and "--help" not in line and "-h" not in line and done.code:
        json.loads(done.stdout.splitlines()[0])
