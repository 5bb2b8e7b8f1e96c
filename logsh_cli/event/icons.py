"""Icons: one emoji of the Unicode standard, given as itself or by a shortcode. Pure but for reading the list.

The list is the ``emoji`` package's. Importing that package costs some 20 ms once Typer is loaded (65 alone), nearly
all of it to make Python objects of 5,000 entries; an icon needs one of them. So its data file is searched as bytes
first, in 1 to 2 ms. That file is not promised by the package: finding something there is trusted only where an entry
reads as expected, and not finding it means nothing. Then the whole list is parsed (9 ms), and where even that fails,
the package itself is asked.
"""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from logsh_cli.output.text import excerpt, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Entry: TypeAlias = "Mapping[str, Any]"

_EXCERPT = 40
_LONGEST_NAME = 100
"""No emoji and no shortcode is longer, so nothing longer need be looked up, or remembered."""

_LAST_NAMED_STATUS = 2
"""Components and fully-qualified emoji: of the forms that share a name, the one it stands for."""

_PRESENTATION = "\ufe0f"
# The two characters that the data file spells as escapes; every other stands there as it is.
_SPELLING = str.maketrans({"\u200d": "\\u200d", _PRESENTATION: "\\ufe0f"})


def resolve_icon(text: str) -> str:
    """The emoji itself, as given, or the emoji that a shortcode such as ``:rocket:`` (any case) stands for.

    Raises:
        ValueError: it is neither; the message is a sentence that lacks its subject, the flag or field.
    """
    icon, advice = _judge(text) if len(text) <= _LONGEST_NAME else (None, "")
    if icon is None:
        raise ValueError(f"is not an emoji or a known shortcode: {excerpt(text, _EXCERPT)}{advice}")
    return icon


def is_emoji(text: str) -> bool:
    """Whether the text is exactly one emoji, in any form that Unicode's emoji-test.txt lists.

    One that is shown as an emoji anyway may also be followed by U+FE0F, which asks for just that.
    """
    # Every emoji has a character beyond ASCII. A quotation mark or a backslash could pose as the file's own syntax.
    if text.isascii() or '"' in text or "\\" in text:
        return False
    return _is_listed(text) or (len(text) == 2 and text[1] == _PRESENTATION and _is_listed(text[0]))  # noqa: PLR2004 - a base and U+FE0F


@lru_cache(maxsize=1024)  # a batch repeats a few icons, good or bad, a million times
def _judge(text: str) -> tuple[str | None, str]:
    """The icon, or none and what may be meant."""
    if is_emoji(text):
        return text, ""
    name = text.lower()
    icon = _named(name) if len(name) > len("::") and name[0] == name[-1] == ":" else None
    return icon, "" if icon else _suggestion(name)


def _is_listed(text: str) -> bool:
    key = f'"{text.translate(_SPELLING)}": {{'.encode("utf-8", "replace")
    return key in _raw_list() or text in _whole_list()


def _named(name: str) -> str | None:
    return _pick(_entries_around(name), name) or _pick(_whole_list().items(), name)


def _pick(entries: Iterable[tuple[str, Entry]], name: str) -> str | None:
    """The emoji of this lower-case name.

    An alias (GitHub's and Slack's names) goes before what Unicode itself calls one, and either as it is written
    (``:turkey:``) before the same in capitals (``:Turkey:``, a flag).
    """
    best, icon = 4, None
    for emoji, entry in entries:
        if entry["status"] > _LAST_NAMED_STATUS:
            continue
        aliases, called = entry.get("alias", ()), entry["en"]
        matches = (name in aliases, name == called, any(name == a.lower() for a in aliases), name == called.lower())
        rank = matches.index(True) if True in matches else 4
        if rank < best:
            best, icon = rank, emoji
    return icon


def _entries_around(name: str) -> Iterator[tuple[str, Entry]]:
    """The entries of the data file in which the quoted name occurs, each parsed alone; none that can't be."""
    raw = _raw_list()
    lowered, wanted = raw.lower(), f'"{name}"'.encode("utf-8", "replace")
    at = lowered.find(wanted)
    while at >= 0:
        entry = raw[raw.rfind(b'\n"', 0, at) : raw.find(b"}", at) + 1]
        at = lowered.find(wanted, at + 1)
        try:
            parsed = json.loads(b"{" + entry + b"}")
        except ValueError:
            return
        yield from ((emoji, found) for emoji, found in parsed.items() if _is_entry(found))


def _suggestion(name: str) -> str:
    word = name.strip(":")
    if len(word) <= 1 or not word.isprintable() or " " in word:
        return ""
    names = {
        shown.lower()
        for entry in _whole_list().values()
        if entry["status"] <= _LAST_NAMED_STATUS
        for shown in (entry["en"], *entry.get("alias", ()))
    }
    close = nearest(f":{word}:", sorted(names), cutoff=0.75)
    return f" (did you mean {close}?)" if close else ""


@lru_cache(maxsize=1)
def _raw_list() -> bytes:
    """The package's data file; empty where there is none to read. ``find_spec`` locates it and imports nothing."""
    spec = importlib.util.find_spec("emoji")
    try:
        return Path(spec.origin or "").with_name("unicode_codes").joinpath("emoji.json").read_bytes() if spec else b""
    except (OSError, ValueError):
        return b""


@lru_cache(maxsize=1)
def _whole_list() -> Mapping[str, Entry]:
    try:
        parsed = json.loads(_raw_list())
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and all(map(_is_entry, parsed.values())):
        return parsed
    import emoji  # noqa: PLC0415 - costs 20 to 65 ms

    return emoji.EMOJI_DATA


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("status"), int) and isinstance(value.get("en"), str)
