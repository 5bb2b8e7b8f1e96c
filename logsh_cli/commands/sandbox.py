"""``logsh sandbox``: a local Logsh, to see what scripts would send and to assert on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from logsh_cli.app import AppContext
from logsh_cli.errors import UsageError
from logsh_cli.sandbox.expectations import parse_expectations
from logsh_cli.sandbox.rules import parse_faults

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.options import argument, option


def sandbox(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None, argument("[-- COMMAND [ARG]...]", "Run this with the sandbox as its Logsh.")
    ] = None,
    port: Annotated[
        int | None,
        option(
            "--port N",
            "Where to listen; 0 is a free port.  [default: 5647 if it is free; with a command any free one]",
            min=0,
            max=65535,
        ),
    ] = None,
    fail: Annotated[
        str | None,
        option("--fail SPEC", "Answer the first requests so: statuses, drop, slow, html; e.g. 503,429,drop."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        option(
            "--expect FIELD=VALUE", "End with 1 unless an event has this value. Repeatable; metadata.KEY=VALUE, too."
        ),
    ] = None,
    expect_count: Annotated[
        int | None, option("--expect-count N", "End with 1 unless exactly N events match.", min=0)
    ] = None,
    expect_none: Annotated[bool, option("--expect-none", "End with 1 if any event matches.")] = False,
    json: Annotated[
        bool, option("--json", "Print each event as a line of JSON; the command's output goes to standard error.")
    ] = False,
    output: Annotated[str | None, option("--output FILE", "Write the events there instead, as lines of JSON.")] = None,
    quiet: options.Quiet = False,
) -> int:
    from logsh_cli.sandbox import session  # noqa: PLC0415 - a server and SQLite, which `--help` can do without

    app: AppContext = ctx.obj.configured(json=json, quiet=quiet)
    expected = parse_expectations(expect or (), none=expect_none, count=expect_count)
    file = None if output is None else app.cwd() / output
    plan = session.Plan(parse_faults(fail) if fail is not None else (), port, file, expected)
    if command:
        return session.around(app, command, plan)
    if expected is not None:
        raise UsageError("--expect needs a command to check", hint="logsh sandbox --expect … -- COMMAND")
    return session.alone(app, plan)


HELP = """\
Run a local Logsh on 127.0.0.1: the documented rules, no account, nothing leaves this machine.

\b
  logsh sandbox
  logsh sandbox -- ./backup.sh
  logsh sandbox --expect event=backup.done -- ./backup.sh
  logsh sandbox --json -- ./deploy.sh > events.jsonl
  logsh sandbox --fail 503,429,drop -- logsh send -e test -d retries

Alone it serves until Ctrl-C and shows events as they arrive. With a command it serves while that runs with an API URL,
a key, a configuration and an outbox of its own, then prints what was received and exits with the command's status.
If that is 0 but no event matches --expect, it shows the difference and exits with 1.
"""
