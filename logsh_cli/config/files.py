"""The files that settings come from, as values of checked types: the user's ``config.toml``, a project's own.

A profile inherits nothing from another: a key must never end up at another profile's URL. A repository brings defaults
along, and never says where its events or keys go.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any

from logsh_cli.errors import BadConfig
from logsh_cli.files import PRIVATE_FILE, NotOurs, check_owner, tighten
from logsh_cli.output.text import KEY_SHAPE, excerpt, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG_FILE = "config.toml"
PROJECT_FILE = ".logsh.toml"
DEFAULT_PROFILE = "default"
KEYS = dict.fromkeys(("api_key", "workspace", "api_url", "ca_file", "icon"), "a string") | {
    "notify": "true or false",
    "deadline": "a duration",
}
"""The keys of a profile, and the type of each as messages say it."""

_PROJECT_KEYS = {name: KEYS[name] for name in ("workspace", "icon", "notify")} | {"metadata": "a table: [metadata]"}

_TYPES: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "true or false": (bool,),
    "a duration": (int, float, str),
    "a table: [metadata]": (dict,),
}
_KEEPS_KEYS_SAFE = ("api_key", "api_url", "ca_file")
_LARGEST_CONFIG = 64 * 1024
_LARGEST_PROJECT = 4 * 1024
_MOST_DOTS = 64
"""In one line. The parser takes quadratic time and memory for a dotted key, and a key never spans lines."""


def read_config(path: Path) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Return the profiles of the user's file, ``default`` always among them, and a warning, if there is one.

    Raises ``BadConfig`` for another user's and for anything else than the documented keys with values of their types.
    """
    try:
        content, status = _read(path, _LARGEST_CONFIG)
        check_config_owner(path)
    except (FileNotFoundError, NotADirectoryError):
        return {DEFAULT_PROFILE: {}}, None
    except OSError as error:
        if isinstance(error, PermissionError) and not os.path.lexists(path):
            # A service that runs under another user's HOME: it can't have put its configuration there.
            return {DEFAULT_PROFILE: {}}, f"can't look into {path.parent}: going on without a configuration file"
        hint = "LOGSH_CONFIG_DIR names another directory to look in"
        raise BadConfig(f"can't read {path}: {error.strerror}", hint=hint) from None
    shared = stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    tightened = tighten(path.resolve(), PRIVATE_FILE) if shared else None
    return profiles_of(parse(content, path), path), tightened


def check_config_owner(path: Path) -> None:
    """Raise ``BadConfig`` for a file that others could have written: its ``api_url`` decides where a key goes."""
    try:
        check_owner(path.parent)
        check_owner(path)
    except NotOurs as error:
        hint = "remove it or chown it, or set LOGSH_CONFIG_DIR to a directory of your own"
        raise BadConfig(f"{error.filename} is not used: {error.strerror}", hint=hint) from None


def find_project_file(cwd: Path) -> Path | None:
    """Return the nearest ``.logsh.toml`` up to the repository's root; outside a repository only ``cwd``'s own."""
    above = (cwd, *cwd.parents)
    # os.path.lexists is false, not an error, where we may not look; a broken link is there, and is reported.
    depth = next((depth for depth, place in enumerate(above) if os.path.lexists(place / ".git")), 0)
    files = (place / PROJECT_FILE for place in above[: depth + 1])
    return next((file for file in files if os.path.lexists(file)), None)


def read_project_file(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return what a project file sets, and a warning about another user's, which sets nothing; raises ``BadConfig``."""
    try:
        content, status = _read(path, _LARGEST_PROJECT)
        # Both the link and the file that it points at: either could be another user's doing.
        owners = {status.st_uid, path.lstat().st_uid}
    except OSError as error:
        raise BadConfig(f"can't read {path}: {error.strerror}") from None
    if sys.platform != "win32" and not owners <= {0, os.geteuid()}:
        return {}, f"{path} is ignored: it belongs to another user"
    values = parse(content, path, _LARGEST_PROJECT)
    if redirecting := [key for key in values if key in _KEEPS_KEYS_SAFE]:
        hint = "a repository must not be able to redirect a key; use `logsh login` or the environment"
        raise BadConfig(f'{path}: "{redirecting[0]}" is not allowed in a project file', hint=hint)
    _check(values, _PROJECT_KEYS, path)
    if metadata := values.get("metadata"):
        from logsh_cli.event import problems_of  # noqa: PLC0415 - the rules are not needed to flush an outbox

        if problems := problems_of("metadata", metadata):
            raise BadConfig(f"{path}: {'; '.join(problems)}")
    return values, None


def check_profile_name(name: str) -> str | None:
    """Return what is wrong with a profile's name, or ``None``."""
    if not name.strip():
        return "a profile's name must not be empty"
    if name != name.strip() or not name.isprintable():
        return "a profile's name must be printable, without white space around it"
    if re.fullmatch(KEY_SHAPE, name):
        return "a profile's name must not look like an API key"
    return None


def profiles_of(document: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Return the profiles of a parsed configuration file, which must hold nothing else; raises ``BadConfig``."""
    tables = document.pop("profiles", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise BadConfig(f'{path}: "profiles" must be tables such as [profiles.work]')
    _check(document, KEYS, path)
    for name, table in tables.items():
        problem = check_profile_name(name)
        if name == DEFAULT_PROFILE:
            problem = "the default profile is the keys at the top of the file"
        if problem:
            raise BadConfig(f"{path}: {problem}; got {excerpt(name)}")
        _check(table, KEYS, path, f"profiles.{name}.")
    return {DEFAULT_PROFILE: document, **tables}


def parse(content: bytes, path: Path, limit: int = _LARGEST_CONFIG) -> dict[str, Any]:
    """Return a TOML file's content, with or without a byte order mark, as plain values; raises ``BadConfig``."""
    import tomllib  # noqa: PLC0415 - 3 ms, which a user without a file does not pay

    if len(content) > limit:
        raise BadConfig(f"{path} is too large: at most {limit // 1024} KiB")
    if any(line.count(b".") > _MOST_DOTS for line in content.split(b"\n")):
        raise BadConfig(f"{path} has more than {_MOST_DOTS} dots in a line")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{path} is not valid TOML: {error}", hint="correct the file by hand") from None


def _read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    # A pipe without a writer must not hang the program; reading a regular file is not changed by O_NONBLOCK.
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(fd, "rb") as file:
        return file.read(limit + 1), os.fstat(fd)


def _check(table: dict[str, Any], kinds: Mapping[str, str], path: Path, prefix: str = "") -> None:
    for key, value in table.items():
        if (kind := kinds.get(key)) is None:
            raise BadConfig(f"{path}: unknown key {excerpt(prefix + key)}", hint=suggestion(key, kinds))
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "true or false"):
            raise BadConfig(f'{path}: "{prefix}{key}" must be {kind}')
