"""The project's ``.logsh.toml``: defaults that a repository brings along, and never where its events or keys go."""

from __future__ import annotations

import math
import os
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli.config import toml_file
from logsh_cli.config.config_file import unknown_key
from logsh_cli.errors import BadConfig
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = ".logsh.toml"
KEYS = ("workspace", "icon", "notify", "metadata")
_MAX_META_KEY = 100
_MAX_META_VALUE = 500


class ProjectFile(NamedTuple):
    """What a project file sets; ``None`` is not set. ``path`` is ``None`` where there is no usable file."""

    path: Path | None = None
    workspace: str | None = None
    icon: str | None = None
    notify: bool | None = None
    metadata: Mapping[str, str | int | float | bool] = MappingProxyType({})
    warnings: tuple[str, ...] = ()


def find(cwd: Path) -> Path | None:
    """The nearest ``.logsh.toml`` from ``cwd`` up to the repository's root; outside a repository only ``cwd``'s own."""
    try:
        start = os.path.abspath(cwd)  # noqa: PTH100 - raises where the directory is gone, as Path.absolute does later
    except OSError:
        return None
    nearest: Path | None = None
    here = cwd / FILE_NAME
    directory = type(cwd)(start)
    for place in (directory, *directory.parents):
        candidate = place / FILE_NAME
        # os.path.lexists is false, not an error, where we may not look; a broken link is there, and is reported.
        if nearest is None and os.path.lexists(candidate):
            nearest = candidate
        if os.path.lexists(place / ".git"):
            return nearest
    return here if os.path.lexists(here) else None


def read(path: Path) -> ProjectFile:
    """Read a project file; another user's is ignored, with a warning.

    Raises:
        BadConfig: unreadable, not TOML, a key that a project file must not have, or a value of the wrong type.
    """
    try:
        owners = {path.lstat().st_uid}
        content, status = toml_file.read_bytes(path)
    except OSError as error:
        raise toml_file.unreadable(path, error) from None
    # Both the link and what it points at: either could be another user's doing.
    owners.add(status.st_uid)
    if sys.platform != "win32" and not owners <= {0, os.geteuid()}:
        return ProjectFile(warnings=(f"{path} is ignored: it belongs to another user",))
    table = toml_file.parse(toml_file.decode(content, path), path)
    for key, value in table.items():
        _check(path, key, value)
    return ProjectFile(path, **table)


def _check(path: Path, key: str, value: Any) -> None:
    if key in ("api_key", "api_url", "ca_file"):
        raise BadConfig(
            f'{path}: "{key}" is not allowed in a project file',
            hint="a repository must not be able to redirect a key; use `logsh login` or the environment",
        )
    if key not in KEYS:
        raise unknown_key(path, key, KEYS)
    if key == "metadata":
        if not isinstance(value, dict):
            raise BadConfig(f'{path}: "metadata" must be a table: [metadata]')
        for name, entry in value.items():
            _check_metadata(path, name, entry)
    elif not isinstance(value, bool if key == "notify" else str):
        raise BadConfig(f'{path}: "{key}" must be {"true or false" if key == "notify" else "a string"}')


def _check_metadata(path: Path, name: str, value: Any) -> None:
    subject = f"{path}: metadata {excerpt(name)}"
    if not name.strip() or len(name) > _MAX_META_KEY:
        raise BadConfig(f"{subject}: a key must have 1 to {_MAX_META_KEY} characters")
    if not isinstance(value, (str, int, float, bool)) or (isinstance(value, float) and not math.isfinite(value)):
        raise BadConfig(f"{subject} must be a string, a number, true or false")
    if isinstance(value, str) and len(value) > _MAX_META_VALUE:
        raise BadConfig(f"{subject} must be at most {_MAX_META_VALUE} characters; it has {len(value)}")
