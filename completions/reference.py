"""``docs/reference.md``: every command and option, in the words of ``--help``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from completions.tree import Command

_HEAD = """\
# Reference

Written by `python -m completions` from the commands themselves; `logsh COMMAND --help` says the same.
"""


def page(tree: Command) -> str:
    """The page as Markdown: a heading and a table for each command that can be given."""
    commands = (command for command in tree.walk() if len(command.path) > 1 and not command.commands)
    return _HEAD + "".join(f"\n{line}" for command in commands for line in _section(command)) + "\n"


def _section(command: Command) -> Iterator[str]:
    yield f"## {' '.join(command.path)}\n"
    yield f"{command.summary}\n\n```\n{command.usage}\n```\n"
    rows = [row for _, rows in command.sections for row in rows if not row[0].endswith("--help")]
    if rows:
        yield "| option | meaning |\n|---|---|\n" + "".join(
            f"| `{_cell(names)}` | {_cell(words)} |\n" for names, words in rows
        )


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", r"\|")
