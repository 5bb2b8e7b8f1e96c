"""``logsh logout``: forget a profile's key."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.config.edit import open_profile, update
from logsh_cli.config.resolve import environment_key
from logsh_cli.errors import ConfigError
from logsh_cli.output import DONE

if TYPE_CHECKING:
    import typer

    from logsh_cli import options


def logout(
    ctx: typer.Context,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    printer = app.printer
    stored = open_profile(profile, app.env, printer.warn)
    removed = "api_key" in stored.values
    if removed:
        update(stored.path, stored.name, {"api_key": None})
    printer.answer(
        {"profile": stored.name, "removed": removed, "config": str(stored.path), **DONE},
        f"removed the key of profile {stored.name}" if removed else f"profile {stored.name} has no key",
    )
    with suppress(ConfigError):
        if still := environment_key(app.env):  # which no file of ours can take back
            printer.warn(f"{still.source} is still set, and is used")
    return 0


HELP = """\
Remove the API key from a profile; its other settings stay.

\b
  logsh logout
  logsh logout --profile work
"""
