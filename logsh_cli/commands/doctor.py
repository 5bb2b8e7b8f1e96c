"""``logsh doctor``: is everything that a delivery needs in order?"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.clock import option_seconds
from logsh_cli.config.resolve import Flags, survey
from logsh_cli.doctor import Check, exit_code_of, plain, shielded, to_json, version_checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import typer

    from logsh_cli import options


def doctor(
    ctx: typer.Context,
    deadline: options.Deadline = None,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    flags = Flags(profile=profile, deadline=option_seconds("--deadline", deadline))
    return exit_code_of(show(app, examine(app, flags)))


def examine(app: AppContext, flags: Flags) -> dict[str, Iterator[Check]]:
    """Look at everything; each check is made when it is asked for. What is minor is left out without ``-v``."""
    # The HTTP client and the store: 80 ms, which `logsh --help` need not pay.
    from logsh_cli.config import state_dir  # noqa: PLC0415
    from logsh_cli.doctor.local import outbox_checks, settings_checks  # noqa: PLC0415
    from logsh_cli.doctor.service import service_checks  # noqa: PLC0415

    found = survey(flags, app.env, app.cwd())
    if found.api_key.value is not None:
        app.redact.learn(found.api_key.value)

    sections = {
        "Settings": settings_checks(found, app.env),
        "Service": service_checks(found, app.env, app.clock),
        "Outbox": outbox_checks(state_dir(app.env), found.place, app.clock.time),
    }
    if app.printer.verbose:
        sections["Versions"] = version_checks()
    everything = app.printer.verbose or app.printer.json
    return {
        title: (check for check in shielded(title.lower(), checks) if everything or not check.minor)
        for title, checks in sections.items()
    }


def show(app: AppContext, sections: Mapping[str, Iterable[Check]]) -> list[Check]:
    """Print the checks as they are made, or all as one JSON line, and return them."""
    printer = app.printer
    if printer.json:
        checks = [*itertools.chain.from_iterable(sections.values())]
        printer.json_line(to_json(checks))
        return checks
    if rich := printer.rich(app.streams.stdout):
        return rich.checks(sections, quiet=printer.quiet)
    checks = []
    for check in itertools.chain.from_iterable(sections.values()):
        checks.append(check)
        if check.is_problem or not printer.quiet:
            printer.line(plain(check))
    return checks


HELP = """\
Check everything that a delivery needs: settings, the way to the service, the key, the outbox.

The key is tried with an empty event, which the service refuses: nothing is created. Each line says ok, warn (it works,
but look at it), FAIL (it does not, and what to do) or skip (not known, because of another failure). With --json:
{"ok", "checks": [{"name", "ok", "detail"}]}. With -q only problems are shown; with -v also versions, defaults, and
what is not needed.

\b
Exit code, the first of these that applies:
  0   all is well, or there are warnings only
  78  a setting is missing or wrong, or what answers is not Logsh
  77  the service refuses the key
  69  events can't be kept in the outbox
  75  the service can't be reached, or is not available now

\b
  logsh doctor
  logsh doctor --profile work
  logsh doctor -q || echo "logsh needs attention"
"""
