"""The effective settings: each value by the documented precedence, together with where it came from.

flag > explicit --profile > environment > project file > default profile (or LOGSH_PROFILE's) > built-in

A key goes only where it belongs: a profile's key to that profile's URL, a key from the environment to a URL from the
environment (or to Logsh itself, when nobody names another). What does not fit together is an error, never a guess.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Any

from logsh_cli import Record
from logsh_cli.clock import parse_duration
from logsh_cli.config import DEFAULT_API_URL, clean_api_url, config_dir, is_loopback
from logsh_cli.config.files import (
    CONFIG_FILE,
    DEFAULT_PROFILE,
    check_profile_name,
    find_project_file,
    read_config,
    read_project_file,
)
from logsh_cli.errors import BadConfig, ConfigError, MisplacedKey, MissingKey, UnknownProfile, UsageError
from logsh_cli.output.text import excerpt, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CREDENTIAL = "logsh-api-key"
KEY_PREFIX = "logsh_"
KEY_VARIABLES = ("LOGSH_API_KEY", "LOGSH_API_KEY_FILE", "CREDENTIALS_DIRECTORY")
COPY_AGAIN = "copy it again from the Logsh dashboard"
_MAX_KEY = 1024
_LONGEST_FILE = _MAX_KEY + 100
WRITER_PATIENCE_S = 60.0
"""As long as somebody may need for the passphrase of what writes the key."""

_OPENING_PATIENCE_S = 2.0

_WRONG_PLACE = "that looks like an API key, which goes into LOGSH_API_KEY, or to `logsh login --key-stdin`"

DEFAULT_DEADLINE_S = 10.0
LONGEST_DEADLINE_S = 86400.0
BUILT_IN = "built-in"

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_NEEDED_TO_SEND = ("api_url", "api_key")


class Destination(Record):
    """A key and the URL it belongs to. ``ca_file`` names the certificates to trust there, in place of the system's."""

    profile: str
    api_url: str
    key: str
    ca_file: str | None

    def __repr__(self) -> str:
        return f"Destination({self.profile} at {self.api_url})"


class Setting(Record):
    """A value, ``None`` where nothing sets it, and its source: ``--icon``, ``LOGSH_ICON``, a profile, ``built-in``."""

    value: Any
    source: str

    @property
    def from_environment(self) -> bool:
        """True of what a variable gives, itself or by the file that it names."""
        return self.source.startswith(("LOGSH_", "$"))

    def __repr__(self) -> str:
        return f"Setting(from {self.source})"  # it may be the key


NOT_SET = Setting(None, "not set")


class Flags(Record):
    """The settings of the command line; ``None`` is not given. Whoever pipes the key in may take ``key_patience_s``."""

    profile: str | None = None
    workspace: str | None = None
    icon: str | None = None
    notify: bool | None = None
    deadline: float | None = None
    best_effort: bool | None = None
    on_missing_key: str | None = None
    key_patience_s: float = WRITER_PATIENCE_S


class Settings(Record):
    """Everything that can be set.

    ``workspace``, ``icon`` and ``metadata`` are as they were given: the event's rules judge them with the rest.
    ``warnings`` are sentences about the files that were read, ``problems`` what could not be used, both by the name of
    the setting or file; ``place`` is what ``destination`` returns.
    """

    profile: Setting
    api_url: Setting
    api_key: Setting
    workspace: Setting
    icon: Setting
    notify: Setting
    deadline: Setting
    ca_file: Setting
    metadata: Setting
    best_effort: Setting
    on_missing_key: Setting
    config_path: Path
    project_path: Path | None
    warnings: Mapping[str, str]
    problems: Mapping[str, ConfigError]
    place: Destination | None

    @property
    def skips_without_key(self) -> bool:
        """Tell if a missing key means doing nothing."""
        return bool(self.on_missing_key.value == "skip")

    def __repr__(self) -> str:
        return f"Settings(profile {self.profile.value}, {self.api_url.value})"  # never the key

    def destination(self) -> Destination:
        """Return the key and the URL it belongs to; raises ``ConfigError`` if one is missing, misplaced or unusable."""
        if self.place is None:
            raise self.problems.get("api_key") or self.problems["api_url"]
        return self.place

    def missing(self, error: ConfigError) -> ConfigError:
        """Return the error for a workspace that is missing, or one for both where there is no key either."""
        if not isinstance(self.problems.get("api_key"), MissingKey):
            return error
        profile = f" -p {self.profile.value}" if self.profile.source == "--profile" else ""
        return MissingKey(
            "there is no API key and no workspace yet",
            hint=f"run `logsh login{profile}`, then `logsh config set workspace NAME{profile}`; "
            "or set LOGSH_API_KEY and LOGSH_WORKSPACE",
        )


