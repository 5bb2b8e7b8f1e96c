"""The effective settings: each value by the documented precedence, together with where it came from.

flag > explicit --profile > environment > project file > default profile (or LOGSH_PROFILE's) > built-in
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from logsh_cli.clock import parse_duration
from logsh_cli.config import config_file, project_file
from logsh_cli.config.key import Destination, Sourced, environment_key, place, same_url
from logsh_cli.config.paths import config_dir
from logsh_cli.config.urls import DEFAULT_API_URL, clean_api_url
from logsh_cli.errors import BadConfig, ConfigError, MissingKey, UnknownProfile, UsageError
from logsh_cli.output.text import excerpt, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_DEADLINE_S = 10.0
LONGEST_DEADLINE_S = 86400.0
BUILT_IN = "built-in"

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class Setting(NamedTuple):
    """A value and its source: ``--workspace``, ``LOGSH_WORKSPACE``, a file, a profile, or ``built-in``."""

    value: Any
    source: str


def value_of(setting: Setting | None) -> Any:
    """The value, or ``None`` where nothing sets it."""
    return None if setting is None else setting.value


class Flags(NamedTuple):
    """What the command line said; ``None`` is not given. ``deadline`` is in seconds."""

    profile: str | None = None
    workspace: str | None = None
    icon: str | None = None
    notify: bool | None = None
    deadline: float | None = None


class Settings(NamedTuple):
    """Everything that is set. Optional ones are ``None`` where no source sets them.

    ``workspace``, ``icon`` and ``metadata`` are as they were given: the event's rules judge them with the rest.
    ``warnings`` are sentences for the user about the files that were read; ``target`` is what ``destination`` gives.
    """

    profile: Setting
    api_url: Setting
    api_key: Setting | None
    workspace: Setting | None
    icon: Setting | None
    notify: Setting | None
    deadline: Setting
    ca_file: Setting | None
    metadata: Mapping[str, str | int | float | bool]
    metadata_source: str | None
    best_effort: bool
    on_missing_key: str | None
    config_path: Path
    warnings: tuple[str, ...]
    target: Destination | ConfigError

    def __repr__(self) -> str:
        return f"Settings(profile {self.profile.value}, {self.api_url.value})"  # never the key

    def destination(self) -> Destination:
        """The key and the URL it belongs to.

        Raises:
            MissingKey, MisplacedKey, BadConfig: there is no key, it belongs elsewhere, or one of both is unusable.
        """
        if isinstance(self.target, ConfigError):
            raise self.target
        return self.target


def load_settings(flags: Flags, env: Mapping[str, str], cwd: Path) -> Settings:
    """Read the files and weigh every source.

    Raises:
        BadConfig: a file or a variable is wrong. What is wrong with the key or the URL is ``destination``'s to raise.
        UnknownProfile: a profile was named that the configuration file doesn't have.
        UsageError: a flag's value is impossible.
    """
    path = config_dir(env) / config_file.FILE_NAME
    file = config_file.read(path)
    found = project_file.find(cwd)
    project = project_file.ProjectFile() if found is None else project_file.read(found)
    return settle(flags, env, path, file, project)


def settle(
    flags: Flags,
    env: Mapping[str, str],
    path: Path,
    file: config_file.ConfigFile,
    project: project_file.ProjectFile,
) -> Settings:
    """Weigh every source, the files (the user's at ``path``) having been read; raises as ``load_settings`` does."""
    return _Sources(flags, env, path, file, project).settle()


def selected_profile(flag: str | None, env: Mapping[str, str]) -> Setting:
    """The profile's name and who chose it; whether it exists is another question.

    Raises:
        UsageError: ``--profile ""``, most likely an empty shell variable: no reason to fall back to another key.
    """
    if flag is not None:
        if problem := config_file.check_profile_name(flag):
            raise UsageError(f"--profile: {problem}")
        return Setting(flag, "--profile")
    if name := env.get("LOGSH_PROFILE", "").strip():
        return Setting(name, "LOGSH_PROFILE")
    return Setting(config_file.DEFAULT_PROFILE, BUILT_IN)


def check_deadline(seconds: float) -> str | None:
    """Why this can't be a deadline, or ``None``; the sentence lacks its subject."""
    if not 0 < seconds <= LONGEST_DEADLINE_S:
        return f"must be above 0 and at most {LONGEST_DEADLINE_S:.0f} seconds; got {seconds:g}"
    return None


class _Sources:
    """All sources side by side; each method settles one question."""

    def __init__(
        self,
        flags: Flags,
        env: Mapping[str, str],
        path: Path,
        file: config_file.ConfigFile,
        project: project_file.ProjectFile,
    ) -> None:
        self.flags = flags
        self.env = env
        self.path = path
        self.project = project
        self.profile = selected_profile(flags.profile, env)
        self.explicit = self.profile.source == "--profile"
        self.values = profile_values(self.profile, file, path)
        self.profile_source = f"profile {self.profile.value} ({path})"
        self.warnings = file.warnings + project.warnings

    def settle(self) -> Settings:
        key, target = self.key_and_target()
        return Settings(
            profile=self.profile,
            api_url=self.shown_url(),
            api_key=None if key is None else Setting(key.text, key.source),
            workspace=self.pick("workspace", self.flags.workspace, self.project.workspace),
            icon=self.pick("icon", self.flags.icon, self.project.icon),
            notify=self.pick("notify", self.flags.notify, self.project.notify, parse_boolean),
            deadline=self.deadline(),
            ca_file=self.ca_file(),
            metadata=self.project.metadata,
            metadata_source=str(self.project.path) if self.project.metadata else None,
            best_effort=bool(self.variable("LOGSH_BEST_EFFORT", parse_boolean)),
            on_missing_key=self.variable("LOGSH_ON_MISSING_KEY", _fail_or_skip),
            config_path=self.path,
            warnings=self.warnings,
            target=target,
        )

    def pick(self, name: str, flag: Any, project: Any, parse: Any = None) -> Setting | None:
        """One setting by the precedence, or ``None`` where no source has it."""
        if flag is not None:
            return Setting(flag, f"--{name}")
        own = None if (value := self.values.get(name)) is None else Setting(value, self.profile_source)
        if self.explicit and own is not None:
            return own
        variable = f"LOGSH_{name.upper()}"
        if (given := self.variable(variable, parse)) is not None:
            return Setting(given, variable)
        if project is not None and not _blank(project):
            return Setting(project, str(self.project.path))
        return own

    def variable(self, name: str, parse: Any = None) -> Any:
        """An environment variable's value, or ``None``: CI sets variables without a value to the empty string."""
        text = self.env.get(name, "").strip()
        if not text:
            return None
        try:
            return parse(text) if parse is not None else text
        except ValueError as error:
            raise BadConfig(f"{name} {error}; got {excerpt(text)}") from None

    def deadline(self) -> Setting:
        setting = self.pick("deadline", self.flags.deadline, None, parse_duration)
        if setting is None:
            return Setting(DEFAULT_DEADLINE_S, BUILT_IN)
        if isinstance(setting.value, str):
            try:
                setting = setting._replace(value=parse_duration(setting.value))
            except ValueError as error:
                raise BadConfig(f"the deadline from {setting.source} {error}; got {excerpt(setting.value)}") from None
        if problem := check_deadline(setting.value):
            if setting.source == "--deadline":
                raise UsageError(f"--deadline {problem}")
            raise BadConfig(f"the deadline from {setting.source} {problem}")
        return Setting(float(setting.value), setting.source)

    def url(self) -> Sourced:
        if not self.explicit and (given := self.variable("LOGSH_API_URL")):
            return Sourced(given, "LOGSH_API_URL", from_environment=True)
        if given := self.values.get("api_url"):
            return Sourced(given, self.profile_source)
        return Sourced(DEFAULT_API_URL, BUILT_IN)

    def shown_url(self) -> Setting:
        url = self.url()
        try:
            return Setting(clean_api_url(url.text), url.source)
        except ValueError:
            return Setting(without_userinfo(url.text), url.source)

    def ca_file(self) -> Setting | None:
        if not self.explicit and (given := self.variable("LOGSH_CA_FILE")):
            return Setting(os.path.expanduser(given), "LOGSH_CA_FILE")  # noqa: PTH111 - raises nothing
        # A profile says whom to trust at its own URL only.
        own = self.values.get("ca_file")
        if own is None or not same_url(self.url().text, self.values.get("api_url") or DEFAULT_API_URL):
            return None
        return Setting(in_config_dir(self.path, own), self.profile_source)

    def key_and_target(self) -> tuple[Sourced | None, Destination | ConfigError]:
        try:
            environments = None if self.explicit else environment_key(self.env)
        except ConfigError as error:
            return None, error
        own = self.values.get("api_key")
        key = environments or (Sourced(own, self.profile_source) if own is not None else None)
        if key is None:
            return None, self.missing_key()
        ca_file = self.ca_file()
        trusted = None if ca_file is None else ca_file.value
        return key, place(self.profile.value, key, self.url(), self.values.get("api_url"), trusted)

    def missing_key(self) -> MissingKey:
        name = self.profile.value
        if self.explicit:
            return MissingKey(
                f"profile {name} has no API key, and --profile takes the key from the profile alone",
                hint=f"run `logsh login --profile {name}`",
            )
        return MissingKey("there is no API key", hint="run `logsh login`, or set LOGSH_API_KEY")


def profile_values(profile: Setting, file: config_file.ConfigFile, path: Path) -> dict[str, Any]:
    """What the profile sets, blank values left out; raises ``UnknownProfile``."""
    if profile.value not in file.profiles:
        known = ", ".join(sorted(file.profiles))
        raise UnknownProfile(
            f"there is no profile {excerpt(profile.value)} in {path} (asked for by {profile.source})",
            hint=f"there are: {known}; `logsh login --profile NAME` makes one",
        )
    values = file.profiles[profile.value]
    return {
        key: value.strip() if isinstance(value, str) else value for key, value in values.items() if not _blank(value)
    }


def in_config_dir(config: Path, named: str) -> str:
    """A path that the configuration file names, relative to it: the working directory is another one at every call."""
    return str(config.parent / os.path.expanduser(named))  # noqa: PTH111 - raises nothing


def _blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def parse_boolean(text: str) -> bool:
    """A word for yes or no, in any case; raises ``ValueError`` with a sentence that lacks its subject."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("must be true or false (or 1/0, yes/no, on/off)")


def _fail_or_skip(text: str) -> str:
    if text.lower() in ("fail", "skip"):
        return text.lower()
    raise ValueError('must be "fail" or "skip"')
