"""Command lines as Typer reads them: the application, whose signatures are the one declaration, and its complaints.

Loading Typer is a third of what a short command costs, so ``cli.py`` comes here only with what ``argv.py`` can't read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer
import typer.main

from logsh_cli import __version__, options
from logsh_cli.errors import ExitCode
from logsh_cli.help.layout import ArrangedCommand, ArrangedGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from logsh_cli.app import AppContext

GROUPS = {
    "Send": {
        "send": "Send one event.",
        "run": "Run a command and report how it ended.",
        "batch": "Send one event for each line of JSON.",
    },
    "Look": {
        "outbox": "See, send or drop kept events.",
        "sandbox": "Run a local Logsh, alone or around a command.",
        "doctor": "Check settings, service, key and outbox.",
    },
    "Set up": {
        "login": "Keep an API key in the configuration file.",
        "logout": "Remove the API key from a profile.",
        "config": "See and change settings.",
        "completion": "Print or install a shell's completion, or the manual.",
    },
    "Learn": {"help": "Explain a command, exit-codes, environment or json."},
}
COMMANDS = {name: sentence for names in GROUPS.values() for name, sentence in names.items()}
"""In the order of the help, each with its sentence there. Each is a module of ``logsh_cli.commands``; only the one that
the command line names is imported, which is 5 to 9 % of a run."""

HIDDEN = ("courier",)
"""Commands that only logsh itself calls."""

HELP = """\
Send events to Logsh. An accepted event is kept until the service has it.

\b
  logsh sandbox -- logsh send -e deploy.done -d "v1.2.3 is live"
  logsh login
  logsh run -e backup.nightly -- ./backup.sh
"""

_SHOWS_ONLY = frozenset({"--help", "-h", "--version", "-V"})
"""Options whose text Typer itself writes, and so stumbles over a reader that has gone or a full disk."""

_NAMES = {**vars(options), "options": options}
"""Names in the signatures of commands beside what their modules import."""


class RootGroup(ArrangedGroup):
    """``logsh`` itself."""

    headings = GROUPS


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The Typer application with these commands; help and completion need all of them, a run needs one."""
    app = typer.Typer(
        name="logsh",
        cls=RootGroup,
        help=HELP,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,  # too slow to load for a page of help
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool,
            typer.Option("--version", "-V", help="Print the version and exit.", callback=_print_version, is_eager=True),
        ] = False,
    ) -> None:
        pass

    for name in names:
        _add(app, name)
    return app


def _add(app: typer.Typer, name: str) -> None:
    """Add a command, or a group of those in its module's ``COMMANDS``."""
    module = import_module(f"logsh_cli.commands.{name}")
    if not hasattr(module, "COMMANDS"):
        _add_function(app, module, name, module.HELP, COMMANDS.get(name))
        return
    group = typer.Typer(cls=ArrangedGroup, no_args_is_help=True, rich_markup_mode=None, help=module.HELP)
    for command, (sentence, *examples) in module.COMMANDS.items():
        _add_function(group, module, command, "\n  ".join((f"{sentence}\n\n\b", *examples)))
    app.add_typer(group, name=name, short_help=COMMANDS[name])


def _add_function(app: typer.Typer, module: ModuleType, name: str, words: str, short: str | None = None) -> None:
    """Add the function of the command's name, with a ``_`` behind it where Python has that name itself."""
    function = getattr(module, name, None) or getattr(module, f"{name}_")
    # What follows a command that is to be run is that command's.
    settings = {"allow_interspersed_args": "command" not in function.__annotations__}
    # Typer would look for the types in the command's module, which imports them for the type checker alone.
    function.__annotations__ = get_type_hints(function, {**_NAMES, **function.__globals__}, include_extras=True)
    app.command(
        name, cls=ArrangedCommand, help=words, short_help=short, hidden=name in HIDDEN, context_settings=settings
    )(function)


def run(argv: Sequence[str], context: AppContext) -> int:
    """Run one command line and return its exit code.

    Raises:
        UsageError: it can't be parsed.
        KeyboardInterrupt: a prompt was interrupted.
    """
    if list(argv[:1]) == ["version"]:
        argv = ["--version", *argv[1:]]
    command = typer.main.get_command(build_app(_needed_for(argv[0] if argv else None)))
    try:
        # Not `command.main`: it would make a signal an exit code of its own, and a closed pipe an exit with 1.
        with command.make_context("logsh", list(argv), obj=context) as parsed:
            return int(command.invoke(parsed) or 0)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        # Layout words all others: a group without a command, whose help is the message.
        context.streams.err(str(error))
        return int(ExitCode.USAGE)
    except OSError:
        if _SHOWS_ONLY.isdisjoint(argv):
            raise
        return int(ExitCode.OK)


def _needed_for(name: str | None) -> Iterable[str]:
    """The commands to import: the one that is named; for help, and to suggest what was meant, all."""
    if name != "help" and (name in COMMANDS or name in HIDDEN):
        return [name]
    return () if name in ("--version", "-V") else COMMANDS


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"logsh {__version__}")
        raise typer.Exit
