"""``logsh batch``: one event a line, many at a time, none of them lost."""

from __future__ import annotations

import gc
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Annotated

from logsh_cli import Record
from logsh_cli.app import AppContext
from logsh_cli.batch.pump import BatchJob, LineReader, parse_line
from logsh_cli.clock import option_seconds
from logsh_cli.config.resolve import Flags
from logsh_cli.delivery import end_of_the_road
from logsh_cli.delivery.drain import DEFAULT_JOBS, Drain
from logsh_cli.delivery.road import FORGIVABLE
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import EventRefused, ExitCode, MissingKey, UsageError, interruption
from logsh_cli.output import Tally

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.options import ADVANCED, DELIVERY, argument, option


class BatchOptions(Record):
    """The command line of ``batch`` as one value."""

    file: str
    flags: Flags
    jobs: int
    rate: float | None
    from_line: int
    dry_run: bool
    validate: bool
    truncate: bool


def batch(
    ctx: typer.Context,
    file: Annotated[str, argument("[FILE|-]", "JSON Lines; - is standard input.")] = "-",
    jobs: options.Jobs = DEFAULT_JOBS,
    rate: Annotated[float | None, option("--rate N", "At most N requests a second.", ADVANCED)] = None,
    from_line: Annotated[int, option("--from-line N", "Begin at the Nth line.", ADVANCED)] = 1,
    workspace: options.Workspace = None,
    truncate: options.Truncate = False,
    no_validate: options.NoValidate = False,
    dry_run: Annotated[bool, option("--dry-run", "Check every line and send nothing.", DELIVERY)] = False,
    deadline: options.EventDeadline = None,
    best_effort: options.BestEffort = False,
    on_missing_key: options.OnMissingKey = None,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError(f"--rate must be a number above 0; got {rate:g}")
    if from_line < 1:
        raise UsageError(f"--from-line is the number of a line, from 1 on; got {from_line}")
    seconds = option_seconds("--deadline", deadline)
    flags = Flags(profile, workspace, deadline=seconds, best_effort=best_effort, on_missing_key=on_missing_key)
    given = BatchOptions(file, flags, jobs, rate, from_line, dry_run, not no_validate, truncate)
    tally = act(app, given)
    if dry_run and tally.error is None and not json and not quiet:
        app.printer.line(f"dry_run: {tally.accepted} good, nothing was sent ({tally.elapsed_ms / 1000:.1f} s)")
        return 0
    return app.finish(tally)


def act(app: AppContext, given: BatchOptions) -> Tally:
    """Read, store and send every line, then count."""
    gc.enable()  # a stream may go on for days, and failed connections leave cycles behind
    started = app.clock.monotonic()
    settings = app.settings(given.flags)
    descriptor = open_input(app, given.file)
    with StopRequest() as stop:
        drain = None
        try:
            if not given.dry_run:
                road = app.road(settings.destination(), stopping=stop.event)
                drain = Drain(road, jobs=given.jobs, deadline_s=settings.deadline.value, rate=given.rate)
        except MissingKey as error:
            if not settings.skips_without_key:
                raise (error if settings.workspace.value is not None else settings.missing(error)) from None
            return Tally(error=error)
        workspace = settings.workspace.value
        parse = partial(parse_line, workspace=workspace, validate=given.validate, truncate=given.truncate)
        job = BatchJob(parse, app.printer.note, drain, stop, jobs=given.jobs, from_line=given.from_line)
        counts = job.totals.counts
        status = os.fstat(descriptor)
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        with app.printer.progress("sending", total=size) as show:
            reader = LineReader(descriptor)
            for _ in job.run(reader):
                show(reader.position, counts)
        if job.unreadable is not None:
            note_unreadable(job, reader, given.file, job.unreadable)
        if stop:
            note_stop(job, stop)
        if drain is not None:
            end_of_the_road(app, settings, drain.road, takes_along=not stop and bool(counts["delivered"]))
    exit_code, worst = job.totals.worst()
    return Tally(
        accepted=job.accepted,
        delivered=counts["delivered"],
        queued=counts["queued"],
        rejected=counts["rejected"],
        invalid=job.invalid,
        elapsed_ms=round((app.clock.monotonic() - started) * 1000),
        exit_code=ExitCode.OK if exit_code in FORGIVABLE and settings.best_effort.value else exit_code,
        error=worst,
        last_line=None if job.at_end else job.last_line,
    )


def note_unreadable(job: BatchJob, reader: LineReader, file: str, error: OSError) -> None:
    """The input ended in a fault: wrong usage if nothing of it could be read, else like a bad line."""
    message = f"{file} can't be read{' any further' if reader.position else ''}: {error.strerror}"
    if not reader.position:
        raise UsageError(message)
    job.totals.note(EventRefused(message))


def note_stop(job: BatchJob, stop: StopRequest) -> None:
    """A signal ended it early: say where the rest is."""
    lost = job.totals.counts["failed"]
    kept = "what was accepted and not sent is kept: `logsh outbox flush`"
    hint = f"{lost} events could not be kept" if lost else kept
    if not job.at_end:
        hint += f"; it stopped after line {job.last_line}: `--from-line {job.last_line + 1}` goes on"
    job.totals.note(interruption(stop.error(), hint=hint))


def open_input(app: AppContext, file: str) -> int:
    """A file descriptor to read from. Raises ``UsageError`` naming the file and the reason."""
    if file == "-":
        if app.streams.stdin is None:
            raise UsageError("standard input is closed", hint="name a file: logsh batch FILE")
        if app.streams.stdin.isatty():
            app.printer.note("reading events from the terminal, one JSON object a line; Ctrl-D ends")
        return app.streams.stdin.fileno()
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        if os.path.isdir(file):  # noqa: PTH112 - the argument may be bytes that make no Path
            raise IsADirectoryError(21, "it is a directory")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid file name"
        raise UsageError(f"{file} can't be read: {reason}") from None
    return descriptor


HELP = """\
Send one event for each line of JSON.

A line is an object with the API's fields: event and description are required, workspace falls back to the default.
Good lines are stored first, then sent; bad ones are reported with their number and skipped.

\b
  {"event": "user.signup", "description": "Ada joined", "notify": true}

\b
  logsh batch events.jsonl
  tail -f app.events | logsh batch -
"""
