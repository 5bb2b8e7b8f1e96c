"""Command lines as Typer reads them: the application, whose signatures are the one declaration, and its complaints.

Loading Typer is a third of what a short command costs, so ``cli.py`` comes here only with what ``argv.py`` can't read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
import typer.main

from logsh_cli import __version__, options
from logsh_cli.errors import ExitCode
from logsh_cli.help.layout import arrange, group_under

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logsh_cli.app import AppContext

GROUPS = {
    "Send": ("send", "run", "batch"),
    "Look": ("outbox", "sandbox", "doctor"),
    "Set up": ("login", "logout", "config", "completion"),
    "Learn": ("help",),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)
"""In the order of the help. Each is a module of ``logsh_cli.commands`` with a ``register(app)``; only the one that the
command line names is imported, which is 5 to 9 % of a run."""

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
"""Names that the signatures of commands use and their modules import for the type checker alone."""


def build_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The Typer application with these commands; help and completion need all of them, a run needs one."""
    app = typer.Typer(
        name="logsh",
        cls=group_under(GROUPS),
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
        import_module(f"logsh_cli.commands.{name}").register(app)
    arrange(app)
    _evaluate_signatures(app)
    return app


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


def _needed_for(name: str | None) -> Sequence[str]:
    """The commands to import: the one that is named; for help, and to suggest what was meant, all."""
    if name != "help" and (name in COMMANDS or name in HIDDEN):
        return [name]
    return () if name in ("--version", "-V") else COMMANDS


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"logsh {__version__}")
        raise typer.Exit


def _evaluate_signatures(app: typer.Typer) -> None:
    """Turn annotations into types, which Typer would look for in the command's module, where they are not imported."""
    for command in app.registered_commands:
        callback: Callable[..., Any] | None = command.callback
        if callback is not None:
            names = {**_NAMES, **callback.__globals__}
            callback.__annotations__ = get_type_hints(callback, globalns=names, include_extras=True)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _evaluate_signatures(group.typer_instance)
