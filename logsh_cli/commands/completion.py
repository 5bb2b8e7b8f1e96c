"""``logsh completion``: the script that teaches a shell what comes after ``logsh``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from logsh_cli.app import AppContext
from logsh_cli.errors import InternalError

if TYPE_CHECKING:
    import typer

SCRIPTS = {"bash": "logsh.bash", "zsh": "_logsh", "fish": "logsh.fish", "powershell": "logsh.ps1"}
"""The file of each shell."""

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "completions", _PACKAGE.parent / "completions")
"""In the wheel they lie in the package; in a checkout, also one installed as editable, beside it."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("completion", help=HELP, short_help="Print a shell's completion script.")(completion)


def completion(
    ctx: typer.Context,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"],
        typer.Argument(metavar="bash|zsh|fish|powershell", help="The shell that is to complete logsh."),
    ],
) -> int:
    app: AppContext = ctx.obj
    try:
        paths = [place / SCRIPTS[shell] for place in _PLACES]
        script = next((path for path in paths if path.is_file()), paths[0]).read_bytes()
    except OSError as error:
        raise InternalError(
            f"the completion script for {shell} can't be read: {error.strerror}", hint="install logsh-cli again"
        ) from None
    stdout = app.streams.stdout
    if stdout is not None:
        # As it is in the file, whatever the locale's encoding and the system's line ends.
        with suppress(OSError, ValueError):
            stdout.buffer.write(script)
            stdout.flush()
    return 0


HELP = """\
Print the completion script for a shell.

A package manager's logsh, and one installed for the whole system, has it in place already. Otherwise:

\b
  bash, in ~/.bashrc:
    eval "$(logsh completion bash)"
  zsh, in ~/.zshrc after compinit:
    eval "$(logsh completion zsh)"
  fish:
    logsh completion fish > ~/.config/fish/completions/logsh.fish
  PowerShell, in $PROFILE:
    logsh completion powershell | Out-String | Invoke-Expression
"""
