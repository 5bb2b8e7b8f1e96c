"""``logsh config``: see what is set and where it comes from, and change a profile."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

from logsh_cli.app import AppContext
from logsh_cli.config import config_dir
from logsh_cli.config.edit import (
    SET_ELSEWHERE,
    effective,
    open_profile,
    parse_value,
    plain,
    to_json,
    unknown_setting,
    update,
)
from logsh_cli.config.files import CONFIG_FILE, KEYS
from logsh_cli.config.resolve import BUILT_IN, NOT_SET, Flags, survey
from logsh_cli.errors import ConfigError
from logsh_cli.output import DONE
from logsh_cli.output.text import printable

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.options import argument, option


COMMANDS = {
    "list": (
        "Show every effective setting, and where it comes from.",
        "logsh config list",
        "logsh config list --json | jq -r .workspace.source",
    ),
    "get": (
        "Print one effective setting.",
        "logsh config get workspace",
        "logsh config get api_key --reveal --profile work",
    ),
    "set": (
        "Set a key of a profile in the configuration file.",
        "logsh config set workspace shop",
        "logsh config set notify true --profile work",
    ),
    "unset": ("Remove a key of a profile from the configuration file.", "logsh config unset icon"),
    "path": ("Print where the configuration file is, or would be.", '$EDITOR "$(logsh config path)"'),
}
"""Of each command in the group: what it does, and command lines to start from."""


def list_(
    ctx: typer.Context, profile: options.Profile = None, json: options.Json = False, verbose: options.Verbose = False
) -> int:
    app: AppContext = ctx.obj.configured(json=json, verbose=verbose)
    printer = app.printer
    settings = app.settings(Flags(profile=profile))
    shown = effective(settings)
    if json:
        printer.json_line({key: to_json(setting) for key, setting in shown.items()})
        return 0
    rows = (
        (key, plain(setting.value), setting.source)
        for key, setting in shown.items()
        # What no profile holds is worth a line only where something else sets it.
        if verbose or key == "profile" or key not in SET_ELSEWHERE or setting.source not in (BUILT_IN, NOT_SET.source)
    )
    printer.columns(("SETTING", "VALUE", "FROM"), rows)
    return 0


def get(
    ctx: typer.Context,
    key: options.Key,
    reveal: Annotated[bool, option("--reveal", "Print the API key itself.")] = False,
    profile: options.Profile = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, verbose=verbose)
    settings = app.settings(Flags(profile=profile))
    shown = effective(settings, reveal=reveal)
    if key not in shown:
        raise unknown_setting(key, shown)
    setting = shown[key]
    if setting.value is None:
        way = "`logsh login`" if key == "api_key" else f"`logsh config set {key} VALUE`"
        raise ConfigError(f"{key} is not set", hint=SET_ELSEWHERE.get(key, way))
    if key == "api_key":  # past the redactor, which is there to keep a key from being revealed by accident
        app.streams.out(json_text.dumps({key: to_json(setting)}) if json else printable(setting.value))
    else:
        app.printer.answer({key: to_json(setting)}, plain(setting.value))
    return 0


def set_(
    ctx: typer.Context,
    key: options.KeyToSet,
    value: Annotated[str, argument("VALUE", "The new value.")],
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    parsed = parse_value(key, value)
    stored = open_profile(profile, app.env, app.printer.warn, may_be_new=True)
    update(stored.path, stored.name, {key: parsed})
    report(app, profile, stored.name, key, parsed)
    return 0


def unset(
    ctx: typer.Context,
    key: options.Key,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    if key not in KEYS:
        raise unknown_setting(key, KEYS)
    stored = open_profile(profile, app.env, app.printer.warn)
    if key in stored.values:
        update(stored.path, stored.name, {key: None})
    report(app, profile, stored.name, key, None)
    return 0


def path(ctx: typer.Context, json: options.Json = False) -> int:
    app: AppContext = ctx.obj.configured(json=json)
    place = str(config_dir(app.env) / CONFIG_FILE)
    app.printer.answer({"path": place}, place)
    return 0


def report(app: AppContext, flag: str | None, profile: str, key: str, value: Any) -> None:
    """Say what the profile has now, and warn where something that goes before it sets the key as well."""
    words = f"{key} is not set" if value is None else f"{key} = {plain(value)}"
    app.printer.answer({"profile": profile, "key": key, "value": value, **DONE}, f"{words} (profile {profile})")
    setting = effective(survey(Flags(profile=flag), app.env, app.cwd()))[key]
    if setting.source not in (BUILT_IN, NOT_SET.source) and not setting.source.startswith(f"profile {profile} ("):
        app.printer.warn(f"{setting.source} sets {key} to {plain(setting.value)} here, and goes before the profile")


HELP = """\
See every setting and where it comes from, and change a profile in the configuration file.

\b
  logsh config list
  logsh config set workspace shop
  logsh config get api_key --reveal
"""