def load_settings(flags: Flags, env: Mapping[str, str], cwd: Path) -> Settings:
    """Return the settings; raises ``ConfigError`` for what is wrong but the key and the URL: ``destination`` does."""
    settings = survey(flags, env, cwd)
    for name, problem in settings.problems.items():
        if name not in _NEEDED_TO_SEND:
            raise problem
    return settings


def survey(flags: Flags, env: Mapping[str, str], cwd: Path) -> Settings:
    """Read the files and weigh every source, leaving out what is wrong, which then stands in ``problems``.

    A profile that can't be read counts as an empty one of its name, never as another: a key must not be tried where it
    does not belong. Raises ``UsageError`` when a flag's value is impossible.
    """
    return _Sources(flags, env, cwd).settle()


def selected_profile(flag: str | None, env: Mapping[str, str]) -> Setting:
    """Return the profile's name and who chose it; raises ``UsageError`` for a flag that can't be one, as ``""``."""
    if flag is not None:
        if problem := check_profile_name(flag):
            raise UsageError(f"--profile: {problem}", hint=key_hint(flag))
        return Setting(flag, "--profile")
    if name := env.get("LOGSH_PROFILE", "").strip():
        return Setting(name, "LOGSH_PROFILE")
    return Setting(DEFAULT_PROFILE, BUILT_IN)


def profile_values(profile: Setting, profiles: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, Any]:
    """Return what the profile sets, blank values left out; raises ``UnknownProfile``."""
    if profile.value not in profiles:
        known = ", ".join(sorted(profiles))
        raise UnknownProfile(
            f"there is no profile {excerpt(profile.value)} in {path} (asked for by {profile.source})",
            hint=key_hint(profile.value, f"there are: {known}; `logsh login --profile NAME` makes one"),
        )
    own = profiles[profile.value]
    stripped = {key: value.strip() if isinstance(value, str) else value for key, value in own.items()}
    return {key: value for key, value in stripped.items() if value != ""}


def in_config_dir(config: Path, named: str) -> str:
    """Return a path that the file names, relative to the file: the working directory is another one at every call."""
    return str(config.parent / os.path.expanduser(named))  # noqa: PTH111 - raises nothing


def parse_boolean(text: str) -> bool:
    """Return what a word for yes or no means; raises ``ValueError`` with a sentence that lacks its subject."""
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("must be true or false (or 1/0, yes/no, on/off)")
    return text.lower() in _TRUE


def parse_deadline(given: str | float) -> float:
    """Return the seconds of a deadline; raises ``ValueError`` with a sentence that lacks its subject."""
    seconds = float(parse_duration(given) if isinstance(given, str) else given)
    if not 0 < seconds <= LONGEST_DEADLINE_S:
        raise ValueError(f"must be above 0 and at most {LONGEST_DEADLINE_S:.0f} seconds")
    return seconds


def _example(text: str) -> str:
    """Return a URL that is probably meant: what lacks a scheme gets one, if that makes it right."""
    host = text.partition("/")[0].partition(":")[0]
    meant = f"{'http' if is_loopback(host) else 'https'}://{text}"
    return meant if "://" not in text and same_url(meant, meant) else DEFAULT_API_URL


