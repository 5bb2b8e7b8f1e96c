"""``logsh doctor``: is everything that a delivery needs in order?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.clock import option_seconds
from logsh_cli.config.resolve import Flags, Settings, survey, value_of

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.doctor import Check, Section


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor", help=HELP, short_help="Check settings, service, key and outbox.")(doctor)


def doctor(
    ctx: typer.Context,
    deadline: options.Deadline = None,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj
    app.configure_output(json=json, quiet=quiet, verbose=verbose)
    from logsh_cli.doctor import exit_code_of  # noqa: PLC0415 - see examine

    return exit_code_of(
        show(app, examine(app, Flags(profile=profile, deadline=option_seconds("--deadline", deadline))))
    )


def examine(app: AppContext, flags: Flags) -> list[Section]:
    """Everything that can be looked at; each check is made when it is asked for."""
    # The HTTP client and the store: 80 ms, which `logsh --help` need not pay.
    from logsh_cli.doctor import Section, shielded  # noqa: PLC0415
    from logsh_cli.doctor.settings import settings_checks  # noqa: PLC0415
    from logsh_cli.doctor.versions import version_checks  # noqa: PLC0415

    found = survey(flags, app.env, app.cwd())
    if found.api_key is not None:
        app.redact.learn(found.api_key.value)
    settings = settings_checks(found, app.env, app.cwd())
    sections = [
        Section("Settings", shielded("settings", settings)),
        Section("Service", shielded("service", ask_service(app, found))),
        Section("Outbox", shielded("outbox", look_into_outbox(app, found))),
    ]
    return [*sections, Section("Versions", version_checks())] if app.printer.verbose else sections


def ask_service(app: AppContext, found: Settings) -> Iterator[Check]:
    """The way to the service, and whether it takes the key, within the deadline."""
    from logsh_cli.clock import Budget  # noqa: PLC0415 - see examine
    from logsh_cli.doctor.service import Target, service_checks  # noqa: PLC0415
    from logsh_cli.doctor.settings import url_to_ask  # noqa: PLC0415

    api_url, target = url_to_ask(found), None
    if api_url is not None:
        key = None if found.place is None else found.place.key
        source = None if found.api_key is None else found.api_key.source
        target = Target(api_url, key, source, value_of(found.ca_file))
    budget = Budget(found.deadline.value, app.clock.monotonic)
    yield from service_checks(target, app.env, budget, app.clock.time())


def look_into_outbox(app: AppContext, found: Settings) -> Iterator[Check]:
    """Whether events can be kept, and what is kept already."""
    from functools import partial  # noqa: PLC0415 - see examine

    from logsh_cli.config.paths import state_dir  # noqa: PLC0415
    from logsh_cli.doctor.outbox import outbox_checks  # noqa: PLC0415

    destination = found.place
    owner = None if destination is None else partial(app.owner, destination=destination)
    yield from outbox_checks(state_dir(app.env), owner, app.clock.time)


def show(app: AppContext, sections: list[Section]) -> list[Check]:
    """Print the checks as they are made, or all as one JSON line, and return them."""
    from logsh_cli.doctor import plain as plain_line  # noqa: PLC0415 - see examine
    from logsh_cli.doctor import summary, to_json  # noqa: PLC0415

    printer = app.printer
    if printer.json:
        checks = [check for section in sections for check in section.checks]
        printer.json_line(to_json(checks))
        return checks
    if rich := printer.rich(app.streams.stdout):
        return rich.checks(sections, summary, quiet=printer.quiet)
    checks = []
    for section in sections:
        for check in section.checks:
            checks.append(check)
            if check.is_problem or not printer.quiet:
                printer.line(plain_line(check))
    return checks


HELP = """\
Check everything that a delivery needs: settings, the way to the service, the key, the outbox.

The key is tried with an empty event, which the service refuses: nothing is created. Each line says ok, warn (it works,
but look at it), FAIL (it does not, and what to do) or skip (not known, because of another failure). With --json:
{"ok", "checks": [{"name", "ok", "detail"}]}. With -q only problems are shown, with -v versions as well.

\b
Exit code, the first of these that applies:
  0   all is well, or there are warnings only
  78  a setting is missing or wrong, or what answers is no Logsh
  77  the service refuses the key
  69  events can't be kept in the outbox
  75  the service can't be reached, or is not available now

\b
  logsh doctor
  logsh doctor --profile work
  logsh doctor -q || echo "logsh needs attention"
"""
