"""The command line as a whole: commands, help, usage errors, and the one place where errors become exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from logsh_cli import __version__
from logsh_cli.app import AppContext
from logsh_cli.cli import main
from logsh_cli.clock import Clock
from logsh_cli.errors import TermSignal
from logsh_cli.output.streams import Streams
from logsh_cli.parser import COMMANDS, HIDDEN
from tests.support.command import environment
from tests.support.inprocess import call_main, text_stream, written
from tests.support.sending import EVENT, KEY, RESULT_KEYS, check_result

if TYPE_CHECKING:
    from tests.support.sending import Logsh

TALLY_KEYS = ["accepted", "delivered", "queued", "rejected", "invalid", "elapsed_ms", "exit_code", "error"]
SETTINGS = {"LOGSH_API_KEY": KEY, "LOGSH_WORKSPACE": "w", "LOGSH_API_URL": "http://127.0.0.1:1"}


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_one_line(logsh: Logsh, flag: str) -> None:
    done = logsh(flag)
    assert (done.code, done.stdout, done.stderr) == (0, f"logsh {__version__}\n", "")


def test_python_m_logsh_cli_is_the_same_command() -> None:
    command = [sys.executable, "-m", "logsh_cli", "--version"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"logsh {__version__}\n")


def test_the_help_names_every_command_and_none_that_is_hidden(logsh: Logsh) -> None:
    done = logsh("--help")
    assert (done.code, done.stderr) == (0, "")
    listed = done.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "] == [*COMMANDS]
    assert not any(name in done.stdout for name in HIDDEN)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_that_fits_a_terminal(
    command: str, flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call_main(command, flag).code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: logsh {command}")
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("args", [(), ("outbox",), ("config",)], ids=lambda args: " ".join(args) or "nothing")
def test_a_group_without_a_command_shows_its_help_as_wrong_usage(args: tuple[str, ...]) -> None:
    done = call_main(*args)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: logsh")
    assert "Commands:" in done.stderr
    assert "\\n" not in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("sned",), "send"),
        (("outbox", "lst"), "list"),
        (("send", *EVENT, "--evnt", "x"), "--event"),
        (("send", *EVENT, "--deadlin", "3"), "--deadline"),
        (("send", "-e"), "-e"),
        (("send", *EVENT, "--deadline", "soon"), "--deadline"),
        (("send", *EVENT, "--on-missing-key", "cry"), "'fail', 'skip'"),
        (("send", *EVENT, "--notify=yes"), "--notify"),
        (("batch", "a", "b"), "b"),
        (("outbox", "show"), "ID"),
        (("outbox", "show", "first"), "first"),
        (("config", "set", "workspace"), "VALUE"),
        (("--verbose", "send"), "--verbose"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_one_line_that_says_what_and_where_to_look(args: tuple[str, ...], said: str) -> None:
    done = call_main(*args, env=SETTINGS)
    assert (done.code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("logsh: ")
    assert said in done.stderr
    assert "--help`" in done.stderr


def test_options_are_not_abbreviated_in_silence() -> None:
    assert call_main("send", *EVENT, "--work", "x", env=SETTINGS).code == 2


@pytest.mark.parametrize(
    "args",
    [
        ("send", "--json", "--nonsense"),
        ("send", "--json", "-e"),
        ("send", "--json"),
        ("send", *EVENT, "--deadline", "soon", "--json"),
        ("nonsense", "--json"),
        ("outbox", "show", "7", "--json"),
        ("config", "set", "--json"),
        ("login", "--json"),
        ("--json",),
    ],
    ids=" ".join,
)
def test_whoever_asks_for_json_gets_one_line_of_it_even_from_the_parser(args: tuple[str, ...]) -> None:
    done = call_main(*args, env=SETTINGS)
    result = check_result(done, status="failed", exit_code=2, id=None)
    assert result["error"]
    assert done.stderr == ""


def test_commands_for_many_events_answer_with_their_own_form() -> None:
    for args in (("batch", "--json", "--nonsense"), ("outbox", "flush", "--json", "--jobs", "0")):
        done = call_main(*args, env=SETTINGS)
        assert done.code == 2
        assert list(done.json) == TALLY_KEYS
        assert done.json["exit_code"] == 2


def test_words_for_another_command_do_not_ask_for_json() -> None:
    done = call_main("sandbox", "--nonsense", "--", "tool", "--json")
    assert (done.code, done.stdout) == (2, "")


@pytest.mark.parametrize("name", ["_LOGSH_COMPLETE", "_TYPER_COMPLETE_ARGS", "COMP_WORDS"])
def test_the_parsers_own_variables_change_nothing(name: str) -> None:
    done = call_main("send", *EVENT, "--dry-run", env={**SETTINGS, name: "bash_source"})
    assert (done.code, done.stdout[:5]) == (0, "curl ")


# What goes wrong inside


def broken(error: BaseException) -> Clock:
    """A clock with which nothing that looks at it ends well."""

    def tell() -> NoReturn:
        raise error

    return Clock(tell, tell, lambda _seconds: None)


def run_with(clock: Clock, *flags: str, env: dict[str, str] | None = None) -> tuple[int, AppContext, str, str]:
    out, err = text_stream(), text_stream()
    merged = {**environment(SETTINGS), **(env or {})}
    context = AppContext(merged, Streams(None, out, err, merged), clock)
    code = main(["send", *EVENT, *flags], context)
    return code, context, written(out).decode(), written(err).decode()


def test_a_fault_of_our_own_is_70_without_a_traceback() -> None:
    code, _, out, err = run_with(broken(ZeroDivisionError("by zero")))
    assert (code, out) == (70, "")
    assert err.startswith("logsh: a fault in logsh, please report it: ZeroDivisionError: by zero (LOGSH_DEBUG=1")
    assert len(err.splitlines()) == 1
    code, _, out, err = run_with(broken(ZeroDivisionError("by zero")), "--json")
    assert (code, err) == (70, "")
    assert list(json.loads(out)) == RESULT_KEYS
    assert json.loads(out)["error"]["name"] == "internal"


def test_whoever_asks_gets_the_traceback_of_a_fault_without_the_key() -> None:
    code, _, _, err = run_with(broken(ZeroDivisionError(f"with {KEY}")), env={"LOGSH_DEBUG": "1"})
    assert code == 70
    assert "Traceback" in err
    assert "test_cli.py" in err
    assert KEY not in err


@pytest.mark.parametrize("fault", [RecursionError("deep"), MemoryError()], ids=["recursion", "memory"])
def test_running_out_of_something_is_told_as_well(fault: Exception) -> None:
    code, _, _, err = run_with(broken(fault))
    assert code == 70
    assert type(fault).__name__ in err


@pytest.mark.parametrize(
    ("stop", "code", "fatal"),
    [(KeyboardInterrupt(), 130, 2), (TermSignal(), 143, None)],
    ids=["INT", "TERM"],
)
def test_a_signal_outside_of_a_delivery_is_told_and_died_of(stop: BaseException, code: int, fatal: int | None) -> None:
    ended, context, out, err = run_with(broken(stop))
    assert (ended, context.fatal_signal, out) == (code, fatal, "")
    assert err in ("logsh: interrupted\n", "logsh: ended by TERM\n")


def test_every_command_is_a_module_of_its_own() -> None:
    folder = Path(__file__).parents[1] / "logsh_cli" / "commands"
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *COMMANDS, *HIDDEN}
