"""``logsh logout``: forget a profile's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.config.edit import open_profile
from logsh_cli.config.key import environment_key
from logsh_cli.errors import ConfigError

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
    app: AppContext = ctx.obj
    printer = app.configure_output(json=json, quiet=quiet, verbose=verbose)
    stored = open_profile(profile, app.env, printer.warn)
    removed = "api_key" in stored.values
    if removed:
        stored.update({"api_key": None})
    if json:
        printer.json_line(
            {"profile": stored.name, "removed": removed, "config": str(stored.path), "exit_code": 0, "error": None}
        )
    elif not quiet:
        printer.line(f"removed the key of profile {stored.name}" if removed else f"profile {stored.name} has no key")
    if still := remaining_key(app):
        printer.warn(f"{still} is still set, and is used")
    return 0


def remaining_key(app: AppContext) -> str | None:
    """The environment's key, which no file of ours can take back."""
    try:
        key = environment_key(app.env)
    except ConfigError:
        return None
    return None if key is None else key.source


HELP = """\
Remove the API key from a profile; its other settings stay.

\b
  logsh logout
  logsh logout --profile work
"""
