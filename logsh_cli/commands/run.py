"""``logsh run``: a job, unchanged, and an event that says how it ended.

Only what is needed to start the command is imported up here; everything about Logsh is loaded while it runs, or after.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated

from logsh_cli.app import AppContext
from logsh_cli.clock import option_seconds
from logsh_cli.errors import UsageError
from logsh_cli.job.child import hold_signals, shell_status, start
from logsh_cli.job.options import RunOptions
from logsh_cli.job.outcome import NotifyOn, On, parse_duration, parse_success_codes

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.job.report import JobReport

LONGEST_TAIL = 500


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "run",
        help=HELP,
        short_help="Run a command and report how it ended.",
        context_settings={"allow_interspersed_args": False},
    )(run)


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND [ARG]...", help="What to run, without a shell.")
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            "-e",
            metavar="NAME",
            help="The event's name.  [default: the command's]",
            rich_help_panel=options.EVENT,
        ),
    ] = None,
    desc: Annotated[
        str | None,
        typer.Option(
            "--desc",
            "--description",
            "-d",
            metavar="TEXT",
            help="Put before how the command ended.",
            rich_help_panel=options.EVENT,
        ),
    ] = None,
    workspace: options.Workspace = None,
    meta: options.Meta = None,
    ci: options.Ci = False,
    icon_success: Annotated[
        str | None,
        typer.Option(
            "--icon-success",
            metavar="EMOJI",
            help="Instead of a green check mark.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    icon_failure: Annotated[
        str | None,
        typer.Option(
            "--icon-failure", metavar="EMOJI", help="Instead of a red cross.", rich_help_panel=options.ADVANCED
        ),
    ] = None,
    on: Annotated[
        On,
        typer.Option(
            "--on",
            metavar="WHEN",
            help="Report always, failure, success or change.",
            rich_help_panel=options.REPORT,
        ),
    ] = "always",
    notify_on: Annotated[
        NotifyOn,
        typer.Option(
            "--notify-on",
            metavar="WHEN",
            help="Push on failure, change, always or never.",
            rich_help_panel=options.REPORT,
        ),
    ] = "failure",
    success_codes: Annotated[
        str,
        typer.Option(
            "--success-codes",
            metavar="N,N...",
            help="Exit codes that count as success.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = "0",
    report_start: Annotated[
        bool, typer.Option("--start", help="Report the start, too.", rich_help_panel=options.REPORT)
    ] = False,
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail",
            min=1,
            max=LONGEST_TAIL,
            metavar="N",
            help="On failure, its output's end.",
            rich_help_panel=options.REPORT,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            help="End it and all it started after 90s, 15m.",
            rich_help_panel=options.JOB,
        ),
    ] = None,
    kill_after: Annotated[
        str,
        typer.Option(
            "--kill-after",
            metavar="TIME",
            help="From TERM to KILL, once the time is out.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = "10s",
    deadline: options.Deadline = None,
    on_missing_key: options.OnMissingKey = None,
    profile: options.Profile = None,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj
    app.configure_output(verbose=verbose)
    if not command:
        raise UsageError("there is no command to run", hint="logsh run [OPTIONS] -- COMMAND [ARG]...")
    given = RunOptions(
        argv=tuple(command),
        event=event,
        description=desc,
        workspace=workspace,
        metadata=tuple(meta or ()),
        ci=ci,
        icon_success=icon_success,
        icon_failure=icon_failure,
        on=on,
        notify_on=notify_on,
        success_codes=parse_success_codes(success_codes),
        tail=tail,
        deadline_s=option_seconds("--deadline", deadline),
        on_missing_key=on_missing_key,
        profile=profile,
    )
    given.check()
    return supervise(
        app,
        given,
        report_start=report_start,
        timeout_s=None if timeout is None else parse_duration(timeout),
        kill_after_s=parse_duration(kill_after, "--kill-after", allow_zero=True),
    )


def supervise(
    app: AppContext, given: RunOptions, *, report_start: bool, timeout_s: float | None, kill_after_s: float
) -> int:
    """Start the command, wait for it, report it, and return its status; nothing of ours may change that."""
    held = hold_signals() if os.name == "posix" else None
    child = start(given.argv, tail=given.tail, timeout_s=timeout_s, kill_after_s=kill_after_s, held=held)
    report = _prepare_report(app, given)
    if report_start and child.started and not isinstance(report, Exception):
        report.begin()
    ending = child.wait(hold_signals=True)
    if isinstance(report, Exception):
        app.printer.note(f"the command is not reported: {type(report).__name__}: {report}")
    else:
        report.finish(ending, child)
    if ending.signal == signal.SIGINT and ending.exit_code is None:
        app.fatal_signal = signal.SIGINT
    return shell_status(ending)


def _prepare_report(app: AppContext, given: RunOptions) -> JobReport | Exception:
    """Load what tells of the command, now that it runs; why that failed, since there is still a command to wait for."""
    try:
        from logsh_cli.job.report import JobReport  # noqa: PLC0415 - the command runs already

        return JobReport(app, given)
    except Exception as fault:  # noqa: BLE001 - an upgrade under way, no memory, no descriptors
        return fault


HELP = """\
Run a command, change nothing about it, and report how it ended.

\b
  logsh run -e backup.nightly --notify-on change -- ./backup.sh --full
  logsh run --timeout 15m --tail 500 -- make test
"""
