"""Plain command lines are read without Typer, and mean what they mean to Typer; nothing else rests on it."""

from __future__ import annotations

import functools
import inspect
import io
import math
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
import typer.main
from hypothesis import example, given, settings
from hypothesis import strategies as st

import logsh_cli
from logsh_cli.argv import read, table
from logsh_cli.parser import COMMANDS, HIDDEN, build_app
from tests.support.command import environment
from tests.support.sending import EVENT, settings_for, wait_for_background
from tests.test_loads import NETWORK, loaded_by

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.server import Server

    Call = tuple[str, str, dict[str, Any]]

CALLS: list[Call] = []


def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stands in for a command: it notes what it is called with."""

    @functools.wraps(function)
    def note(_ctx: Any = None, **arguments: Any) -> int:
        arguments.pop("ctx", None)
        CALLS.append((function.__module__.rpartition(".")[2], function.__name__, arguments))
        return 0

    return note


def with_recorders(app: typer.Typer) -> typer.Typer:
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = recorder(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            with_recorders(group.typer_instance)
    return app


TYPER = typer.main.get_command(with_recorders(build_app((*COMMANDS, *HIDDEN))))


def read_by_typer(argv: Sequence[str]) -> Call | None:
    """Return the command that Typer calls and its arguments; ``None`` where it calls nothing."""
    CALLS.clear()
    try:
        with redirect_stdout(io.StringIO()), TYPER.make_context("logsh", [*argv]) as parsed:
            TYPER.invoke(parsed)
    except (typer.TyperException, typer.Exit):
        return None
    return CALLS[0]


def with_defaults(call: Call) -> Call:
    """The call with every argument that was not given at its default, and nan made comparable."""
    module, function, given_arguments = call
    signature = inspect.signature(getattr(sys.modules[f"logsh_cli.commands.{module}"], function))
    defaults = {name: one.default for name, one in signature.parameters.items() if name != "ctx"}
    values = {**defaults, **given_arguments}
    return module, function, {name: "nan" if is_nan(value) else value for name, value in values.items()}


def is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


PLAIN = {tuple(path): [entry.split() for entry in entries.split(", ")[1:]] for path, entries in table()}
"""For each command its rules: a parameter, its kind with limits, then an option's names or an argument's count."""

OPTIONS = {
    path: {name: rule for rule in rules for name in rule[2:] if name.startswith("-")} for path, rules in PLAIN.items()
}
NAMES = sorted({name for options in OPTIONS.values() for name in options})
WORDS = sorted(
    {word for path in PLAIN for word in path} | {"", "-", "--", "-x", "--help", "-h", "--version", "nonsense"}
)
VALUES = [
    "",
    " ",
    "-",
    "--",
    "-1",
    "0",
    "1",
    "64",
    "65",
    "4.5",
    "nan",
    "1e9",
    " 7 ",
    "1_0",
    "a=b",
    "a:=1",
    "é",
    "\udcff",
    "٣",
]
VALUES += sorted({word for rules in PLAIN.values() for rule in rules for word in rule[1].split(":")})
odd_numbers = st.sampled_from([" 7 ", "1_0", "٣", "+2", "007", "1.", ".5", ".", "", "nan", "1e1", "1" * 5000])
anything = st.one_of(st.sampled_from(VALUES), st.text(max_size=4))


def fitting(rule: Sequence[str]) -> st.SearchStrategy[str]:
    """Values of the kind that an option or argument takes."""
    kind, *limits = rule[1].split(":")
    if kind == "choice":
        return st.sampled_from(limits)
    low, high = limits or ("-5", "")
    numbers = st.integers(int(low), int(high or 99))
    return {"int": numbers.map(str) | odd_numbers, "float": st.floats().map(str) | odd_numbers}.get(kind, anything)


def option(name: str, rule: Sequence[str], value: str, spelling: int) -> list[str]:
    """The option as it may be written: its value in the next word, behind ``=``, right behind it."""
    if rule[1] in ("on", "off") and value != "--":
        return [name]
    return [[name, value], [f"{name}={value}"], [name + value]][spelling if name[:2] != "--" else spelling % 2]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with options and arguments of its own, and in half of the lines something else."""
    path = draw(st.sampled_from(sorted(PLAIN)))
    options = OPTIONS[path]
    chosen = draw(st.lists(st.sampled_from(sorted(options)), max_size=5)) if options else []
    pieces = [option(name, options[name], draw(fitting(options[name])), draw(st.integers(0, 2))) for name in chosen]
    for rule in PLAIN[path]:
        if rule[2] in "1?*":
            often = {"1": (1, 1), "?": (0, 1), "*": (0, 3)}[rule[2]]
            pieces += draw(st.lists(fitting(rule).map(lambda word: [word]), min_size=often[0], max_size=often[1]))
    if draw(st.booleans()):
        pieces.append(draw(st.one_of(st.sampled_from([*NAMES, *WORDS]), anything, glued).map(lambda word: [word])))
    line = [*path, *(word for piece in draw(st.permutations(pieces)) for word in piece)]
    return mangled(draw, line) if draw(st.booleans()) else line


