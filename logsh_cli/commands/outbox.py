"""``logsh outbox``: see what waits, send it, put it back, or remove it."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING, Annotated

from logsh_cli.app import AppContext
from logsh_cli.clock import option_seconds
from logsh_cli.config.resolve import Flags
from logsh_cli.delivery import end_of_the_road
from logsh_cli.delivery.drain import DEFAULT_JOBS, Drain
from logsh_cli.delivery.flush import Flush
from logsh_cli.delivery.road import FORGIVABLE
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import ConfigError, EventRefused, ExitCode, NotDelivered, NotKept, UsageError, interruption
from logsh_cli.outbox import Changed, Outbox
from logsh_cli.outbox.rows import HEADER, describe_row, row_cells, row_to_json
from logsh_cli.output import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import typer

    from logsh_cli import options
    from logsh_cli.config.resolve import Settings
    from logsh_cli.options import DELIVERY, argument, option
    from logsh_cli.outbox import Owner, Row


COMMANDS = {
    "list": (
        (
            "Show what is waiting and what was refused.\n\n"
            "In JSON a waiting event is `pending`, or `leased` while it is being sent, a "
            "refused one `rejected`, and one that can't be read any more `damaged`."
        ),
        "logsh outbox list",
        "logsh outbox list --json | jq .event",
    ),
    "show": ("Show one kept event, whole.", "logsh outbox show 12"),
    "flush": (
        "Try everything that is waiting, now; with -q, for a timer, what is due.",
        "logsh outbox flush",
        "logsh outbox flush -q --best-effort",
        "logsh outbox flush --adopt --profile work",
    ),
    "retry": ("Try refused events again, now.", "logsh outbox retry 12 13", "logsh outbox retry --all"),
    "drop": ("Remove kept events for good.", "logsh outbox drop 12", "logsh outbox drop --all --yes"),
    "recover": (
        "Read what can be read of a damaged outbox that was set aside.",
        "logsh outbox recover",
        "logsh outbox recover backup/outbox.db",
    ),
}
"""Of each command in the group: what it does, and command lines to start from."""


def list_(
    ctx: typer.Context,
    profile: options.Profile = None,
    json: options.JsonLines = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, verbose=verbose)
    store = app.existing_store()
    if json:
        for row in store.rows():
            app.printer.json_line(row_to_json(row))
    else:
        now = app.clock.time()
        current = current_owner(app, store, profile)
        seen: Counter[str] = Counter()
        app.printer.columns(HEADER, (row_cells(row, now, current) for row in counted(store.rows(), seen, current)))
        tell_what_moves(app, seen, dropped=store.counts().dropped)
    return tell_set_aside(app, store)


def current_owner(app: AppContext, store: Outbox, profile: str | None) -> Owner | None:
    """Return whose events a delivery would take now; ``None`` where there is no key to tell by."""
    try:
        return app.owner(store, app.settings(Flags(profile=profile)).destination())
    except ConfigError as error:
        app.printer.detail(f"events of other keys are not marked: {error.message}")
        return None


def counted(rows: Iterable[Row], seen: Counter[str], current: Owner | None) -> Iterator[Row]:
    """Pass rows on, and count them by what somebody can do about them."""
    for row in rows:
        if row.state not in ("pending", "leased"):
            seen[row.state] += 1
        elif current is None or row.owner == current:
            seen["waiting"] += 1
        else:
            seen["other key" if row.owner.profile == current.profile else "other profile"] += 1
        yield row


def tell_what_moves(app: AppContext, seen: Counter[str], *, dropped: int) -> None:
    """Say how many events there are of each kind, and what moves them."""
    for kind, what in (
        ("waiting", "waiting; they go out with the next event, or with `logsh outbox flush`"),
        ("other key", "accepted under another key; `logsh outbox flush --adopt` sends them with the present one"),
        ("other profile", "of another profile; `logsh outbox flush --profile NAME` sends them"),
        ("rejected", "refused by the service; `logsh outbox show ID` says why"),
        ("damaged", "damaged; `logsh outbox show ID` shows what is left, `logsh outbox drop ID` removes it"),
    ):
        if seen[kind]:
            app.printer.note(f"{seen[kind]} {what}")
    if dropped:
        app.printer.note(f"{dropped} refused ones were dropped so far: the newest 1,000 are kept")
    if not seen:
        app.printer.note("the outbox is empty: nothing is waiting, and nothing was refused")


def tell_set_aside(app: AppContext, store: Outbox) -> int:
    """Say which damaged files hold what was not read, and return the exit code that this makes."""
    files = store.set_aside()
    for file in files:
        way = "`logsh outbox recover` reads it" if file.read is None else "move it away when you no longer need it"
        app.printer.note(f"the damaged outbox {file.path} still holds events: {file.unread}; {way}")
    return int(ExitCode.KEPT if files else ExitCode.OK)


def recover(ctx: typer.Context, file: options.SetAsideFile = None, json: options.JsonLines = False) -> int:
    app: AppContext = ctx.obj.configured(json=json)
    printer = app.printer
    store = app.existing_store() if file is None else app.store()
    if store.unkept_because is not None:
        raise NotKept(store.unkept_because)
    paths = [found.path for found in store.set_aside()] if file is None else [file]
    complete = True
    for path in paths:
        try:
            found = store.recover(path)
        except OSError as error:
            raise UsageError(f"{path} can't be read: {error.strerror}") from error
        complete = complete and not found.unread
        printer.answer(
            {"file": str(path), "read": found.read, "unread": found.unread or None},
            f"{path}: {found.read} events read{f'; {found.unread}' if found.unread else ''}",
        )
    if not paths and not json:
        printer.note("there is no damaged outbox with events that were not read")
    return int(ExitCode.OK if complete else ExitCode.KEPT)


def show(
    ctx: typer.Context,
    event_id: Annotated[int, argument("ID", "The event's number, as `list` shows it.")],
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, verbose=verbose)
    row = app.existing_store().get(event_id)
    if row is None:
        raise UsageError(f"there is no event #{event_id} in the outbox", hint="`logsh outbox list` shows what there is")
    if json:
        app.printer.json_line(row_to_json(row))
    else:
        for line in describe_row(row, app.clock.time()):
            app.printer.line(line)
    return 0


def flush(
    ctx: typer.Context,
    adopt: Annotated[
        bool, option("--adopt", "Also take this profile's events that were accepted under another key.", DELIVERY)
    ] = False,
    jobs: options.Jobs = DEFAULT_JOBS,
    deadline: options.EventDeadline = None,
    best_effort: options.BestEffort = False,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    flags = Flags(profile, deadline=option_seconds("--deadline", deadline), best_effort=best_effort)
    return app.finish(flush_all(app, flags, adopt=adopt, jobs=jobs))


def flush_all(app: AppContext, flags: Flags, *, adopt: bool = False, jobs: int = DEFAULT_JOBS) -> Tally:
    """Deliver what is waiting for this profile and key, after whoever else is at it; a timer (-q) waits for nobody."""
    started = app.clock.monotonic()
    settings = app.settings(flags)
    store = app.existing_store()
    # Nothing waits for anybody: no key or client is needed to say so. Cron calls this every minute.
    tally = walk_outbox(app, settings, store, adopt=adopt, jobs=jobs) if store.counts().pending else Tally()
    if tell_set_aside(app, store) and tally.error is None:
        error = NotDelivered("a damaged outbox holds events that were not read", hint="see `logsh outbox list`")
        tally = tally._replace(exit_code=error.exit_code, error=error)
    elif tally.exit_code in FORGIVABLE and settings.best_effort.value:
        silent = tally.exit_code == ExitCode.KEPT and app.printer.quiet and not app.printer.json
        tally = tally._replace(exit_code=ExitCode.OK, error=None if silent else tally.error)
    return tally._replace(elapsed_ms=round((app.clock.monotonic() - started) * 1000))


def walk_outbox(app: AppContext, settings: Settings, store: Outbox, *, adopt: bool, jobs: int) -> Tally:
    """Deliver, and return what came of it."""
    gc.enable()  # many failed connections would leave as many cycles behind
    destination = settings.destination()
    owner = app.owner(store, destination)
    # The lock first: while we wait for it, Ctrl-C simply ends us.
    timer = app.printer.quiet
    with store.flush_lock(patience_s=0.0 if timer else settings.deadline.value) as held, StopRequest() as stop:
        if not held:
            error = NotDelivered("another flush is under way and has not ended", hint="what waits is kept")
            return Tally(queued=store.counts(owner).pending, exit_code=error.exit_code, error=error)
        road = app.road(destination, store=store, stopping=stop.event)
        drain = Drain(road, jobs=jobs, deadline_s=settings.deadline.value)
        job = Flush(drain, adopt=adopt, ignore_wait=not timer, patient=not timer)
        counts = drain.totals.counts
        with app.printer.progress("delivering", total=store.counts(None if adopt else owner).pending) as show:
            for _ in job.walk():
                show(sum(counts.values()), counts)
    end_of_the_road(app, settings, road, takes_along=False)
    waiting = store.counts(owner).pending - len(road.unacknowledged)
    others = store.counts().pending - waiting - len(road.unacknowledged)
    if others and not timer:
        app.printer.note(f"{others} more belong to another profile or key (--adopt takes those of this profile's keys)")
    _, worst = drain.totals.worst()
    if stop:
        worst = interruption(stop.error(), hint="the rest is kept")
    elif not waiting:
        worst = None
        if refused := drain.totals.errors.get(EventRefused.exit_code):
            app.printer.note(f"{counts['rejected']} refused, see `logsh outbox list`: {refused.message}")
    elif worst is None:
        why = job.blocked.message if job.blocked else "some wait for their next try, or another process delivers them"
        worst = NotDelivered(why, hint="what waits is kept")
    code = ExitCode.OK if worst is None else worst.exit_code
    return Tally(sum(counts.values()), counts["delivered"], waiting, counts["rejected"], exit_code=code, error=worst)


def retry(
    ctx: typer.Context,
    ids: options.Ids = None,
    everything: options.All = False,
    deadline: options.EventDeadline = None,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet)
    changed = app.existing_store().retry(chosen(ids, everything))
    code = report_change(app, "put back", changed)
    if not changed.done:
        return code
    try:
        tally = flush_all(app, Flags(profile=profile, deadline=option_seconds("--deadline", deadline)))
    except ConfigError as error:
        app.printer.note(f"not sent yet: {error.message}")
        return code
    if json:  # whose one line says what was put back
        return code or int(tally.exit_code)
    return code or app.finish(tally)


def drop(
    ctx: typer.Context,
    ids: options.Ids = None,
    everything: options.All = False,
    yes: options.Yes = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet)
    store: Outbox = app.existing_store()
    doomed = chosen(ids, everything)
    counts = store.counts()
    number = 0 if yes or doomed is not None else counts.pending + counts.rejected
    what = f"{number} events that were not delivered"
    sure = not number or app.streams.confirm(f"drop {what}, for good?")
    if sure is None:
        raise UsageError(f"--all drops {what}, and there is no terminal to ask at", hint="add --yes")
    if not sure:
        app.printer.note("nothing was dropped")
        return 0
    return report_change(app, "dropped", store.drop(doomed))


def chosen(ids: list[int] | None, everything: bool) -> list[int] | None:
    """The ids to act on; ``None`` for all. Raises ``UsageError`` when it is neither or both."""
    if bool(ids) == everything:
        raise UsageError("name the events by their ids, or say --all", hint="`logsh outbox list` shows the ids")
    return None if everything else ids


def report_change(app: AppContext, what: str, changed: Changed) -> int:
    """Say what was done and which ids were left alone; those make it a usage error."""
    app.printer.answer(changed._asdict(), f"{changed.done} {what}")
    for event_id in changed.leased:
        app.printer.note(f"#{event_id} is being delivered at this moment; left alone")
    for event_id in changed.missing:
        app.printer.note(f"#{event_id} is not there, or not in a state for this")
    return int(ExitCode.USAGE) if changed.missing or changed.leased else 0


HELP = """\
See and handle events that could not be delivered yet.

They are kept on this machine until the service has them, and go out by themselves with the next event that gets
through, or with `logsh outbox flush`.
"""
