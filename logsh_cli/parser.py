"""Command lines as Typer reads them: the application, whose signatures are the one declaration, and its complaints.

Loading Typer is a third of what a short command costs, so ``cli.py`` comes here only with what ``argv.py`` can't read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
import typer.main

from logsh_cli import __version__, options
from logsh_cli.errors import ExitCode, UsageError
from logsh_cli.help import arrange, group_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logsh_cli.app import AppContext

COMMANDS = (
    "send",
    "run",
    "batch",
    "outbox",
    "login",
    "logout",
    "config",
    "doctor",
    "sandbox",
    "completion",
)
"""In the order of the help. Each is a module of ``logsh_cli.commands`` with a ``register(app)``; only the one that the
command line names is imported, which is 5 to 9 % of a run."""

HIDDEN = ("courier",)
"""What only logsh itself calls."""

HELP = """\
Send events to Logsh. What is accepted is never lost: it is kept until the service has it.

\b
  logsh login
  logsh send -e deploy.done -d "v1.2.3 is live"
  logsh run -e backup.nightly -- ./backup.sh
"""

_LONGEST_MESSAGE = 500
"""Characters of what typer says about wrong usage; it repeats what was given, whole."""

_SHOWS_ONLY = frozenset({"--help", "-h", "--version", "-V"})
"""What typer itself writes, and so stumbles over a reader that has gone or a full disk."""

_NAMES = {"options": options, "typer": typer}
"""What the signatures of commands use and their modules import for the type checker alone."""


def build_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The Typer application with these commands; help and completion need all of them, a run needs one."""
    app = typer.Typer(
        name="logsh",
        cls=group_in_order((*COMMANDS, *HIDDEN)),
        help=HELP,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,  # rich costs 25 to 45 ms; results are drawn with it, on a terminal only
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
        # A group without a command: its help is the message. The class has no public name.
        if type(error).__name__ == "NoArgsIsHelpError":
            context.streams.err(error.format_message())
            return int(ExitCode.USAGE)
        raise _usage_error(error) from None
    except OSError:
        if _SHOWS_ONLY.isdisjoint(argv):
            raise
        return int(ExitCode.OK)


def _needed_for(name: str | None) -> Sequence[str]:
    """The commands to import: the one that is named; for help, and to suggest what was meant, all."""
    if name in COMMANDS or name in HIDDEN:
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
            names = {**callback.__globals__, **_NAMES}
            callback.__annotations__ = get_type_hints(callback, globalns=names, include_extras=True)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _evaluate_signatures(group.typer_instance)


def _usage_error(error: typer.TyperException) -> UsageError:
    where = getattr(getattr(error, "ctx", None), "command_path", "logsh")
    message = error.format_message().rstrip(".").replace("\n\t", " ")  # Typer lists choices one a line
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 1]}…"
    return UsageError(message, hint=f"see `{where} --help`")