class _Sources:
    """All sources side by side; each method settles one question, and notes what is wrong in ``problems``."""

    def __init__(self, flags: Flags, env: Mapping[str, str], cwd: Path) -> None:
        # An option that can only be switched on says nothing where it is not.
        self.flags = flags._replace(best_effort=flags.best_effort or None)
        self.env = env
        self.problems: dict[str, ConfigError] = {}
        self.path = config_dir(env) / CONFIG_FILE
        self.project_path = find_project_file(cwd)
        self.profile = selected_profile(flags.profile, env)
        self.explicit = self.profile.source == "--profile"
        self.profile_source = f"profile {self.profile.value} ({self.path})"
        self.values: dict[str, Any] = {}
        self.project: dict[str, Any] = {}
        warnings: dict[str, str | None] = {}
        try:
            profiles, warnings["config_file"] = read_config(self.path)
            self.values = profile_values(self.profile, profiles, self.path)
        except ConfigError as error:
            self.problems["profile" if isinstance(error, UnknownProfile) else "config_file"] = error
        try:
            if self.project_path is not None:
                self.project, warnings["project_file"] = read_project_file(self.project_path)
        except ConfigError as error:
            self.problems["project_file"] = error
        self.warnings = {name: warning for name, warning in warnings.items() if warning}

    def settle(self) -> Settings:
        url, key = self.url(), self.key()
        ca_file = self.ca_file(url)
        metadata = self.project.get("metadata")
        return Settings(
            profile=self.profile,
            api_url=url,
            api_key=key,
            workspace=self.pick("workspace"),
            icon=self.pick("icon"),
            notify=self.pick("notify", parse_boolean),
            deadline=self.deadline(),
            ca_file=ca_file,
            metadata=Setting(metadata, str(self.project_path)) if metadata else NOT_SET,
            best_effort=self.pick("best_effort", parse_boolean, False),
            on_missing_key=self.pick("on_missing_key", _fail_or_skip, "fail"),
            config_path=self.path,
            project_path=self.project_path,
            warnings=self.warnings,
            place=self.place(key, url, ca_file.value),  # the last to find problems
            problems=self.problems,
        )

    def pick(self, name: str, parse: Callable[[str], Any] = str, built_in: Any = None) -> Setting:
        """Return one setting by the precedence."""
        if (flag := getattr(self.flags, name)) is not None:
            return Setting(flag, f"--{name.replace('_', '-')}")
        own = None if (value := self.values.get(name)) is None else Setting(value, self.profile_source)
        if self.explicit and own is not None:
            return own
        if (given := self.variable(name, parse)) is not None:
            return Setting(given, f"LOGSH_{name.upper()}")
        project = self.project.get(name)
        if project is not None and str(project).strip():
            return Setting(project, str(self.project_path))
        return own or (NOT_SET if built_in is None else Setting(built_in, BUILT_IN))

    def variable(self, name: str, parse: Callable[[str], Any] = str) -> Any:
        """Return what a variable sets, or ``None``: CI sets variables without a value to the empty string."""
        text = self.env.get(f"LOGSH_{name.upper()}", "").strip()
        try:
            return parse(text) if text else None
        except ValueError as error:
            self.problems[name] = BadConfig(f"LOGSH_{name.upper()} {error}; got {excerpt(text)}")
            return None

    def deadline(self) -> Setting:
        value, source = self.pick("deadline", parse_deadline, DEFAULT_DEADLINE_S)
        try:
            return Setting(parse_deadline(value), source)
        except ValueError as error:
            if source == "--deadline":
                raise UsageError(f"--deadline {error}; got {value:g}") from None
            self.problems["deadline"] = BadConfig(f"the deadline from {source} {error}; got {excerpt(str(value))}")
            return Setting(DEFAULT_DEADLINE_S, BUILT_IN)

    def url(self) -> Setting:
        """Return the URL in its one form; one that can't be used without what could be a password in it."""
        value, source = self.values.get("api_url") or DEFAULT_API_URL, self.profile_source
        if not self.explicit and (text := self.variable("api_url")):
            value, source = text, "LOGSH_API_URL"
        elif "api_url" not in self.values:
            source = BUILT_IN
        try:
            return Setting(clean_api_url(value), source)
        except ValueError as error:
            shown = without_userinfo(value)
            hint = key_hint(value, f"it takes a base URL such as {_example(value)}")
            self.problems["api_url"] = BadConfig(f"the URL {excerpt(shown)} from {source} {error}", hint=hint)
            return Setting(shown, source)

    def ca_file(self, url: Setting) -> Setting:
        if not self.explicit and (given := self.variable("ca_file")):
            return Setting(os.path.expanduser(given), "LOGSH_CA_FILE")  # noqa: PTH111 - raises nothing
        # A profile says whom to trust at its own URL only.
        own = self.values.get("ca_file")
        if own is None or not same_url(url.value, self.values.get("api_url") or DEFAULT_API_URL):
            return NOT_SET
        return Setting(in_config_dir(self.path, own), self.profile_source)

    def key(self) -> Setting:
        found = None
        try:
            if not self.explicit:
                found = environment_key(self.env, self.flags.key_patience_s)
        except ConfigError as error:
            self.problems["api_key"] = error
            return NOT_SET
        if found is None and (own := self.values.get("api_key")):
            found = Setting(own, self.profile_source)
        if found is not None:
            if problem := check_key(found.value):
                self.problems["api_key"] = BadConfig(f"the API key from {found.source} {problem}", hint=COPY_AGAIN)
            return found
        name = self.profile.value
        message, hint = "there is no API key", "run `logsh login`, or set LOGSH_API_KEY"
        if self.explicit:
            message, hint = f"profile {name} has no API key", f"run `logsh login --profile {name}`"
        self.problems["api_key"] = MissingKey(message, hint=hint)
        return NOT_SET

    def place(self, key: Setting, url: Setting, ca_file: str | None) -> Destination | None:
        """Return the key and the URL if they belong together; the one rule of where a key may go."""
        if not self.problems.keys().isdisjoint(_NEEDED_TO_SEND):
            return None
        if key.from_environment:
            missing = "LOGSH_API_URL"
            belongs = url.from_environment or url.value == DEFAULT_API_URL
        else:
            missing = "LOGSH_API_KEY"
            belongs = same_url(url.value, self.values.get("api_url") or DEFAULT_API_URL)
        if belongs:
            return Destination(self.profile.value, url.value, key.value, ca_file)
        self.problems["api_key"] = MisplacedKey(
            f"the key from {key.source} does not belong to the URL from {url.source} ({url.value})",
            hint=f"set {missing} as well, or use --profile {self.profile.value} for the profile's own key and URL",
        )
        return None


