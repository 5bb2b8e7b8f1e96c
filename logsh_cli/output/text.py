"""Text that comes from outside, made safe to show: no escape sequences, no commands, no secrets. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "[redacted]"

# The patterns are texts, compiled when a text needs them: most calls print one harmless line.

# C0, DEL and C1 drive terminals; U+2028/9 break lines; the bidirectional controls reorder what a reader sees;
# surrogates have no UTF-8 form and would make the write itself fail.
_UNSAFE = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
USERINFO = r"(?<=://)[^/?#\s]*@"
"""The user information of a URL, a lone token included. One run of characters from each ``://``: linear time."""

KEY_SHAPE = r"logsh_(?:[A-Za-z0-9_-]{8,}|[A-Za-z0-9_-]+(?=…))"
"""Text that looks like one of Logsh's keys, whole or cut by ``excerpt``; a masked one (``logsh_…wxyz``) does not."""

_LONGEST_NAME = 100
_SHORTEST_BEGINNING = 2
_RUNNER_COMMAND = r"(?i)(##(?:vso)?)\["
_SHORTEST_SECRET = 4
_SHORTEST_PART = 8
_PIECE = 12
_CUT = "…"


def printable(text: str) -> str:
    """The text with every character that could move a cursor, break a line or reorder it shown as an escape."""
    if text.isprintable():  # which spares most texts the pattern; some that are harmless it does not
        return text
    return re.sub(_UNSAFE, lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def shown_value(value: object) -> str:
    """A value as people write it: a string as it is, anything else as JSON."""
    import json  # noqa: PLC0415 - a command that is run must not wait for it

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def json_escaped(text: str) -> str:
    """The same for a line of JSON, which stays JSON and means what it meant; no CI runner finds a command in it."""
    text = re.sub(_UNSAFE, lambda match: f"\\u{ord(match[0]):04x}", text)
    return re.sub(_RUNNER_COMMAND, r"\1\\u005b", text)


def without_commands(text: str) -> str:
    """The text with the marks broken up by which CI runners know commands in a log.

    GitHub's runner obeys ``::`` at the start of a line, spaces before it or not, and ``##[`` anywhere in one; Azure's
    obeys ``##vso[`` anywhere.
    """
    text = re.sub(_RUNNER_COMMAND, r"\1\\x5b", text)
    return re.sub(r"(?m)^([^\S\n]*)::", r"\1\\x3a:", text)


def excerpt(text: str, limit: int = 60) -> str:
    """A quoted, printable beginning of a text, for messages that say what was given."""
    shown = printable(text[: limit + 1])
    return f'"{shown[: limit - 1]}…"' if len(shown) > limit else f'"{shown}"'


def without_userinfo(url: str) -> str:
    """Return a text that was given as a URL without anything that could be a password, however malformed it is."""
    before, at, host = url.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return f"{scheme}{separator}{REDACTED}@{host}" if at and separator else f"{REDACTED}@{host}" if at else url


def nearest(given: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that was most likely meant, if there is one: one that begins so, or a similar one."""
    import difflib  # noqa: PLC0415 - 4 ms, and only a mistake needs it

    word = given[:_LONGEST_NAME].lower()
    names = {name.lower(): name for name in known}
    begun = [name for name in names if len(word) >= _SHORTEST_BEGINNING and name.startswith(word)]
    close = begun or difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return names[close[0]] if close else None


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return a hint for a name that is not known: what was most likely meant, else all that there are."""
    near = nearest(given, names := list(known))
    return f"did you mean {near}?" if near else f"known are {', '.join(names)}"


class Redactor:
    """Replaces known secrets, whatever looks like a key, and the user information in URLs, wherever they turn up."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, list[str]] = {}
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """From now on, hide this as well. Shorter ones than four characters would blot out ordinary words."""
        for form in (secret, secret.replace("\\", r"\\").replace('"', r"\"")):
            if len(form) >= _SHORTEST_SECRET:
                self._secrets[form] = [form[at : at + _PIECE] for at in range(len(form) - _PIECE + 1)]
        self._secrets = dict(sorted(self._secrets.items(), key=lambda known: len(known[0]), reverse=True))

    def __call__(self, text: str) -> str:
        """The text without the secrets, and without a piece of one that has 12 characters or was left by an excerpt."""
        for secret, pieces in self._secrets.items():
            text = text.replace(secret, REDACTED)
            if found := {piece for piece in pieces if piece in text}:
                text = _without_pieces(text, found)
            for length in range(len(secret) - 1, _SHORTEST_PART - 1, -1) if _CUT in text else ():
                text = text.replace(secret[:length] + _CUT, REDACTED + _CUT)
                text = text.replace(_CUT + secret[-length:], _CUT + REDACTED)
        if "logsh_" in text:
            text = re.sub(KEY_SHAPE, REDACTED, text)
        return re.sub(USERINFO, f"{REDACTED}@", text) if "://" in text else text


def _without_pieces(text: str, pieces: Iterable[str]) -> str:
    marks = bytearray(len(text))
    for piece in pieces:
        at = text.find(piece)
        while at >= 0:
            marks[at : at + _PIECE] = b"x" * _PIECE
            at = text.find(piece, at + 1)
    kept, end = [], 0
    for run in re.finditer(b"x+", marks):
        kept.append(text[end : run.start()])
        end = run.end()
    return REDACTED.join((*kept, text[end:]))
