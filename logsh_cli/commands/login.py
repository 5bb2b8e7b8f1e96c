"""``logsh login``: take a key, make sure that the service does too, keep it in a profile."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from logsh_cli.app import AppContext
from logsh_cli.clock import Budget
from logsh_cli.config import DEFAULT_API_URL
from logsh_cli.config.edit import StoredProfile, open_profile, parse_value, update
from logsh_cli.config.files import DEFAULT_PROFILE
from logsh_cli.config.resolve import (
    COPY_AGAIN,
    Destination,
    check_key,
    environment_key,
    in_config_dir,
    mask_key,
    same_url,
)
from logsh_cli.delivery import start_courier
from logsh_cli.delivery.flush import adopt, under_other_keys
from logsh_cli.delivery.retry import check_key_taken
from logsh_cli.errors import BadConfig, ConfigError, NotDelivered, NotKept, UsageError
from logsh_cli.output import DONE

if TYPE_CHECKING:
    import typer

    from logsh_cli import options
    from logsh_cli.options import option

VERIFY_WITHIN_S = 10.0
LONGEST_LINE = 64 * 1024
WHERE_KEYS_ARE_MADE = "/dashboard"
"""The page of the service, below its URL."""


def login(
    ctx: typer.Context,
    key_stdin: Annotated[bool, option("--key-stdin", "Read the key from the first line of standard input.")] = False,
    workspace: Annotated[str | None, option("--workspace -w NAME", "Also set the profile's workspace.")] = None,
    api_url: Annotated[str | None, option("--api-url URL", "The URL that the key is for, if self-hosted.")] = None,
    no_verify: Annotated[bool, option("--no-verify", "Keep the key without asking the service about it.")] = False,
    adopt_waiting: Annotated[
        bool, option("--adopt", "Send what waits under the profile's former key with this one.")
    ] = False,
    profile: options.Profile = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    app: AppContext = ctx.obj.configured(json=json, quiet=quiet, verbose=verbose)
    # Whatever else can be wrong is found before the key is asked for.
    stored = open_profile(profile, app.env, app.printer.warn, may_be_new=True)
    changes: dict[str, Any] = {}
    if workspace is not None:
        changes["workspace"] = parse_value("workspace", workspace, "--workspace")
    url = find_url(app, api_url, stored)
    if not same_url(url, stored.values.get("api_url", DEFAULT_API_URL)):
        changes["api_url"] = url
    if not quiet:
        made = f"{url}{WHERE_KEYS_ARE_MADE}"
        app.printer.note(f"the key is for {url} (profile {stored.name}); keys are made at {made}")
    key = read_key(app, from_stdin=key_stdin)
    destination = Destination(stored.name, url, key, find_ca_file(app, stored))
    if not no_verify:
        verify(app, destination)
    if at_terminal(app) and "workspace" not in {**stored.values, **changes}:
        changes.update(ask_workspace(app))
    update(stored.path, stored.name, {"api_key": key, **changes})
    shown = {"profile": stored.name, "api_url": url, "api_key": mask_key(key), "verified": not no_verify}
    checked = "not verified" if no_verify else "verified"
    app.printer.answer(
        {**shown, "config": str(stored.path), **DONE},
        f"saved {mask_key(key)} for {url} in {stored.path} (profile {stored.name}, {checked})",
    )
    if not json and not quiet:
        to_workspace = "" if "workspace" in {**stored.values, **changes} else " -w NAME"
        with_profile = "" if stored.name == DEFAULT_PROFILE else f" -p {shlex.quote(stored.name)}"
        app.printer.line(f'try it: logsh send{with_profile}{to_workspace} -e hello -d "it works"')
    with suppress(ConfigError):
        if other := environment_key(app.env):
            app.printer.warn(f"{other.source} is set and comes before this key; --profile {stored.name} uses this one")
    move_what_waits(app, destination, adopting=adopt_waiting)
    return 0


def find_url(app: AppContext, given: str | None, stored: StoredProfile) -> str:
    """Return the URL that the key is for: the flag's, else the profile's or the environment's, else Logsh itself.

    A profile's key goes to the profile's URL, so where the environment names another one there is no right answer.
    """
    if given is not None:
        return str(parse_value("api_url", given, "--api-url"))
    own = stored.values.get("api_url")
    variable = None if stored.explicit else app.env.get("LOGSH_API_URL", "").strip()
    if own and variable and not same_url(own, variable):
        raise BadConfig(
            f"LOGSH_API_URL and profile {stored.name} name different URLs",
            hint="say which one the key is for, with --api-url",
        )
    source = f"api_url of profile {stored.name}" if own else "LOGSH_API_URL"
    try:
        return str(parse_value("api_url", own or variable or DEFAULT_API_URL, source))
    except UsageError as error:
        raise BadConfig(error.message, hint=error.hint) from None


def find_ca_file(app: AppContext, stored: StoredProfile) -> str | None:
    """Return the certificates to trust while verifying: those that will be trusted when the key is used."""
    named = None if stored.explicit else app.env.get("LOGSH_CA_FILE", "").strip()
    own = stored.values.get("ca_file")
    return named or (None if own is None else in_config_dir(stored.path, own))


def at_terminal(app: AppContext) -> bool:
    """Return whether there is somebody to ask."""
    return app.streams.stdin is not None and app.streams.stdin.isatty()


def read_key(app: AppContext, *, from_stdin: bool) -> str:
    """Return the key, from a prompt without echo or from standard input; never from the arguments."""
    stdin = app.streams.stdin
    if at_terminal(app):
        key = app.streams.ask("API key", hidden=True)
    elif not from_stdin or stdin is None:
        raise UsageError(
            "login asks for the key at a terminal, and standard input is none",
            hint="pipe the key in: logsh login --key-stdin < key-file",
        )
    else:
        try:
            key = stdin.buffer.readline(LONGEST_LINE).decode("utf-8-sig", "replace").strip()
        except OSError as error:
            raise UsageError(f"--key-stdin: standard input can't be read: {error.strerror}") from None
    if not key:
        raise UsageError("the first line of standard input is empty", hint="it must be the API key")
    app.redact.learn(key)
    if problem := check_key(key):
        raise UsageError(f"the API key {problem}", hint=COPY_AGAIN)
    return key


def ask_workspace(app: AppContext) -> dict[str, Any]:
    """Ask for the default workspace until the answer is one, or empty: then none is set."""
    while answer := app.streams.ask("Default workspace (empty for none)"):
        try:
            return {"workspace": parse_value("workspace", answer)}
        except UsageError as error:
            app.printer.note(error.message)
    return {}


def verify(app: AppContext, destination: Destination) -> None:
    """Ask the service about the key. Raises what it says, or ``NotKept`` when nobody says anything."""
    client = app.client(destination)
    try:
        answer = client.post(b"{}", Budget(VERIFY_WITHIN_S, app.clock.monotonic))
        check_key_taken(answer, app.clock.time())
    except NotDelivered as error:
        hint = "; ".join(filter(None, (error.hint, "--no-verify saves it without asking")))
        raise NotKept(f"the key could not be verified, so it was not saved: {error.message}", hint=hint) from None
    finally:
        client.close()


def move_what_waits(app: AppContext, destination: Destination, *, adopting: bool) -> None:
    """Have what waits under the profile's former key delivered with this one, if that is wanted."""
    try:
        store = app.existing_store()
        owner = app.owner(store, destination)
        if not (count := under_other_keys(store, owner)):
            return
        events = f"{count} event{'s' if count > 1 else ''} of profile {owner.profile}"
        if adopting or app.streams.confirm(f"{events} wait under another key. Send them with this one?"):
            adopt(store, owner)
            start_courier(app.env, owner.profile)
            if not app.printer.quiet:
                app.printer.note(f"{events} waited under another key, and go out with this one now")
        else:
            app.printer.warn(f"{events} wait under another key; `logsh outbox flush --adopt` sends them with this one")
    except (NotKept, OSError) as error:
        app.printer.warn(f"what waits in the outbox was left as it is: {error}")


HELP = """\
Keep an API key in the configuration file, after asking the service whether it is good.

\b
  logsh login -w shop
  logsh login --key-stdin < key-file
  logsh login --profile work --api-url https://logsh.example.com
"""
