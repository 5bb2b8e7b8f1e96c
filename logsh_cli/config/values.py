"""Values as people give and read them: judged before they are written to a profile, spelled when they are shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from logsh_cli.config import clean_api_url
from logsh_cli.config.files import KEYS
from logsh_cli.config.key import Setting, key_hint, mask_key
from logsh_cli.config.resolve import parse_boolean, parse_deadline
from logsh_cli.errors import UsageError
from logsh_cli.event import MAX_WORKSPACE, WHITE_SPACE
from logsh_cli.event.icons import resolve_icon
from logsh_cli.output.text import excerpt, nearest, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logsh_cli.config.resolve import Settings

    Value = str | bool | float

T = TypeVar("T")

SET_ELSEWHERE = {
    "profile": "pass --profile, or set LOGSH_PROFILE",
    "metadata": "put it into .logsh.toml",
    "best_effort": "pass --best-effort, or set LOGSH_BEST_EFFORT",
    "on_missing_key": "pass --on-missing-key, or set LOGSH_ON_MISSING_KEY",
}
"""Settings that no profile holds, and how each is set."""

_SHOWN = (
    *("profile", "api_url", "api_key", "workspace", "icon", "notify", "deadline", "ca_file", "metadata"),
    *("best_effort", "on_missing_key"),
)
_PEM_MARKS = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_LONGEST_BUNDLE = 10 * 1024 * 1024


def effective(settings: Settings, *, reveal: bool = False) -> dict[str, Setting]:
    """Return every setting by its name, the key masked unless ``reveal``."""
    shown: dict[str, Setting] = {name: getattr(settings, name) for name in _SHOWN}
    key = settings.api_key
    return shown if reveal or key.value is None else shown | {"api_key": Setting(mask_key(key.value), key.source)}


def to_json(setting: Setting) -> dict[str, Any]:
    """Return ``{"value", "source"}``, both null where it is not set."""
    return {"value": setting.value, "source": None if setting.value is None else setting.source}


def plain(value: Any) -> str:
    """Return a value as the configuration file spells it, without quotation marks; nothing for ``None``."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def parse_value(key: str, text: str, label: str | None = None) -> Value:
    """Return the value of a profile's key from its text on the command line. ``label`` is how messages call it.

    Raises:
        UsageError: there is no such key, it must not be set this way, or the value breaks its rule.
    """
    if key == "api_key":
        raise UsageError(
            "an API key is not set on the command line, where every user of the machine can read it",
            hint="use `logsh login`, or `logsh login --key-stdin` in a script",
        )
    if key in SET_ELSEWHERE:
        raise UsageError(f"{key} is not kept in a profile", hint=SET_ELSEWHERE[key])
    if key not in _PARSERS:
        raise unknown_setting(key, (name for name in KEYS if name != "api_key"))
    try:
        return _PARSERS[key](text.strip(WHITE_SPACE))
    except ValueError as error:
        raise UsageError(f"{label or key} {error}", hint=key_hint(text)) from None


def unknown_setting(key: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not a setting, with the one that was probably meant."""
    names = list(known)
    near = nearest(key, names)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(names)}"
    return UsageError(f"there is no setting {excerpt(key)}", hint=hint)


def _workspace(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must be printable text")
    if len(text) > MAX_WORKSPACE:
        raise ValueError(f"must be at most {MAX_WORKSPACE} characters; yours has {len(text)}")
    return text


def _deadline(text: str) -> float:
    seconds = parse_deadline(text)
    return int(seconds) if seconds.is_integer() else seconds


def _ca_file(text: str) -> str:
    # Absolute, since the next call has another working directory.
    path = Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - neither resolves links nor raises
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_BUNDLE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ValueError(f"must be a file that can be read ({reason})") from None
    if not any(mark in content for mark in _PEM_MARKS):
        raise ValueError("must be a file with certificates in PEM format")
    return str(path)


def _quoting(parse: Callable[[str], T], show: Callable[[str], str] = str) -> Callable[[str], T]:
    """Return the parser, with what was given at the end of its complaint."""

    def parse_and_quote(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{error}; got {excerpt(show(text))}") from None

    return parse_and_quote


_PARSERS: dict[str, Callable[[str], Value]] = {
    "workspace": _workspace,
    "api_url": _quoting(clean_api_url, without_userinfo),
    "ca_file": _quoting(_ca_file),
    "icon": resolve_icon,
    "notify": _quoting(parse_boolean),
    "deadline": _quoting(_deadline),
}
