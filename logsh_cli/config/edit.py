"""One profile for people: its values judged, written into ``config.toml`` and shown.

Every other byte of the file, comments included, stays where it is. tomlkit keeps comments, but adds a key behind
whatever stands last before the next table, which is often that table's comment. So it is given one block of the file at
a time: a header, the comment lines right above it, and its keys.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from logsh_cli import Record
from logsh_cli.config import clean_api_url, config_dir
from logsh_cli.config.files import (
    CONFIG_FILE,
    DEFAULT_PROFILE,
    check_config_owner,
    check_profile_name,
    parse,
    profiles_of,
    read_config,
)
from logsh_cli.config.resolve import (
    Setting,
    key_hint,
    mask_key,
    parse_boolean,
    parse_deadline,
    profile_values,
    selected_profile,
)
from logsh_cli.errors import BadConfig, UsageError
from logsh_cli.event import WHITE_SPACE, problems_of
from logsh_cli.event.icons import resolve_icon
from logsh_cli.files import file_lock, make_directory, write_atomically
from logsh_cli.output.text import excerpt, shown_value, suggestion, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from logsh_cli.config.resolve import Settings

Value: TypeAlias = "str | bool | float"
Changes: TypeAlias = "Mapping[str, Value | None]"

SET_ELSEWHERE = {
    "profile": "pass --profile, or set LOGSH_PROFILE",
    "metadata": "put it into .logsh.toml",
    "best_effort": "pass --best-effort, or set LOGSH_BEST_EFFORT",
    "on_missing_key": "pass --on-missing-key, or set LOGSH_ON_MISSING_KEY",
}
"""Settings that no profile holds, and how each is set."""

# A run of comments is matched whether a header follows or not, or it would be looked at again from its second line.
_BLOCK_START = r"(?m)^(?:[ \t]*#[^\n]*\n)*([ \t]*\[)?"

_LOCK_PATIENCE_S = 10.0


class StoredProfile(Record):
    """A profile's name and what the file has for it; ``explicit`` when ``--profile`` named it."""

    path: Path
    name: str
    explicit: bool
    values: Mapping[str, Any]


def open_profile(
    flag: str | None, env: Mapping[str, str], warn: Callable[[str], None], *, may_be_new: bool = False
) -> StoredProfile:
    """Return the profile that a command is about: ``--profile``'s, ``LOGSH_PROFILE``'s or the default one.

    Raises ``UsageError`` for a name that can't be one, ``UnknownProfile`` unless it ``may_be_new``, and ``BadConfig``.
    """
    chosen = selected_profile(flag, env)
    if problem := check_profile_name(chosen.value):
        raise UsageError(f"{chosen.source}: {problem}", hint=key_hint(chosen.value))
    path = config_dir(env) / CONFIG_FILE
    profiles, warning = read_config(path)
    if warning:
        warn(warning)
    if may_be_new:
        profiles.setdefault(chosen.value, {})
    values = profile_values(chosen, profiles, path)
    return StoredProfile(path, chosen.value, chosen.source == "--profile", values)


def update(path: Path, profile: str, changes: Changes) -> None:
    """Set keys of a profile, which is made if need be, and remove those whose value is ``None``; raises ``BadConfig``.

    The file is replaced in one step, so that nobody ever reads half of it, and two updates at once both take effect.
    """
    try:
        make_directory(path.parent)
        with suppress(FileNotFoundError):
            check_config_owner(path)
        with file_lock(path.with_name(path.name + ".lock"), patience_s=_LOCK_PATIENCE_S) as held:
            if not held:
                raise BadConfig(f"another process is changing {path} and does not end", hint="try again")
            # A dotfiles manager's symbolic link stays one: what is replaced is the file that it points at.
            target = path.resolve()
            write_atomically(target, _edited(target, profile, changes))
    except OSError as error:
        hint = "set LOGSH_CONFIG_DIR to a directory that can be written, or use LOGSH_API_KEY and the other variables"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "make room on that disk"
        raise BadConfig(f"can't write {path}: {error.strerror or type(error).__name__}", hint=hint) from error


