"""The command line: which module serves which command, and the only place where an error becomes an exit code."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer
import typer.main

from logsh_cli import __version__
from logsh_cli.app import AppContext
from logsh_cli.errors import ExitCode, InternalError, LogshError, TermSignal, UsageError, interruption
from logsh_cli.help import arrange, group_in_order
from logsh_cli.output.result import Result, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

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

_OWN_SIGNALS = frozenset({"run", "sandbox"})
"""Commands that hand signals on to a process of the user's, and so arrange for them themselves."""


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
    return app


def main(argv: Sequence[str], context: AppContext | None = None) -> int:
    """Run one command line and return its exit code; every failure has been reported when this returns.

    ``argv`` is without the program's name. ``context`` is this process's own unless a test gives another.
    """
    context = context or AppContext.of_process()
    try:
        return _run(argv, context)
    except LogshError as error:
        return _report(context, argv, error)
    except typer.TyperException as error:
        return _misused(context, argv, error)
    except (KeyboardInterrupt, typer.Abort) as stop:
        return _stopped(context, argv, stop if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt())
    except Exception as fault:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        return _report(context, argv, _internal_error(context, fault))
    finally:
        context.tell_notices()


def _run(argv: Sequence[str], context: AppContext) -> int:
    name = argv[0] if argv else None
    if name not in _OWN_SIGNALS:
        _raise_on_term()
    command = typer.main.get_command(build_app(_needed_for(name)))
    try:
        # Not `command.main`: it would make a signal an exit code of its own, and a closed pipe an exit with 1.
        with command.make_context("logsh", list(argv), obj=context) as parsed:
            return int(command.invoke(parsed) or 0)
    except typer.Exit as done:
        return done.exit_code
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


def _raise_on_term() -> None:
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_term)


def _on_term(_signum: int, _frame: FrameType | None) -> None:
    raise TermSignal


def _stopped(context: AppContext, argv: Sequence[str], stop: KeyboardInterrupt) -> int:
    error = interruption(stop)
    if error.exit_code == ExitCode.INTERRUPTED:
        context.fatal_signal = signal.SIGINT
    return _report(context, argv, error)


def _report(context: AppContext, argv: Sequence[str], error: LogshError) -> int:
    # The parser may have failed before it saw --json, and a script that asked for JSON gets JSON all the same.
    own_words = argv[: list(argv).index("--")] if "--" in argv else argv
    if "--json" in own_words and argv[0] != "run":  # whose standard output is the job's
        context.printer.json = True
    many = list(argv[:1]) == ["batch"] or list(argv[:2]) == ["outbox", "flush"]
    if context.printer.json and many:
        context.printer.show_tally(Tally(exit_code=error.exit_code, error=error))
    else:
        context.printer.show(Result("failed", exit_code=error.exit_code, error=error))
    return int(error.exit_code)


def _misused(context: AppContext, argv: Sequence[str], error: typer.TyperException) -> int:
    # A group without a command: its help is the message. The class has no public name; typer itself knows it by this.
    if type(error).__name__ == "NoArgsIsHelpError":
        context.streams.err(error.format_message())
        return int(ExitCode.USAGE)
    return _report(context, argv, _usage_error(error))


def _usage_error(error: typer.TyperException) -> UsageError:
    where = getattr(getattr(error, "ctx", None), "command_path", "logsh")
    message = error.format_message().rstrip(".").replace("\n\t", " ")  # Typer lists choices one a line
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 1]}…"
    return UsageError(message, hint=f"see `{where} --help`")


def _internal_error(context: AppContext, fault: Exception) -> InternalError:
    if context.env.get("LOGSH_DEBUG"):
        import traceback  # noqa: PLC0415 - for whoever asked for it

        context.streams.err(context.redact("".join(traceback.format_exception(fault))))
    cause = (
        type(fault).__name__ if isinstance(fault, (RecursionError, MemoryError)) else f"{type(fault).__name__}: {fault}"
    )
    return InternalError(
        f"a fault in logsh, please report it: {cause}",
        hint=None if context.env.get("LOGSH_DEBUG") else f"LOGSH_DEBUG=1 shows where (process {os.getpid()})",
    )
