"""The cost of a hostile text for each of our regular expressions: ``python -m tests.benchmarks.patterns``.

A pattern that backtracks takes 16 times as long for four times the text, and seconds for 64 KB; a linear one takes
milliseconds. Time is CPU time, so that a busy machine changes nothing.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import logsh_cli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIZE = 64 * 1024
NOTICEABLE_S = 0.05
"""A time below this at full size costs nobody anything, however it grows."""

MOST_GROWTH = 8.0
"""Between 4 (linear) and 16 (quadratic) for four times the text."""

PACKAGE = Path(logsh_cli.__file__).parent
_USES = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}

_REPEATED = (
    *'aA0-_.:@/\\"= \n<[\x1b',
    *("://a", "a:", "a@", "a.", "a=", "-a ", "a b", '"a":', "\\n", "%3D", "&a=", "a:\n ", "#\n", "https://a:"),
)
_ALONE = (
    *("'", "\t", "{", "%", "…", "://", "a-", "--a ", "a: ", "\\\\", "logsh_", "eyJ", "eyJ.", "key", "key=", "token "),
    *("token: ", "secret", "password=", "Bearer ", "Basic ", "-u ", "-p", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----"),
    *("##[", "::", "\x1b[", "\x1b]", "<a>", "</", "ghp_", "AKIA", "xoxb-", "hooks.slack.com/", "IDENTIFIED BY "),
    "machine a login b ",
)
_BEGINNINGS = ("://", '"password": "', "-----BEGIN RSA PRIVATE KEY-----")


class Slow(NamedTuple):
    """A pattern whose time grows faster than the text, and the text that shows it."""

    pattern: str
    text: str
    seconds: float
    growth: float


class Use(NamedTuple):
    """A pattern, and the way in which the package looks for it: ``match``, ``fullmatch`` or, for all else, a search."""

    pattern: re.Pattern[Any]
    how: str


def uses() -> set[Use]:
    """Every pattern in the package: those that its modules keep, and those given as text to functions of ``re``."""
    modules = {file: importlib.import_module(_dotted(file)) for file in PACKAGE.rglob("*.py")}
    calls = [
        (vars(modules[file]), ast.unparse(node.func.value), node.func.attr, node.args)
        for file in modules
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _USES
    ]
    found = set()
    for module in modules.values():
        for name, value in vars(module).items():
            ways = {how for _, on, how, _ in calls if on == name} or {"search"}
            found |= {Use(pattern, how) for pattern in _kept([value]) for how in ways}
    for names, on, how, args in calls:
        if on == "re":
            text = args[0].value if isinstance(args[0], ast.Constant) else names.get(ast.unparse(args[0]))
            if isinstance(text, str):
                found.add(Use(re.compile(text), how))
    return found


def _dotted(file: Path) -> str:
    return ".".join(("logsh_cli", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def _kept(values: Iterable[Any]) -> Iterator[re.Pattern[Any]]:
    for value in values:
        if isinstance(value, re.Pattern):
            yield value
        elif isinstance(value, dict):
            yield from _kept((*value.keys(), *value.values()))
        elif isinstance(value, (tuple, list, set, frozenset)):
            yield from _kept(value)


def hostile_texts(size: int) -> Iterator[str]:
    """Give the same texts whatever the size: repetitions, some of them behind the beginning of something known."""
    for part in (*_REPEATED, *_ALONE):
        yield (part * (size // len(part) + 1))[:size]
    for beginning in _BEGINNINGS:
        for part in _REPEATED:
            yield (beginning + part * (size // len(part)))[:size]


def slow_ones(size: int = SIZE) -> Iterator[Slow]:
    """Give each pattern that a text of ``size`` characters holds up longer than it should, with the first such text."""
    for use in sorted(uses(), key=repr):
        slow = next(slow_texts(use, size), None)
        if slow is not None:
            yield slow


def slow_texts(use: Use, size: int) -> Iterator[Slow]:
    """Give each text that one pattern is slow for. What takes long is measured again: it may have been chance."""
    noticeable = NOTICEABLE_S * size / SIZE
    for short, long in zip(hostile_texts(size // 4), hostile_texts(size), strict=True):
        if _seconds(use, long) > noticeable:
            seconds, quick = (min(_seconds(use, text) for _ in range(3)) for text in (long, short))
            if seconds > noticeable and seconds / quick > MOST_GROWTH:
                yield Slow(str(use.pattern.pattern), long[:40], seconds, seconds / quick)


def _seconds(use: Use, text: str) -> float:
    pattern = use.pattern
    given = text.encode() if isinstance(pattern.pattern, bytes) else text
    start = time.process_time()
    if use.how in {"match", "fullmatch"}:
        getattr(pattern, use.how)(given)
    else:
        for _ in pattern.finditer(given):
            pass
    return time.process_time() - start


if __name__ == "__main__":
    hopeless = 0
    for each in slow_ones():
        hopeless += 1
        print(f"{each.seconds:8.2f} s  x{each.growth:4.1f}  {each.pattern!r}  on {each.text!r}")
    print(f"{len(uses())} patterns, {len(list(hostile_texts(1)))} texts of {SIZE:,} characters: {hopeless} too slow")
    sys.exit(bool(hopeless))
