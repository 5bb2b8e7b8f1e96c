"""Makes ``completions/``: the scripts for the shells and the manual, all from the commands themselves.

``python -m completions [DIRECTORY]`` writes the files; a test holds them equal to what it would write. They
are part of the wheel, so that neither a TAB nor ``logsh completion`` has to load every command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from completions import bash, fish, manpage, powershell, zsh
from completions.tree import Command, read_tree
from logsh_cli.commands.completion import SCRIPTS
from logsh_cli.parser import build_app

if TYPE_CHECKING:
    from pathlib import Path

MAKERS = {
    "bash": bash.script,
    "zsh": zsh.script,
    "fish": fish.script,
    "powershell": powershell.script,
}
MANUAL = "logsh.1"


def files(tree: Command) -> dict[str, str]:
    """The text of each file by its name."""
    return {**{SCRIPTS[shell]: make(tree) for shell, make in MAKERS.items()}, MANUAL: manpage.page(tree)}


def write(directory: Path) -> None:
    """Write all of them, in UTF-8 with line feeds on every system: shells read nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files(read_tree(build_app())).items():
        directory.joinpath(name).write_bytes(text.encode())
