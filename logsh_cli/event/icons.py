"""Icons: one emoji of the Unicode standard, given as itself or by a shortcode. Pure but for reading the list.

The list is ``icons.txt``: a line for each emoji in each form, with its shortcodes, all set off by tabs. It is searched
as bytes, since making objects of 5,000 entries to look one up would cost more than everything else about an event.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from logsh_cli.output.text import excerpt, nearest

_EXCERPT = 40
_LONGEST_NAME = 100
"""No emoji and no shortcode is longer, so nothing longer need be looked up, or remembered."""

_SIMILAR = 0.8
_PRESENTATION = "\ufe0f"


def resolve_icon(text: str) -> str:
    """Return the emoji itself, as given, or the one that a shortcode such as ``:rocket:`` (any case) stands for.

    Raises ``ValueError`` if it is neither; the message is a sentence that lacks its subject, the flag or field.
    """
    icon, advice = _look_up(text) if len(text) <= _LONGEST_NAME else (None, "")
    if icon is None:
        raise ValueError(f"is not an emoji or a known shortcode: {excerpt(text, _EXCERPT)}{advice}")
    return icon


def is_emoji(text: str) -> bool:
    """Return true for exactly one emoji, in any form of emoji-test.txt, or with a U+FE0F that it need not have."""
    return _is_listed(text) or (text[1:] == _PRESENTATION and _is_listed(text[0]))


@lru_cache(maxsize=1024)  # a batch repeats a few icons, good or bad, a million times
def _look_up(text: str) -> tuple[str | None, str]:
    """The icon, or none and what may be meant."""
    if is_emoji(text):
        return text, ""
    name = text.lower()
    is_shortcode = len(name) > len("::") and name[0] == name[-1] == ":" and "\t" not in name
    at = _list().find(f"\t{name}\t".encode("utf-8", "replace")) if is_shortcode else -1
    if at >= 0:
        return _list()[_list().rindex(b"\n", 0, at) + 1 :].partition(b"\t")[0].decode(), ""
    word = name.strip(":")
    if len(word) <= 1 or not word.isprintable() or " " in word:
        return None, ""
    names = (name.strip(":") for line in _list().decode().splitlines() for name in sorted(line.split("\t")[1:-1]))
    close = nearest(word, names, cutoff=_SIMILAR)
    return None, f" (did you mean :{close}:?)" if close else ""


def _is_listed(text: str) -> bool:
    # A tab could make of several entries one.
    return "\t" not in text and f"\n{text}\t".encode("utf-8", "replace") in _list()


@lru_cache(maxsize=1)
def _list() -> bytes:
    """The list as it is in the file, or in the archive that logsh runs from."""
    loader: Any = __spec__.loader
    data: bytes = loader.get_data(os.path.join(os.path.dirname(__file__), "icons.txt"))  # noqa: PTH118, PTH120 - pathlib costs more than the search
    return data
