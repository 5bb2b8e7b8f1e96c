"""Make the end of a job's output fit to be sent: no terminal control, no secrets, no more than asked for. Pure.

Everything is redacted before anything is cut, so that a cut can't leave half of a secret that no longer looks like one.
It errs on the side of hiding: a harmless word lost is better than a password told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logsh_cli.event import utf16_length
from logsh_cli.output.text import REDACTED

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORTEST_SECRET = 4

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)"  # OSC, DCS, …: titles and links, up to their terminator
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.MULTILINE,
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)

# Repetitions are bounded and names begin where no name character precedes, or a long line would take quadratic time.
_NAME = (
    r"(?:[\w.-]{0,80}(?:secret|token|passw(?:or)?d|passphrase|pwd|credential|cookie|signature|api-?key|auth(?![a-z]))"
    r"[\w.-]{0,80}"
    r"|(?:[\w.-]{0,80}[_.-])?(?:key|pass|sig|sid|session|dsn)(?:[_.-][\w.-]{0,80})?"
    r"|[a-z]{1,30}key)"
)
_VALUE = r"(?:\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?|[^\s\"']\S*)"

_PEM = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

# Each keeps its group 1, which says what it was, and hides the rest.
_SECRETS = [
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        rf"()-----BEGIN {_PEM}.*?(?:-----END {_PEM}|\Z)",
        rf"\A().*?-----END {_PEM}",  # its beginning is out of reach
        r"(://)[^\s/@:]{0,256}:[^\s]{0,512}(?=@)",
        r"(://)[^\s/?#]{1,512}(?=@)",
        r"((?:proxy-)?authorization[\"']?[ \t]{0,9}[:=][ \t]{0,9}[\"']?)[^\n\"']+",
        r"(\b(?:set-)?cookie[ \t]{0,9}:[ \t]{0,9})[^\n]+",
        r"(\bbearer[ \t]{1,9})[\w.~+/=-]{6,}",
        r"(\bpass(?:word|phrase|wd|code)[ \t]{0,9}:[ \t]{0,9})[^\n]+",
        rf"((?<![\w.-]){_NAME}[\"']?[ \t]{{0,9}}(?::=|=>|[:=])[ \t]{{0,9}}){_VALUE}",
        rf"((?<![\w-])--?{_NAME}[ \t]{{1,9}})(?!-){_VALUE}",
        r"()\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b",
        r"()\blogsh_[\w-]{8,}",
        r"()\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|gl[a-z]{2,5}-[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{16,}|hf_\w{20,})",
        r"()\b(?:xox[a-z]-[\w-]{10,}|[sprw]k_(?:live|test)_\w{10,}|sk-[\w-]{16,}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]+)",
        r"()(?<![\w-])eyJ[\w-]{8,}\.[\w-]*(?:\.[\w-]*)*",  # JSON web tokens
    )
]
"""Private keys, user information of URLs, headers, named values, and tokens known by their shape."""


def scrub_output(raw: bytes, limit: int, secrets: Sequence[str] = ()) -> str:
    """The last ``limit`` UTF-16 units of a job's output as text that may be sent; empty if there is nothing to show.

    Args:
        raw: bytes in any encoding, read as UTF-8; what is none becomes U+FFFD.
        limit: at most so much is kept, of the end.
        secrets: known values to hide, apart from everything that looks like one.
    """
    text = raw.decode("utf-8", errors="replace")
    text = _CONTROLS.sub("", _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
    return _last(_hide(text, secrets).strip(), limit).strip()


def _hide(text: str, secrets: Sequence[str]) -> str:
    for secret in sorted((known.strip() for known in secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = _without_half(text.replace(secret, REDACTED), secret)
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return text


def _without_half(text: str, secret: str) -> str:
    """Output that was remembered in part may begin in the middle of a secret."""
    for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
        if text.startswith(secret[-length:]):
            return REDACTED + text[length:]
    return text


def _last(text: str, limit: int) -> str:
    start = max(0, len(text) - limit)
    while utf16_length(text[start:]) > limit:
        start += 1
    return text[start:]
