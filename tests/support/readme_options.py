"""The README's list of options, in the words of ``--help``: ``python -m tests.support.readme_options --write``."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from completions.tree import read_tree
from logsh_cli.cli import build_app
from tests.support.readme import write_section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from completions.tree import Command

SECTION = "options"


def options_section() -> str:
    """One folded table for each command that can be given."""
    commands = (command for command in read_tree(build_app()).walk() if len(command.path) > 1 and not command.commands)
    return "\n".join(line for command in commands for line in _folded(command)) + "\n"


def _folded(command: Command) -> Iterator[str]:
    rows = [row for _, rows in command.sections for row in rows if not row[0].endswith("--help")]
    yield from ("<details>", f"<summary><code>{_html(command.usage)}</code></summary>", "")
    if rows:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| `{_cell(names)}` | {_cell(words)} |" for names, words in rows)
    else:
        yield "It has no options but `--help`."
    yield from ("", "</details>", "")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", r"\|")


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write_section(SECTION, options_section())
    else:
        sys.stdout.write(options_section())
