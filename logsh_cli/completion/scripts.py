"""Where the completion scripts are once logsh is installed."""

from __future__ import annotations

from pathlib import Path

SCRIPTS = {"bash": "logsh.bash", "zsh": "_logsh", "fish": "logsh.fish", "powershell": "logsh.ps1"}
"""The file of each shell."""

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "completions", _PACKAGE.parent / "completions")
"""In the wheel they lie in the package; in a checkout, also one installed as editable, beside it."""


def read_script(shell: str) -> bytes:
    """The script for a shell of ``SCRIPTS``. Raises ``OSError`` where the installation lacks it."""
    paths = [place / SCRIPTS[shell] for place in _PLACES]
    return next((path for path in paths if path.is_file()), paths[0]).read_bytes()
