"""One profile of the configuration file, for the commands that look into it or change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logsh_cli.config import config_file
from logsh_cli.config.paths import config_dir
from logsh_cli.config.resolve import profile_values, selected_profile
from logsh_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from logsh_cli.config.toml_edit import Changes


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile's name and what the file has for it; ``explicit`` when ``--profile`` named it."""

    path: Path
    name: str
    explicit: bool
    values: Mapping[str, Any]

    def update(self, changes: Changes) -> None:
        """Write changes; raises ``BadConfig`` when that can't be done."""
        config_file.update(self.path, self.name, changes)


def config_path(env: Mapping[str, str]) -> Path:
    """Where the configuration file is, or would be."""
    return config_dir(env) / config_file.FILE_NAME


def open_profile(
    flag: str | None, env: Mapping[str, str], warn: Callable[[str], None], *, may_be_new: bool = False
) -> StoredProfile:
    """The profile that a command is about: ``--profile``'s, ``LOGSH_PROFILE``'s or the default one.

    Raises:
        UsageError: a name that can't be one.
        UnknownProfile: it isn't there, unless ``may_be_new``.
        BadConfig: the file is wrong.
    """
    chosen = selected_profile(flag, env)
    if problem := config_file.check_profile_name(chosen.value):
        raise UsageError(f"{chosen.source}: {problem}")
    path = config_path(env)
    file = config_file.read(path)
    for warning in file.warnings:
        warn(warning)
    if may_be_new and chosen.value not in file.profiles:
        return StoredProfile(path, chosen.value, chosen.source == "--profile", {})
    return StoredProfile(path, chosen.value, chosen.source == "--profile", profile_values(chosen, file, path))
