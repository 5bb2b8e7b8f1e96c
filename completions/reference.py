"""``docs/reference.md``: every command and option, in the words of ``--help``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logsh_cli.errors import EXIT_CODE_MEANINGS
from logsh_cli.help import ENVIRONMENT, RESULT_FIELDS, STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from completions.tree import Command

_HEAD = """\
# Reference

Written by `python -m completions` from the commands themselves; `logsh COMMAND --help` says the same.
"""


def page(tree: Command) -> str:
    """The page as Markdown: a heading and a table for each command that can be given."""
    commands = (command for command in tree.walk() if len(command.path) > 1 and not command.commands)
    topics = (
        _table(
            "Exit codes", ("code", "meaning"), {str(int(code)): words for code, words in EXIT_CODE_MEANINGS.items()}
        ),
        _table("Environment", ("variable", "meaning"), ENVIRONMENT),
        _table("Results as JSON", ("field", "meaning"), RESULT_FIELDS),
        "[result.schema.json](result.schema.json) says the same to programs, and the forms of the other commands.\n",
        _table("States of a kept event", ("for people", "in JSON"), STATES),
    )
    return "\n".join([_HEAD, *(line for command in commands for line in _section(command)), *topics])


def _section(command: Command) -> Iterator[str]:
    yield f"## {' '.join(command.path)}\n"
    yield f"{command.summary}\n\n```\n{command.usage}\n```\n"
    rows = [row for _, rows in command.sections for row in rows if not row[0].endswith("--help")]
    if rows:
        yield "| option | meaning |\n|---|---|\n" + "".join(
            f"| `{_cell(names)}` | {_cell(words)} |\n" for names, words in rows
        )


def _table(heading: str, header: tuple[str, str], rows: Mapping[str, str]) -> str:
    """A heading with a table of terms and meanings."""
    lines = [f"| `{_cell(term)}` | {_cell(meaning)} |" for term, meaning in rows.items()]
    return "\n".join([f"## {heading}\n", f"| {header[0]} | {header[1]} |", "|---|---|", *lines, ""])


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", r"\|")
