"""Makes what is made from the commands themselves: scripts for the shells, the manual, the reference, a table for us.

``python -m completions`` writes the files; a test holds them equal to what it would write. They are part of the wheel,
so that neither a TAB nor a plain command line has to load every command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from completions import icons, manpage, plain, reference, schema, shells
from completions.tree import read_tree
from logsh_cli.parser import build_app

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]


def files() -> Mapping[str, str]:
    """The text of each file by its path in the repository."""
    tree = read_tree(build_app())
    return {
        "completions/logsh.bash": shells.bash(tree),
        "completions/_logsh": shells.zsh(tree),
        "completions/logsh.fish": shells.fish(tree),
        "completions/logsh.ps1": shells.powershell(tree),
        "completions/logsh.1": manpage.page(tree),
        "docs/reference.md": reference.page(tree),
        "docs/result.schema.json": schema.page(),
        "logsh_cli/commands/plain.txt": plain.table(),
        "logsh_cli/event/icons.txt": icons.table(),
    }


def write(root: Path = ROOT) -> None:
    """Write all of them, in UTF-8 with line feeds on every system: shells read nothing else."""
    for path, text in files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
