"""What ``logsh doctor`` finds about the settings: every source is judged by itself, so that none hides another."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli.config import config_file, project_file
from logsh_cli.config.key import CREDENTIAL, Destination, check_key
from logsh_cli.config.paths import config_dir
from logsh_cli.config.resolve import (
    BUILT_IN,
    Flags,
    Setting,
    Settings,
    profile_values,
    selected_profile,
    settle,
)
from logsh_cli.config.urls import DEFAULT_API_URL, clean_api_url
from logsh_cli.doctor import Check, failed, passed, skipped, warned
from logsh_cli.errors import BadConfig, ConfigError, InvalidEvent, LogshError, MissingKey, UnknownProfile
from logsh_cli.event import FIELD_LABELS, Draft, build_event
from logsh_cli.output.text import excerpt, nearest, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KEY_VARIABLES = ("LOGSH_API_KEY", "LOGSH_API_KEY_FILE", "CREDENTIALS_DIRECTORY")
JUDGED_VARIABLES = {
    "notify": "LOGSH_NOTIFY",
    "deadline": "LOGSH_DEADLINE",
    "best_effort": "LOGSH_BEST_EFFORT",
    "on_missing_key": "LOGSH_ON_MISSING_KEY",
}
"""Settings whose variable is refused, with everything else, when its value is wrong."""

VARIABLES = (
    *("LOGSH_API_KEY", "LOGSH_API_KEY_FILE", "LOGSH_API_URL", "LOGSH_CA_FILE", "LOGSH_CONFIG_DIR", "LOGSH_STATE_DIR"),
    *("LOGSH_PROFILE", "LOGSH_WORKSPACE", "LOGSH_ICON", "LOGSH_DEBUG", *JUDGED_VARIABLES.values()),
)
"""Every variable of its own that logsh reads."""

_PREFIX = "LOGSH_"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Survey(NamedTuple):
    """The settings as far as they can be had, and what is wrong with the rest, by the name of its check."""

    settings: Settings
    problems: Mapping[str, LogshError]
    destination: Destination | None
    project_path: Path | None
    warnings: tuple[str, ...]
    project_warnings: tuple[str, ...]

    @property
    def profile_is_known(self) -> bool:
        """Whether the profile could be read; if not, what it would have set is not known."""
        return "config_file" not in self.problems and "profile" not in self.problems

    @property
    def api_url(self) -> str | None:
        """Where events would go; ``None`` when that is not known, or no URL that can be used."""
        url = self.settings.api_url
        unknown = not self.profile_is_known and url.source == BUILT_IN
        return None if unknown or "api_url" in self.problems else str(url.value)


def survey(flags: Flags, env: Mapping[str, str], cwd: Path) -> Survey:
    """Read and weigh everything, leaving out what is wrong. Raises ``UsageError`` for a flag's value only.

    A profile that can't be read counts as an empty one of its name, never as another: a key must not be tried where it
    does not belong.
    """
    problems: dict[str, LogshError] = {}
    path = config_dir(env) / config_file.FILE_NAME
    file = config_file.ConfigFile({config_file.DEFAULT_PROFILE: {}})
    try:
        file = config_file.read(path)
    except ConfigError as error:
        problems["config_file"] = error
    project = project_file.ProjectFile()
    found = project_file.find(cwd)
    try:
        project = project if found is None else project_file.read(found)
    except ConfigError as error:
        problems["project_file"] = error
    profile = selected_profile(flags.profile, env)
    own: dict[str, Any] = {}
    try:
        own = profile_values(profile, file, path)
    except UnknownProfile as error:
        if "config_file" not in problems:
            problems["profile"] = error

    def settle_with(values: Mapping[str, Any], variables: Mapping[str, str]) -> Settings:
        profiles = {config_file.DEFAULT_PROFILE: {}, profile.value: dict(values)}
        return settle(flags, variables, path, config_file.ConfigFile(profiles), project)

    own, usable_env = _without_what_fails(own, env, settle_with, problems)
    settings = settle_with(own, usable_env)
    if problem := _url_problem(settings, own, env):
        problems["api_url"] = problem
    result = Survey(settings, problems, None, found, file.warnings, project.warnings)
    try:
        return result._replace(destination=settings.destination())
    except ConfigError as error:
        if not _is_explained(error, result, env):
            problems["api_key"] = error
        return result


def settings_checks(
    found: Survey, shown: Mapping[str, Setting | None], spell: Callable[[Any], str], env: Mapping[str, str], cwd: Path
) -> Iterator[Check]:
    """The files, the environment, then each setting: ``shown`` as in ``config list``, ``spell`` their spelling."""
    yield _config_file_check(found)
    yield _project_file_check(found, cwd)
    yield _environment_check(env)
    for name, setting in shown.items():
        if name in found.problems:
            yield failed(name, found.problems[name])
        elif setting is None:
            yield from _missing(name, found)
        elif problem := _rule_problem(name, setting.value):
            yield failed(name, BadConfig(problem, hint=f"correct it: it comes from {setting.source}"))
        else:
            detail = f"{spell(setting.value)}, {_origin(setting, found)}"
            yield _key_check(detail, setting, env) if name == "api_key" else passed(name, detail)


def misspelt_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that nobody reads and that look like one of ours, with that one.

    ``LOGSH_API_KEY_STAGING`` is none: what adds a word to a known name is somebody's own.
    """
    known = {name.removeprefix(_PREFIX): name for name in VARIABLES}
    meant = {}
    for name in sorted(env):
        upper = name.upper()
        if name in VARIABLES or not upper.startswith("LOGSH") or upper.startswith(tuple(f"{v}_" for v in VARIABLES)):
            continue
        rest = upper.removeprefix("LOGSH").strip("_")
        if near := nearest(rest, known):
            meant[name] = known[near]
    return meant


