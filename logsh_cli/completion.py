"""Makes ``completions/``: the scripts for the shells and the manual, all from the commands themselves.

``python -m logsh_cli.completion [DIRECTORY]`` writes the files; a test holds them equal to what it would write. They
are part of the wheel, so that neither a TAB nor ``logsh completion`` has to load every command.
"""

from __future__ import annotations

import sys
from pathlib import Path

from logsh_cli import completion_bash, completion_fish, completion_powershell, completion_zsh, manpage
from logsh_cli.cli import build_app
from logsh_cli.command_tree import Command, read_tree
from logsh_cli.scripts import SCRIPTS

MAKERS = {
    "bash": completion_bash.script,
    "zsh": completion_zsh.script,
    "fish": completion_fish.script,
    "powershell": completion_powershell.script,
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


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "completions"))