def _fail_or_skip(text: str) -> str:
    if text.lower() in ("fail", "skip"):
        return text.lower()
    raise ValueError('must be "fail" or "skip"')


def environment_key(env: Mapping[str, str], patience_s: float = WRITER_PATIENCE_S) -> Setting | None:
    """Return the key from the environment: the variable, the file it names, or systemd's credential, in this order.

    Raises ``BadConfig`` or ``MissingKey`` if a named file can't be read or is empty: that is no reason to take another.
    """
    if key := env.get("LOGSH_API_KEY", "").strip():
        return Setting(key, "LOGSH_API_KEY")
    if path := env.get("LOGSH_API_KEY_FILE", "").strip():
        return _key_from_file(path, f"LOGSH_API_KEY_FILE ({path})", patience_s)
    if directory := env.get("CREDENTIALS_DIRECTORY", "").strip():
        path = os.path.join(directory, CREDENTIAL)  # noqa: PTH118 - one string from another
        if os.path.lexists(path):
            return _key_from_file(path, f"$CREDENTIALS_DIRECTORY/{CREDENTIAL}", patience_s)
    return None


def key_hint(text: str, otherwise: str | None = None) -> str | None:
    """Return where a key belongs if somebody put one where this text was expected, else the other hint."""
    return _WRONG_PLACE if KEY_PREFIX in text else otherwise


def check_key(key: str) -> str | None:
    """Return why this can't be an API key, or ``None``. The sentence lacks its subject and never has the key in it.

    The service reads the key as the last word of a header, so white space would cut it, and a header is ASCII.
    """
    if any(char.isspace() for char in key):
        return "must not contain white space"
    if not key.isascii() or not key.isprintable() or key[:1] in ("'", '"'):
        return "must be plain ASCII without control characters or quotation marks around it"
    if len(key) > _MAX_KEY:
        return f"must be at most {_MAX_KEY} characters"
    return None


def same_url(one: str, other: str) -> bool:
    """Return true for two spellings of one base URL; a URL that can't be used is like no other."""
    try:
        return clean_api_url(one) == clean_api_url(other)
    except ValueError:
        return False


def mask_key(key: str) -> str:
    """Return enough of a key to recognise it, and no more: its end, if it is long enough to spare that."""
    if len(key) < 20:  # noqa: PLR2004 - of a shorter one, four characters would be too much
        return "****"
    return f"{KEY_PREFIX if key.startswith(KEY_PREFIX) else ''}…{key[-4:]}"


def _key_from_file(path: str, source: str, patience_s: float) -> Setting:
    try:
        content = _read(os.path.expanduser(path), patience_s)  # noqa: PTH111 - never raises
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = key_hint(path, "check that the file is there and readable")
        raise BadConfig(f"can't read the key from {source}: {reason}", hint=hint) from None
    key = content.decode("utf-8-sig", "replace").strip()
    if not key:
        raise MissingKey(f"the key file is empty: {source}", hint="put the API key into it")
    return Setting(key, source)


def _read(path: str, patience_s: float) -> bytes:
    """Read a file or a pipe, never by a read that blocks: ``run`` holds signals back while it reports."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read(_LONGEST_FILE)
        import select  # noqa: PLC0415 - few keys come through a pipe

        content, give_up_at = b"", time.monotonic() + patience_s
        while len(content) < _LONGEST_FILE:
            left = max(0.0, give_up_at - time.monotonic())
            ready = select.select([file], [], [], min(left, _OPENING_PATIENCE_S))[0]
            chunk = file.read(_LONGEST_FILE)  # None: somebody has it open, and takes their time
            if not ready and (chunk == b"" or left <= _OPENING_PATIENCE_S):
                raise ValueError("nobody writes to it")
            if ready and not chunk:
                break
            content += chunk or b""
        return content