def _edited(path: Path, profile: str, changes: Changes) -> bytes:
    """Return the content of the file once it is changed; ``BadConfig`` where tomlkit would harm the rest of it."""
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - 20 ms; only a change to the file pays for it

    content = path.read_bytes() if path.exists() else b""
    expected = profiles_of(parse(content, path), path)
    _apply(expected.setdefault(profile, {}), changes)
    with suppress(TOMLKitError, BadConfig, ValueError, RecursionError):
        edited = _edited_text(content.decode("utf-8-sig"), profile, changes).encode()
        if profiles_of(parse(edited, path), path) == expected:
            return edited
    # A multi-line string that looks like a header, or inline tables.
    raise BadConfig(f"can't change {path} without harming the rest of it", hint="make the change by hand, in an editor")


def _edited_text(text: str, profile: str, changes: Changes) -> str:
    import tomlkit  # noqa: PLC0415 - as above

    newline = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    starts = [match.start() for match in re.finditer(_BLOCK_START, text) if match[1]]
    blocks = [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]
    for index, block in enumerate(blocks):
        body = block.rstrip()
        document = tomlkit.parse(body and body + "\n")
        table = document if profile == DEFAULT_PROFILE else document.get("profiles", {}).get(profile)
        if table is not None:
            _apply(table, changes)
            edited = tomlkit.dumps(document).rstrip("\n")
            blocks[index] = edited + (block[len(body) :] or "\n\n") if edited else ""
            break
    else:
        added = {key: value for key, value in changes.items() if value is not None}
        blocks = [text.rstrip() + "\n\n", tomlkit.dumps({"profiles": {profile: added}})]
    return ("".join(blocks).strip("\n") + "\n").replace("\n", newline)


def _apply(table: Any, changes: Changes) -> None:
    for key, value in changes.items():
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]


def effective(settings: Settings, *, reveal: bool = False) -> dict[str, Setting]:
    """Return every setting by its name, the key masked unless ``reveal``."""
    shown: dict[str, Setting] = {name: what for name, what in settings._asdict().items() if isinstance(what, Setting)}
    key = settings.api_key
    return shown if reveal or key.value is None else shown | {"api_key": Setting(mask_key(key.value), key.source)}


def to_json(setting: Setting) -> dict[str, Any]:
    """Return ``{"value", "source"}``, both null where it is not set."""
    return {"value": setting.value, "source": None if setting.value is None else setting.source}


def plain(value: Any) -> str:
    """Return a value as the configuration file spells it, without quotation marks; nothing for ``None``."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else shown_value(value)


def parse_value(key: str, text: str, label: str | None = None) -> Value:
    """Return the value of a profile's key, which messages call ``label``, from its text; raises ``UsageError``."""
    if key == "api_key":
        raise UsageError(
            "an API key is not set on the command line, where every user of the machine can read it",
            hint="use `logsh login`, or `logsh login --key-stdin` in a script",
        )
    if key not in _PARSERS:
        raise unknown_setting(key, _PARSERS)
    given = text.strip(WHITE_SPACE)
    try:
        return _PARSERS[key](given)
    except ValueError as error:
        shown = without_userinfo(given) if key == "api_url" else given
        got = "" if key in _TOLD_BY_THE_EVENT else f"; got {excerpt(shown)}"
        raise UsageError(f"{label or key} {error}{got}", hint=key_hint(text)) from None


def unknown_setting(key: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not a setting of a profile, with what was probably meant, or sets it."""
    if key in SET_ELSEWHERE:
        return UsageError(f"{key} is not kept in a profile", hint=SET_ELSEWHERE[key])
    return UsageError(f"there is no setting {excerpt(key)}", hint=suggestion(key, known))


def _workspace(text: str) -> str:
    for problem in problems_of("workspace", text):
        raise ValueError(problem.removeprefix("workspace "))
    return text


def _ca_file(text: str) -> str:
    import ssl  # noqa: PLC0415 - 10 ms, for this setting only

    # Absolute, since the next call has another working directory.
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - neither resolves links nor raises
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ValueError(f"must be a file with certificates in PEM format ({reason})") from None
    return path


_PARSERS: dict[str, Callable[[str], Value]] = {
    "workspace": _workspace,
    "api_url": clean_api_url,
    "ca_file": _ca_file,
    "icon": resolve_icon,
    "notify": parse_boolean,
    "deadline": parse_deadline,
}
_TOLD_BY_THE_EVENT = ("workspace", "icon")
