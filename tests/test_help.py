from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from completions.tree import Command, read_tree
from logsh_cli.help import ALL, OTHER, SHORT_LIST
from logsh_cli.parser import COMMANDS, build_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Completed

TREE = read_tree(build_app())
EVERY = {" ".join(command.path): command for command in TREE.walk()}

OWN_WORDS = {"--event", "--desc", "--workspace", "--json", "--dry-run"}
"""Options that mean something else from command to command."""

every_command = pytest.mark.parametrize("name", EVERY)


@every_command
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_fits_80_columns_of_plain_characters(logsh: Callable[..., Completed], name: str, option: str) -> None:
    done = logsh(*name.split()[1:], option, env={"COLUMNS": "80", "LC_ALL": "C"})

    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {name} ")
    assert done.raw_stdout.isascii()
    assert max(map(len, done.stdout.splitlines())) <= 80


@every_command
def test_help_has_an_example_or_names_commands_that_have(name: str) -> None:
    command = EVERY[name]

    assert "\b\n" in command.text or command.commands


@every_command
def test_an_example_in_the_help_calls_the_command(name: str) -> None:
    command = EVERY[name]
    blocks = [block for block in command.text.split("\n\n") if block.startswith("\b")]

    assert not blocks or any(name in block for block in blocks)


@every_command
def test_a_long_list_of_options_stands_under_headings_and_a_short_one_does_not(name: str) -> None:
    sections = [(heading, rows) for heading, rows in EVERY[name].sections if heading != "Arguments"]
    count = sum(len(rows) for _, rows in sections)

    if count <= SHORT_LIST:
        assert [heading for heading, _ in sections] == [ALL]
    else:
        assert [row[0] for row in sections[-1][1]] == ["-h, --help"]
        assert sections[-1][0] == OTHER
        assert len(sections) > 2


def test_every_sentence_starts_in_the_same_column(logsh: Callable[..., Completed]) -> None:
    lines = logsh("send", "--help", env={"COLUMNS": "80"}).stdout.splitlines()
    starts = {
        line.index(words)
        for line in lines
        for words in ("What happened", "Print the result", "Show this")
        if words in line
    }

    assert len(starts) == 1


def test_an_option_has_the_same_words_wherever_it_appears() -> None:
    words: dict[str, set[str]] = {}
    for command in TREE.walk():
        for option in command.options:
            words.setdefault(option.names[-1], set()).add(option.words)

    assert {name for name, said in words.items() if len(said) > 1} <= OWN_WORDS | {"--description"}


def test_commands_are_listed_in_the_order_of_the_table(logsh: Callable[..., Completed]) -> None:
    listed = logsh("--help").stdout.split("Commands:\n")[1].splitlines()

    assert [line.split()[0] for line in listed if line[2] != " "] == list(COMMANDS)


def test_a_range_is_said_in_words(logsh: Callable[..., Completed]) -> None:
    assert "[default: 4; 1 to 64]" in " ".join(logsh("batch", "--help").stdout.split())


def test_every_sentence_ends_with_a_full_stop() -> None:
    def sentence(words: str) -> str:
        return words.split("  [", maxsplit=1)[0]

    rows = [row for command in TREE.walk() for _, rows in command.sections for row in rows]
    summaries = [command.summary for command in TREE.walk()]

    assert not [text for text in (*(sentence(words) for _, words in rows), *summaries) if not text.endswith(".")]


def test_hidden_commands_stay_hidden(logsh: Callable[..., Completed]) -> None:
    assert "courier" not in logsh("--help").stdout
    assert not any("courier" in command.path for command in walk(TREE))


def walk(command: Command) -> list[Command]:
    return list(command.walk())
