"""``logsh sandbox``: a local Logsh, to see what scripts would send and to assert on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from logsh_cli.app import AppContext
from logsh_cli.sandbox.rules import parse_faults

if TYPE_CHECKING:
    import typer

    from logsh_cli import options


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "sandbox",
        help=HELP,
        short_help="Run a local Logsh, alone or around a command.",
        context_settings={"allow_interspersed_args": False},
    )(sandbox)


def sandbox(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND [ARG]...]", help="Run this with the sandbox as its Logsh."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="N",
            help="Where to listen; 0 is a free port.  [default: 5647 if it is free; with a command any free one]",
        ),
    ] = None,
    fail: Annotated[
        str | None,
        typer.Option(
            "--fail",
            metavar="SPEC",
            help="Answer the first requests so: statuses, drop, slow, html; e.g. 503,429,drop.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each received event as one line of JSON.")] = False,
    quiet: options.Quiet = False,
) -> int:
    from logsh_cli.sandbox import session  # noqa: PLC0415 - a server and SQLite, which `--help` can do without

    app: AppContext = ctx.obj
    app.configure_output(json=json, quiet=quiet)
    faults = parse_faults(fail) if fail is not None else ()
    return session.around(app, command, faults, port or 0) if command else session.alone(app, faults, port)


HELP = """\
Run a local Logsh on 127.0.0.1: the documented rules, no account, nothing leaves this machine.

\b
  logsh sandbox
  logsh sandbox -- ./backup.sh
  logsh sandbox --json -- ./deploy.sh > events.jsonl
  logsh sandbox --fail 503,429,drop -- logsh send -e test -d retries

Alone it serves until Ctrl-C and shows events as they arrive. With a command it serves while that runs with an API URL,
a key, a configuration and an outbox of its own, then prints what was received and exits with the command's status.
"""
