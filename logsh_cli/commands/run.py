"""``logsh run``: a job, unchanged, and an event that says how it ended.

Only what is needed to start the command is imported up here; everything about Logsh is loaded while it runs, or after.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from logsh_cli.app import AppContext
from logsh_cli.clock import option_seconds
from logsh_cli.errors import InvalidEvent, UsageError
from logsh_cli.job import Meanwhile, NotifyOn, On, RunOptions, parse_success_codes
from logsh_cli.job.child import TIMED_OUT, shell_status, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from logsh_cli import options
    from logsh_cli.job.child import Ending
    from logsh_cli.options import ADVANCED, EVENT, JOB, argument, option


LONGEST_TAIL = 500
MANY = 1_000_000


def run(
    ctx: typer.Context,
    command: Annotated[list[str] | None, argument("-- COMMAND [ARG]...", "What to run, without a shell.")] = None,
    event: Annotated[
        str | None, option("--event -e NAME", "The event's name.  [default: the command's]", EVENT)
    ] = None,
    desc: Annotated[
        str | None, option("--desc --description -d TEXT", "Put before how the command ended.", EVENT)
    ] = None,
    workspace: options.Workspace = None,
    icon: options.Icon = None,
    meta: options.Meta = None,
    ci: options.Ci = False,
    on: Annotated[
        On, option("--on WHEN", "always (default), failure, success, change.", JOB, show_default=False)
    ] = "always",
    notify_on: Annotated[
        NotifyOn, option("--notify-on WHEN", "failure (default), change, always, never.", JOB, show_default=False)
    ] = "failure",
    notify_after: Annotated[
        int, option("--notify-after N", "Push from the Nth failure in a row on.", ADVANCED, min=1, max=MANY)
    ] = 1,
    longer_than: Annotated[
        str | None, option("--longer-than TIME", "Report long runs, and failures.", ADVANCED)
    ] = None,
    success_codes: Annotated[
        str, option("--success-codes N,N...", "Exit codes and signals that count as success.", ADVANCED)
    ] = "0",
    report_start: Annotated[bool, option("--start", "Report the start, too.", JOB)] = False,
    tail: Annotated[
        int | None, option("--tail N", "On failure, its output's end.", JOB, min=1, max=LONGEST_TAIL)
    ] = None,
    timeout: Annotated[str | None, option("--timeout TIME", "End it and all that it started after TIME.", JOB)] = None,
    quiet_job: Annotated[bool, option("--quiet-job", "Show its output only if it fails.", ADVANCED)] = False,
    dry_run: Annotated[bool, option("--dry-run", "Show the events and run nothing.", ADVANCED)] = False,
    background: options.Background = False,
    deadline: options.Deadline = None,
    on_missing_key: options.OnMissingKey = None,
    profile: options.Profile = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    kill_after: Annotated[
        str, option("--kill-after TIME", "From TERM to KILL, once the time is out.", ADVANCED)
    ] = "10s",
    icon_success: Annotated[
        str | None, option("--icon-success EMOJI", "Instead of a green check mark.", ADVANCED)
    ] = None,
    icon_failure: Annotated[str | None, option("--icon-failure EMOJI", "Instead of a red cross.", ADVANCED)] = None,
) -> int:
    given = dict(locals())
    app: AppContext = ctx.obj.configured(quiet=quiet, verbose=verbose)
    if not command:
        raise UsageError("there is no command to run", hint="logsh run [OPTIONS] -- COMMAND [ARG]...")
    for name in ("longer_than", "timeout", "kill_after", "deadline"):
        given[name] = option_seconds(f"--{name.replace('_', '-')}", given[name])
    given["success_codes"] = parse_success_codes(success_codes)
    given["run_id"] = os.urandom(8).hex() if report_start else None
    if meta:
        from logsh_cli.event import parse_metadata  # noqa: PLC0415 - before anything runs, but only where there is any

        if problems := parse_metadata(meta)[1]:
            raise InvalidEvent(problems)
    options = RunOptions(**{name: given[name] for name in RunOptions._fields})
    return preview(app, options) if dry_run else supervise(app, options)


def preview(app: AppContext, given: RunOptions) -> int:
    """Show the events that would tell of a success and of a failure."""
    from logsh_cli.job.report import JobReport  # noqa: PLC0415 - not needed before a command runs

    for result in JobReport(app, given).preview():
        app.printer.show(result)
    return 0


def supervise(app: AppContext, given: RunOptions) -> int:
    """Start the command, wait for it, report it, and return its status; nothing of ours may change that."""
    child = start(
        given.command,
        tee=given.tail is not None,
        hold=given.quiet_job,
        timeout_s=given.timeout or None,
        kill_after_s=given.kill_after,
    )
    meanwhile = Meanwhile(app, given if child.pid is not None else given._replace(report_start=False))
    ending = child.wait()
    meanwhile.end()
    status = shell_status(ending)
    if given.quiet_job and status not in given.success_codes:
        child.show_output()
    if line := _trouble(given.command, ending):
        app.printer.note(line)
    try:
        from logsh_cli.job.report import JobReport  # noqa: PLC0415 - not needed before the command runs

        JobReport(app, given, started=child.pid is not None).finish(ending, child, meanwhile)
    except Exception as fault:  # noqa: BLE001 - an upgrade under way, no memory, no descriptors
        app.printer.note(f"the command is not reported: {type(fault).__name__}: {fault}")
    if app.fatal_signal is None and ending.kind == "signaled":
        app.fatal_signal = ending.signal
    return status


def _trouble(argv: Sequence[str], ending: Ending) -> str | None:
    """The one line about what the command itself can't have told."""
    if ending.kind == "timed_out":
        killed = "" if shell_status(ending) == TIMED_OUT else ", killed"
        return f"{argv[0]}: timed out after {ending.duration_s:.1f} s{killed}"
    if ending.kind == "not_started":
        words = argv[0].split() or ["an empty name"]
        hint = " (did you mean: logsh run -- sh -c '…')" if len(words) > 1 else ""
        return f"{words[0]}{'…' if hint else ''}: {ending.reason}{hint}"
    return f"{argv[0]}: its output could not be passed on: {ending.output_error}" if ending.output_error else None


HELP = """\
Run a command, change nothing about it, and report how it ended.

\b
  logsh run -e backup.nightly --notify-on change -- ./backup.sh --full
  logsh run --timeout 15m --tail 500 -- make test
"""
