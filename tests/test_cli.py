"""The command line as a whole: commands, help, usage errors, and the one place where errors become exit codes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import typer.main

from completions.tree import read_tree
from logsh_cli import __version__
from logsh_cli.app import AppContext
from logsh_cli.cli import main
from logsh_cli.clock import Clock
from logsh_cli.errors import TermSignal
from logsh_cli.help.usage import COMMANDS_MEANT, OPTIONS_MEANT
from logsh_cli.output.streams import Streams
from logsh_cli.parser import COMMANDS, HIDDEN, build_app
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


@pytest.mark.parametrize("args", [(), ("outbox",), ("config",)], ids=lambda args: " ".join(args) or "nothing")
def test_a_group_without_a_command_shows_its_help_as_wrong_usage(args: tuple[str, ...]) -> None:
    done = call_main(*args)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: logsh")
    assert re.search(r"^(Commands|Send):$", done.stderr, re.MULTILINE)
    assert "\\n" not in done.stderr


USAGE = {
    "sned": "there is no command sned (did you mean `logsh send`?)",
    "flush": "there is no command flush (did you mean `logsh outbox flush`?)",
    "auth login": "there is no command auth (did you mean `logsh login`?)",
    "status": "there is no command status (did you mean `logsh doctor`?)",
    "frobnicate": "there is no command frobnicate (see `logsh --help`)",
    "outbox lst": "there is no command outbox lst (did you mean `logsh outbox list`?)",
    "outbox rm 3": "there is no command outbox rm (did you mean `logsh outbox drop`?)",
    "config edit": 'there is no command config edit (did you mean `$EDITOR "$(logsh config path)"`?)',
    "config show": "there is no command config show (did you mean `logsh config list`?)",
    "config frobnicate": "there is no command config frobnicate (see `logsh config --help`)",
    "--verbose send": "there is no option --verbose before a command's name "
    "(options follow it: logsh COMMAND --verbose)",
    "send --evnt x": "there is no option --evnt (did you mean --event?)",
    "send --deadlin 3": "there is no option --deadlin (did you mean --deadline?)",
    "send --work x": "there is no option --work (did you mean --workspace?)",
    "send --title x": "there is no option --title (did you mean --event?)",
    "send --message x": "there is no option --message (did you mean --desc?)",
    "send --jobs 3": "there is no option --jobs (see `logsh send --help`)",
    "send --xyz": "there is no option --xyz (see `logsh send --help`)",
    "send -z": "there is no option -z (see `logsh send --help`)",
    "batch --title x": "there is no option --title (see `logsh batch --help`)",
    **dict.fromkeys(
        ("send --api-key x", "--api-key x", "--api-key=x send -e a -d b"),
        "there is no option --api-key: a key on a command line can be read by every user of the machine "
        "(set LOGSH_API_KEY, or `logsh login` asks for it; in a script: logsh login --key-stdin < key-file)",
    ),
    "send deploy.done 'v1 is live'": 'unexpected arguments "deploy.done", "v1 is live" '
    "(did you mean -e deploy.done -d 'v1 is live'?)",
    "send deploy.done": 'unexpected argument "deploy.done" (did you mean -e deploy.done -d TEXT?)',
    "send 'v1 is live'": "unexpected argument \"v1 is live\" (did you mean -e NAME -d 'v1 is live'?)",
    "send -d v1 deploy.done": 'unexpected argument "deploy.done" (did you mean -e deploy.done?)',
    "send -e deploy.done v1": 'unexpected argument "v1" (did you mean -d v1?)',
    "send -e a -d two words": "unexpected argument \"words\" (a text with blanks needs quotes: -d 'two words')",
    "send a b c d": 'unexpected arguments "a", "b", "c", … (see `logsh send --help`)',
    "send -e": "-e needs a value: -e NAME (see `logsh send --help`)",
    "send --notify=yes": "--notify takes no value (see `logsh send --help`)",
    "send -e a -d b --on-missing-key cry": '--on-missing-key must be fail or skip; got "cry" (see `logsh send --help`)',
    "run --on never -- true": '--on must be always, failure, success or change; got "never" (see `logsh run --help`)',
    "batch a b": 'unexpected argument "b" (batch reads one file; cat FILE FILE | logsh batch -)',
    "batch --jobs 65": '--jobs must be a whole number from 1 to 64; got "65" (see `logsh batch --help`)',
    "batch --jobs few": '--jobs must be a whole number from 1 to 64; got "few" (see `logsh batch --help`)',
    "batch --rate soon": '--rate must be a number; got "soon" (see `logsh batch --help`)',
    "outbox show": "ID is missing (usage: logsh outbox show [OPTIONS] ID)",
    "outbox show first": 'ID must be a whole number; got "first" (see `logsh outbox show --help`)',
    "outbox drop first": 'ID must be a whole number; got "first" (see `logsh outbox drop --help`)',
    "sandbox --expect-count -1": '--expect-count must be a whole number, 0 or more; got "-1" '
    "(see `logsh sandbox --help`)",
    "config set workspace": "VALUE is missing (usage: logsh config set [OPTIONS] KEY VALUE)",
    "doctor now": 'unexpected argument "now" (usage: logsh doctor [OPTIONS])',
    "login logsh_0123456789abcdef": 'unexpected argument "[redacted]": a key on a command line can be read by every '
    "user of the machine (logsh login --key-stdin < key-file, or let it ask)",
}
"""The whole message of each of these: one voice, and a way forward where there is one."""


def test_wrong_usage_is_one_line_that_says_what_and_what_to_do() -> None:
    for line, said in USAGE.items():
        done = call_main(*shlex.split(line), env=SETTINGS)
        assert (done.code, done.stdout, done.stderr) == (2, "", f"logsh: {said}\n"), line


def test_a_suggestion_is_made_only_of_names_that_there_are() -> None:
    app = typer.main.get_command(build_app())
    for path in {*COMMANDS_MEANT.values()} - {'$EDITOR "$(logsh config path)"'}:
        command = app
        for word in path.split()[1:]:
            if not word.startswith("--"):
                command = command.commands[word]  # type: ignore[attr-defined]
        assert not hasattr(command, "commands"), path
    options = {name for tree in read_tree(build_app()).walk() for option in tree.options for name in option.names}
    assert set(OPTIONS_MEANT.values()) <= options
    assert options.isdisjoint(OPTIONS_MEANT)


def test_no_words_of_the_parser_itself_are_shown() -> None:
    """Words of every kind after every command, none of them worded by Typer."""
    said = re.compile(
        r"Got unexpected|No such|Missing (?:argument|option)|Invalid value|is not a valid|requires an arg"
    )
    for command in read_tree(build_app()).walk():
        for words in (["--nonsense"], ["-~"], ["a", "b", "c", "d"], ["--json=x"], ["-e"], ["--deadline"], ["-p"]):
            if command.path[1:] not in (("run",), ("sandbox",)) or words[0].startswith("-"):
                done = call_main(*command.path[1:], *words, env=SETTINGS)
                assert not said.search(done.stderr), (command.path, words, done.stderr)


def test_a_setting_that_is_printed_is_no_command_for_a_ci_runner() -> None:
    call_main("config", "set", "workspace", "##[error]x::y")
    for env in ({"GITHUB_ACTIONS": "true"}, {"TF_BUILD": "True"}):
        for flags in ((), ("--json",)):
            done = call_main("config", "get", "workspace", *flags, env={**env, "LOGSH_WORKSPACE": "::error::##[x"})
            assert done.code == 0
            assert not done.stdout.lstrip().startswith("::")
            assert "##[" not in done.stdout


def test_version_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert call_main("version").code == 0
    assert capsys.readouterr().out == f"logsh {__version__}\n"


def test_a_description_on_standard_input_needs_a_dash_which_is_said(logsh: Logsh) -> None:
    done = logsh("send", "-e", "a", stdin=b"hi", env=SETTINGS)
    assert done.code == 2
    assert "`-d -` reads standard input" in done.stderr


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
    ("stop", "code", "fatal"), [(KeyboardInterrupt(), 130, 2), (TermSignal(), 143, None)], ids=["INT", "TERM"]
)
def test_a_signal_outside_of_a_delivery_is_told_and_died_of(stop: BaseException, code: int, fatal: int | None) -> None:
    ended, context, out, err = run_with(broken(stop))
    assert (ended, context.fatal_signal, out) == (code, fatal, "")
    assert err in ("logsh: interrupted\n", "logsh: ended by TERM\n")


def test_every_command_is_a_module_of_its_own() -> None:
    folder = Path(__file__).parents[1] / "logsh_cli" / "commands"
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *COMMANDS, *HIDDEN}
