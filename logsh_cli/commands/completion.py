"""``logsh completion``: what teaches a shell what comes after ``logsh``, and the manual; printed or put in place."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from logsh_cli import Record
from logsh_cli.app import AppContext
from logsh_cli.errors import ConfigError, InternalError, UsageError
from logsh_cli.files import make_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    import typer

    from logsh_cli.options import argument, option

FILES = {"bash": "logsh.bash", "zsh": "_logsh", "fish": "logsh.fish", "powershell": "logsh.ps1", "man": "logsh.1"}
"""The file for each reader."""

Reader = Literal["bash", "zsh", "fish", "powershell", "man"]


def completion(
    ctx: typer.Context,
    shell: Annotated[Reader, argument("bash|zsh|fish|powershell|man", "The shell that is to complete logsh, or man.")],
    install: Annotated[bool, option("--install", "Put it where this user's shell, or man, looks for it.")] = False,
    dry_run: Annotated[bool, option("--dry-run", "With --install, only say what would be written.")] = False,
) -> int:
    app: AppContext = ctx.obj
    content = read(shell)
    if install:
        put_in_place(app, place_for(shell, app.env, Path.home()), content, dry_run=dry_run)
    elif dry_run:
        raise UsageError("--dry-run is for --install", hint="without --install nothing is written anyway")
    elif app.streams.stdout is not None:
        # As it is in the file, whatever the locale's encoding and the system's line ends.
        with suppress(OSError, ValueError):
            app.streams.stdout.buffer.write(content)
            app.streams.stdout.flush()
    return 0


def read(shell: Reader) -> bytes:
    """Return the file for a shell; in a checkout, also one installed as editable, it lies beside the package.

    Raises:
        InternalError: it can't be read.
    """
    package = resources("logsh_cli")
    try:
        file = package / "completions" / FILES[shell]
        if not file.is_file():
            file = package / os.pardir / "completions" / FILES[shell]
        return file.read_bytes()
    except OSError as error:
        raise InternalError(
            f"the file {FILES[shell]} can't be read: {error.strerror}", hint="install logsh-cli again"
        ) from None


class Place(Record):
    """The place of a file, and a line that its reader may need, if any."""

    path: Path
    note: str | None


def place_for(shell: Reader, env: Mapping[str, str], home: Path) -> Place:
    """Return where this user's shell, or man, looks for its file."""
    data = _directory(env.get("XDG_DATA_HOME"), home / ".local" / "share")
    config = _directory(env.get("XDG_CONFIG_HOME"), home / ".config")
    if shell == "bash":
        own = env.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion"
        path = Path(own, "completions", "logsh")
        return Place(path, f"bash-completion finds it there; without that, add to ~/.bashrc:  . {_short(path, home)}")
    if shell == "zsh":
        path = home / ".zfunc" / "_logsh"
        return Place(path, _zsh_note(Path(env.get("ZDOTDIR") or home) / ".zshrc", path.parent, home))
    if shell == "fish":
        return Place(config / "fish" / "completions" / "logsh.fish", None)
    if shell == "powershell":
        path = config / "powershell" / "logsh.ps1"
        return Place(path, f"add to the file that $PROFILE names:  . '{path}'")
    # man looks in share/man beside each bin that is on PATH.
    found = str(data.parent / "bin") in env.get("PATH", "").split(os.pathsep)
    needed = f'add to the start-up file of your shell:  export MANPATH="{_short(data / "man", home, "$HOME")}:$MANPATH"'
    return Place(data / "man" / "man1" / "logsh.1", None if found else needed)


def _directory(named: str | None, otherwise: Path) -> Path:
    # The XDG rules: a relative one does not count.
    return Path(named) if named and Path(named).is_absolute() else otherwise


def _zsh_note(rc: Path, directory: Path, home: Path) -> str | None:
    try:
        lines = rc.read_text(encoding="utf-8", errors="replace")
    except OSError:
        lines = ""
    if directory.name in lines:
        return None
    line = f"fpath+=({_short(directory, home)})"
    if "compinit" in lines:
        return f"add to {_short(rc, home)}, before the line with compinit:  {line}"
    return f"add to {_short(rc, home)}:  {line}; autoload -Uz compinit; compinit"


def _short(path: Path, home: Path, sign: str = "~") -> str:
    return str(Path(sign) / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def put_in_place(app: AppContext, place: Place, content: bytes, *, dry_run: bool) -> None:
    """Write the file, asking first where somebody can answer, and say what else is to be done.

    No file that the user writes is touched: the line that one of them may need is shown.

    Raises:
        ConfigError: the file can't be written.
    """
    path = place.path
    if dry_run:
        app.printer.line(f"would write {path}")
    elif path.is_file() and path.read_bytes() == content:
        app.printer.line(f"{path} is up to date")
    elif app.streams.confirm(f"write {path}?") is False:
        app.printer.line("nothing was written")
        return
    else:
        try:
            make_directory(path.parent)
            write_atomically(path, content)
        except OSError as error:
            raise ConfigError(
                f"{path} can't be written: {error.strerror}", hint="without --install it is printed, for any place"
            ) from None
        app.printer.line(f"wrote {path}")
    if place.note:
        app.printer.line(place.note)


HELP = """\
Print the completion script of a shell, or the manual; with --install, put it in place.

No start-up file is changed: where your shell needs a line in one, it is shown.

\b
  logsh completion zsh --install
  logsh completion man --install
  logsh completion powershell | Out-String | Invoke-Expression
"""