def _without_what_fails(
    own: dict[str, Any],
    env: Mapping[str, str],
    settle_with: Callable[[Mapping[str, Any], Mapping[str, str]], Settings],
    problems: dict[str, LogshError],
) -> tuple[dict[str, Any], dict[str, str]]:
    """The profile's values and the environment that can be settled; the rest goes to ``problems``."""
    # The key is left out of the trials: the file it comes from may be a pipe, which can be read only once.
    others = {name: text for name, text in env.items() if name not in (*KEY_VARIABLES, *JUDGED_VARIABLES.values())}
    try:
        settle_with(own, others)
    except ConfigError as error:
        problems["deadline"] = error
        own = {name: value for name, value in own.items() if name != "deadline"}
    usable = dict(env)
    for setting, variable in JUDGED_VARIABLES.items():
        if variable in env:
            try:
                settle_with(own, {**others, variable: env[variable]})
            except ConfigError as error:
                problems[setting] = error
                del usable[variable]
    return own, usable


def _url_problem(settings: Settings, own: Mapping[str, Any], env: Mapping[str, str]) -> BadConfig | None:
    source = settings.api_url.source
    text = env[source].strip() if source == "LOGSH_API_URL" else own.get("api_url", DEFAULT_API_URL)
    try:
        clean_api_url(text)
    except ValueError as error:
        hint = f"it takes a base URL such as {DEFAULT_API_URL}"
        return BadConfig(f"{excerpt(without_userinfo(text))} from {source} {error}", hint=hint)
    return None


def _is_explained(error: ConfigError, found: Survey, env: Mapping[str, str]) -> bool:
    """Whether there being nowhere to send to is another check's fault, not the key's."""
    key = found.settings.api_key
    if key is not None:
        return "api_url" in found.problems and check_key(key.value) is None
    named = any(env.get(name, "").strip() for name in KEY_VARIABLES)
    return isinstance(error, MissingKey) and not found.profile_is_known and not named