glued = st.lists(st.sampled_from(NAMES), min_size=2, max_size=4).map(
    lambda names: "-" + "".join(names).replace("-", "")
)
"""Options in one word, such as ``-qv``."""


def mangled(draw: st.DrawFn, line: list[str]) -> list[str]:
    """The line with a word dropped, doubled, moved, cut or grown."""
    at = draw(st.integers(0, max(len(line) - 1, 0)))
    word = line[at] if line else ""
    cut = draw(st.integers(0, len(word)))
    into = draw(
        st.sampled_from(
            [[], [word, word], [word[:cut]], [word[:cut], word[cut:]], [word[:cut] + "-" + word[cut:]], [word + "x"]]
        )
    )
    changed = [*line[:at], *into, *line[at + 1 :]]
    return draw(st.permutations(changed)) if draw(st.booleans()) else changed


@settings(max_examples=1500, deadline=None)
@given(command_lines())
@example(["outbox list"])
@example(["send", "-b-"])
@example(["send", "-b--"])
@example(["send", "-qbv"])
@example(["send", "--json=1"])
@example(["send", "--json=q"])
@example(["send", "-m", "5"])
@example(["send", "--event="])
@example(["run", "-e", "x", "--", "a", "--", "-b"])
@example(["run", "a", "-v"])
@example(["batch", "--", "--jobs"])
@example(["batch", "--jobs", "1", "-"])
@example(["batch", "--jobs", "64"])
@example(["batch", "--jobs", "65"])
@example(["sandbox", "--expect-count", "0"])
@example(["config", "set", "icon", "--", "-"])
def test_a_line_is_left_to_typer_or_means_what_it_means_to_typer(argv: list[str]) -> None:
    own = read(argv)
    if own is not None:
        called = read_by_typer(argv)
        assert called is not None, "Typer refuses it"
        assert with_defaults(own) == with_defaults(called)


PLAIN_LINES = [
    'send -e deploy.done -d "v1.2.3" -w shop -i :rocket: -m a=b -m n:=1 --notify -b',
    "send --event=x --description=y --deadline 4.5 --on-missing-key skip -qv --dry-run",
    "run -e backup --on change --notify-on=change --tail 500 --timeout 15m -- ./backup.sh --full -v",
    "run true",
    "batch --jobs 8 --rate 0.5 events.jsonl",
    "batch",
    "outbox flush -q",
    "outbox drop 1 2 3",
    "config set workspace shop --profile work",
    "login --key-stdin",
    "courier -p work",
]


@pytest.mark.parametrize("line", PLAIN_LINES)
def test_everyday_lines_are_plain(line: str) -> None:
    argv = [word.strip('"') for word in line.split()]
    own, called = read(argv), read_by_typer(argv)
    assert own is not None
    assert called is not None
    assert with_defaults(own) == with_defaults(called)


def test_every_option_of_every_command_is_in_the_table() -> None:
    missing = {
        name
        for path in PLAIN
        for param in functools.reduce(lambda command, word: command.commands[word], path, TYPER).params  # type: ignore[attr-defined]
        for name in (*param.opts, *param.secondary_opts)
        if name.startswith("-") and name not in OPTIONS[path]
    }
    assert missing == set()


def test_a_stored_event_needs_no_typer_no_rich_and_no_http_client(service: Server, tmp_path: Path) -> None:
    loaded = loaded_by("send", *EVENT, "-b", env=settings_for(service))
    assert (
        loaded & ({"typer", "rich", "inspect", "logsh_cli.parser", "logsh_cli.help", "logsh_cli.options"} | NETWORK)
        == set()
    )
    assert wait_for_background(service, 1, tmp_path)


def test_a_plain_send_loads_few_modules_of_ours(service: Server) -> None:
    loaded = loaded_by("send", *EVENT, env=settings_for(service))
    ours = sorted(name for name in loaded if name.split(".")[0] == "logsh_cli")
    assert len(service.events) == 1
    assert len(ours) <= 34, ours


def test_logsh_works_without_the_module_and_says_the_same(tmp_path: Path) -> None:
    package = Path(logsh_cli.__file__).parent
    shutil.copytree(package, tmp_path / "logsh_cli", ignore=shutil.ignore_patterns("argv.py", "__pycache__"))
    command = ["-m", "logsh_cli", "send", "-e", "a", "-d", "b", "-w", "w", "--dry-run"]
    said = [
        subprocess.run([sys.executable, *command], cwd=place, env=environment(), capture_output=True, check=True).stdout
        for place in (tmp_path, package.parent)
    ]
    assert said[0] == said[1]
