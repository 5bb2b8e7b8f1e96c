"""Values on their way into and out of a profile: judged before they are written, masked before they are shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from logsh_cli.clock import parse_duration
from logsh_cli.config.config_file import KEYS
from logsh_cli.config.resolve import check_deadline, parse_boolean
from logsh_cli.config.urls import clean_api_url
from logsh_cli.errors import UsageError
from logsh_cli.event import MAX_WORKSPACE, WHITE_SPACE
from logsh_cli.event.icons import resolve_icon
from logsh_cli.output.text import excerpt, nearest, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Value = str | bool | float

T = TypeVar("T")

_KEY_PREFIX = "logsh_"
_TELLING = 4
"""Characters of a key's end that are shown, to tell one key from another; only of keys long enough to spare them."""

_LONG_ENOUGH = 20
_PEM_MARKS = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_LONGEST_BUNDLE = 10 * 1024 * 1024


def parse_value(key: str, text: str, label: str | None = None) -> Value:
    """The value of a profile's key from its text on the command line. ``label`` is how messages call it.

    Raises:
        UsageError: there is no such key, it must not be set this way, or the value breaks its rule.
    """
    if key == "api_key":
        raise UsageError(
            "an API key is not set on the command line, where every user of the machine can read it",
            hint="use `logsh login`, or `logsh login --key-stdin` in a script",
        )
    if key not in _PARSERS:
        raise unknown_setting(key, (name for name in KEYS if name != "api_key"))
    try:
        return _PARSERS[key](text.strip(WHITE_SPACE))
    except ValueError as error:
        raise UsageError(f"{label or key} {error}") from None


def unknown_setting(key: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is no setting, with the one that was probably meant."""
    names = list(known)
    near = nearest(key, names)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(names)}"
    return UsageError(f"there is no setting {excerpt(key)}", hint=hint)


def mask_key(key: str) -> str:
    """Enough of a key to recognise it, and no more."""
    if len(key) < _LONG_ENOUGH:
        return "****"
    return (_KEY_PREFIX if key.startswith(_KEY_PREFIX) else "") + "…" + key[-_TELLING:]


def looks_like_a_key(key: str) -> bool:
    """Whether it begins as Logsh's keys do; others may be good as well."""
    return key.startswith(_KEY_PREFIX)


def _workspace(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must be printable text")
    if len(text) > MAX_WORKSPACE:
        raise ValueError(f"must be at most {MAX_WORKSPACE} characters; yours has {len(text)}")
    return text


def _deadline(text: str) -> float:
    seconds = _quoting(parse_duration)(text)
    if problem := check_deadline(seconds):
        raise ValueError(problem)
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
    """The parser, with what was given at the end of its complaint."""

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
    "deadline": _deadline,
}