def _config_file_check(found: Survey) -> Check:
    name, path = "config_file", found.settings.config_path
    if name in found.problems:
        return failed(name, found.problems[name], hint=f"correct {path}, or move it out of the way")
    if found.warnings:
        return warned(name, "; ".join(found.warnings))
    mode = _mode(path)
    if mode is None:
        return passed(name, f"none; it would be {path}")
    if mode & _OTHERS:
        return warned(name, f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
    return passed(name, f"{path}, mode {mode:04o}" if sys.platform != "win32" else str(path))


def _project_file_check(found: Survey, cwd: Path) -> Check:
    name = "project_file"
    if name in found.problems:
        return failed(name, found.problems[name], hint="correct the file by hand")
    if found.project_warnings:
        return warned(name, "; ".join(found.project_warnings))
    if found.project_path is not None:
        return passed(name, str(found.project_path))
    if (passed_over := _out_of_reach(cwd)) is not None:
        detail = f"{passed_over} is not used: it is neither in this directory nor in this repository"
        return warned(name, detail, "go there, or set the same in a profile")
    return passed(name, "none")


def _out_of_reach(cwd: Path) -> Path | None:
    """The nearest project file above, where none is in reach."""
    candidates = (directory / project_file.FILE_NAME for directory in cwd.parents)
    return next((path for path in candidates if os.path.lexists(path)), None)


def _environment_check(env: Mapping[str, str]) -> Check:
    if meant := misspelt_variables(env):
        sentences = [f"{name} is not read by logsh; did you mean {near}?" for name, near in meant.items()]
        return warned("environment", "; ".join(sentences), "rename it, or unset it")
    names = [name for name in VARIABLES if env.get(name, "").strip()]
    return passed("environment", f"{', '.join(names)} set" if names else "no LOGSH_ variables set")


def _missing(name: str, found: Survey) -> Iterator[Check]:
    """A setting without a value: most are optional, and then not worth a line."""
    unread = not found.profile_is_known
    if name == "api_key":
        yield skipped(name, "not known, since the profile can't be read")
    elif name == "workspace" and (unread or "project_file" in found.problems):
        yield skipped(name, "not known, since a file that may set it can't be read")
    elif name == "workspace":
        yield warned(name, "not set, so that every call has to say --workspace", "`logsh config set workspace NAME`")


def _rule_problem(name: str, value: Any) -> str | None:
    """Why the service would not take this default in an event."""
    if name not in ("workspace", "icon", "metadata"):
        return None
    try:
        build_event(Draft("any", "any", "any")._replace(**{name: value}), labels=FIELD_LABELS)
    except InvalidEvent as error:
        return error.message
    return None


def _key_check(detail: str, key: Setting, env: Mapping[str, str]) -> Check:
    path, shared = _key_file(key, env)
    mode = None if path is None else _mode(path)
    if mode is None or sys.platform == "win32":
        return passed("api_key", detail)
    if mode & _OTHERS and not shared:
        return warned("api_key", f"{detail}, which others can read (mode {mode:04o})", f"chmod 600 {path}")
    return passed("api_key", f"{detail}, mode {mode:04o}")


def _key_file(key: Setting, env: Mapping[str, str]) -> tuple[Path | None, bool]:
    """The key's own file, and whether its mode is somebody else's business."""
    if key.source.startswith("LOGSH_API_KEY_FILE"):
        return Path(os.path.expanduser(env["LOGSH_API_KEY_FILE"].strip())), False  # noqa: PTH111 - raises nothing
    if key.source.startswith("$CREDENTIALS_DIRECTORY"):
        return Path(env["CREDENTIALS_DIRECTORY"].strip()) / CREDENTIAL, True  # systemd's, which guards the directory
    return None, False


def _origin(setting: Setting, found: Survey) -> str:
    if setting.source == BUILT_IN:
        return BUILT_IN
    # The file has a check of its own, with its path.
    return f"from {setting.source.removesuffix(f' ({found.settings.config_path})')}"


def _mode(path: Path) -> int | None:
    """The permission bits of a regular file; ``None`` where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else None
