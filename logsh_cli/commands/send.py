"""``logsh send``: one event, from the command line to the service."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from logsh_cli import Record
from logsh_cli.app import AppContext
from logsh_cli.clock import Budget, option_seconds
from logsh_cli.config.resolve import Flags, Settings
from logsh_cli.delivery import end_of_the_road, leave_to_courier
from logsh_cli.delivery.road import FORGIVABLE
from logsh_cli.errors import ExitCode, InvalidEvent, MissingKey, MissingWorkspace, NotKept, UsageError
from logsh_cli.event import FLAG_LABELS, Draft, Event, build_event, parse_metadata
from logsh_cli.http import wire
from logsh_cli.output import Result
from logsh_cli.output.text import REDACTED

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.options import DELIVERY, EVENT, option

LONGEST_STDIN = 10 * 1024 * 1024
"""Bytes read of standard input at most; a description has 150 characters."""


class SendOptions(Record):
    """The command line of ``send`` as one value."""

    draft: Draft
    meta_problems: tuple[str, ...]
    flags: Flags
    validate: bool
    truncate: bool
    dry_run: bool
    background: bool
    ci: bool


def send(
    ctx: typer.Context,
    event: Annotated[
        str | None, option("--event -e NAME", "What happened, e.g. deploy.done.  [required]", EVENT)
    ] = None,
    desc: Annotated[
        str | None, option("--desc --description -d TEXT", "One sentence; - reads stdin.  [required]", EVENT)
    ] = None,
    workspace: options.Workspace = None,
    icon: options.Icon = None,
    notify: options.Notify = None,
    meta: options.Meta = None,
    ci: options.Ci = False,
    truncate: options.Truncate = False,
    no_validate: options.NoValidate = False,
    dry_run: Annotated[bool, option("--dry-run", "Print the request, send nothing.", DELIVERY)] = False,
    background: options.Background = False,
    deadline: options.Deadline = None,
    best_effort: options.BestEffort = False,
    on_missing_key: options.OnMissingKey = None,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    metadata, problems = parse_metadata(meta or [])
    draft = Draft(workspace, event, desc, icon, notify, metadata)
    flags = Flags(profile, workspace, icon, notify, option_seconds("--deadline", deadline), best_effort, on_missing_key)
    given = SendOptions(draft, tuple(problems), flags, not no_validate, truncate, dry_run, background, ci)
    return app.finish(act(app, given))


def act(app: AppContext, given: SendOptions) -> Result:
    """Build the event from options and settings, then show it or put it on the road."""
    settings = app.settings(given.flags)
    event = None
    try:
        event = make_event(app, given, settings)
        if given.dry_run:
            return preview(settings, event)
        started = app.clock.monotonic()
        result = put_on_the_road(app, given, settings, event)
    except (MissingKey, MissingWorkspace) as error:
        missing = settings.missing(error) if isinstance(error, MissingWorkspace) and not given.dry_run else error
        if isinstance(missing, MissingKey) and settings.skips_without_key:
            return Result("skipped", None if event is None else event.body(), error=missing)
        raise missing from None
    if result.exit_code in FORGIVABLE and settings.best_effort.value:
        result = result._replace(exit_code=ExitCode.OK)
    return result._replace(event=event.body(), elapsed_ms=round((app.clock.monotonic() - started) * 1000))


def put_on_the_road(app: AppContext, given: SendOptions, settings: Settings, event: Event) -> Result:
    """Store the event, then deliver it or leave that to a courier. Raises ``ConfigError`` without a usable key."""
    destination = settings.destination()
    with app.printer.waiting() as show:
        road = app.road(destination, ahead=not given.background, show=show)
        accepted = road.accept(wire.encode_body(event.body()), for_a_courier=given.background)
        if given.background and accepted.id is not None:
            leave_to_courier(app, settings)
            return Result("stored", id=accepted.id)
        result = road.deliver(accepted, Budget(settings.deadline.value, app.clock.monotonic))
    delivered = result.status == "delivered"
    if delivered and app.printer.watched:
        with suppress(NotKept):  # a store that can't be read now is no news about this event
            if older := road.store.counts(road.owner).pending:
                number = f"{older} older event{' is' if older == 1 else 's are'}"
                app.printer.note(f"{number} waiting to be delivered: see `logsh outbox list`")
    end_of_the_road(app, settings, road, takes_along=delivered)
    return result


def make_event(app: AppContext, given: SendOptions, settings: Settings) -> Event:
    """Join what was given with what is set. Raises ``InvalidEvent`` with every problem, or ``MissingWorkspace``."""
    draft = given.draft
    description = read_description(app) if draft.description == "-" else draft.description
    defaults = {"workspace": settings.workspace, "icon": settings.icon, "notify": settings.notify}
    sources = {name: setting.source for name, setting in defaults.items() if setting.value is not None}
    metadata = {**(settings.metadata.value or {}), **draft.metadata}
    if given.ci:
        from logsh_cli.event.ci import ci_metadata  # noqa: PLC0415 - a table of providers that other sends can do without

        metadata = {**ci_metadata(app.env), **metadata}
    try:
        return build_event(
            Draft(
                workspace=settings.workspace.value,
                event=draft.event,
                description=description,
                icon=settings.icon.value,
                notify=settings.notify.value,
                metadata=metadata,
            ),
            labels={**FLAG_LABELS, **sources},
            validate=given.validate,
            truncate=given.truncate,
            extra_problems=given.meta_problems,
        )
    except InvalidEvent as error:
        if draft.description is None and has_input(app):
            error.hint = "`-d -` reads standard input"
        raise


def has_input(app: AppContext) -> bool:
    """Return True if standard input is a pipe or a file, and not a terminal or nothing."""
    import os  # noqa: PLC0415 - for a hint about what was forgotten
    import stat  # noqa: PLC0415 - the same

    try:
        mode = os.fstat(app.streams.stdin.fileno()).st_mode if app.streams.stdin is not None else 0
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def read_description(app: AppContext) -> str:
    """The description from standard input. Undecodable bytes become surrogates, which the event's rules report."""
    stdin = app.streams.stdin
    if stdin is None:
        raise UsageError("--desc - reads standard input, which is closed", hint="give the text itself: --desc TEXT")
    try:
        data = stdin.buffer.read(LONGEST_STDIN)
    except OSError as error:
        raise UsageError(f"--desc -: standard input can't be read: {error.strerror}") from None
    return data.decode("utf-8", "surrogateescape")


def preview(settings: Settings, event: Event) -> Result:
    """The exact request, which needs no key: where there is one, only that it is there is shown."""
    body = event.body()
    request = wire.build_request(settings.api_url.value, REDACTED, wire.encode_body(body))
    return Result("dry_run", body, request=request.redacted())


HELP = """\
Send one event.

\b
  logsh send -e deploy.done -d "v1.2.3 is live" -i :rocket: -m version=1.2.3
  make 2>&1 | tail -1 | logsh send -e build.done -d - --truncate
"""
