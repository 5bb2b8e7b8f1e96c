"""Plain command lines, read without Typer, whose import is most of what a short command costs.

This is an accelerator, not a second command line: the table ``commands/plain.txt`` is made from what Typer is told,
and whatever that doesn't settle (help, a misspelled option, a value out of range) is left to Typer, whole.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logsh_cli.app import AppContext


def run(argv: Sequence[str], context: AppContext) -> int | None:
    """Run a plain command line and return its exit code; ``None``, and nothing done, when it takes Typer to read it."""
    plain = read(argv)
    if plain is None:
        return None
    module, function, given = plain
    ctx = SimpleNamespace(obj=context)  # all that commands use of a ``typer.Context``
    return int(getattr(import_module(f"logsh_cli.commands.{module}"), function)(ctx, **given))


def read(argv: Sequence[str]) -> tuple[str, str, dict[str, Any]] | None:
    """Return the module and the function that serve a plain command line, and the arguments given in it."""
    found = next(((path, entries) for path, entries in table() if path == [*argv[: len(path)]]), None)
    if found is None:
        return None
    path, entries = found
    head, *rows = entries.split(", ")
    module, function, place = head.split()
    rules = [row.split() for row in rows]
    options = {name: (dest, kind) for dest, kind, *names in rules for name in names}
    try:
        given, others = _read_options([*argv[len(path) :]], options, interspersed=place == "any")
        given.update(_read_arguments(others, [rule for rule in rules if rule[2] in "1?*"]))
    except (KeyError, IndexError, ValueError):  # an unknown option, a missing value, one that doesn't fit
        return None
    return module, function, given


def table() -> Iterator[tuple[list[str], str]]:
    """Yield the words of each command and what it takes, as ``completions/plain.py`` describes it."""
    loader: Any = __spec__.loader  # which knows a zip archive too
    data: bytes = loader.get_data(os.path.join(os.path.dirname(__file__), "commands", "plain.txt"))  # noqa: PTH118, PTH120 - pathlib costs more than all of this
    for line in data.decode().splitlines():
        words, _, entries = line.partition(": ")
        yield words.split(), entries


def _read_options(
    words: list[str], options: dict[str, tuple[str, str]], *, interspersed: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return what the options say, and the other words; unless interspersed, no option follows the first of those."""
    given: dict[str, Any] = {}
    others: list[str] = []
    words.reverse()
    while words:
        word = words.pop()
        if word == "--":
            break
        if word[:1] != "-" or word == "-":
            others.append(word)
            if not interspersed:
                break
            continue
        is_long = word.startswith("--")
        name, attached, value = word.partition("=") if is_long else (word[:2], word[2:], word[2:])
        dest, kind = options[name]
        if kind in ("on", "off"):
            if attached and (is_long or value.startswith("-")):
                raise ValueError
            if attached:
                words.append(f"-{value}")  # the other letters of ``-qv``
            given[dest] = kind == "on"
        elif kind == "texts":
            given.setdefault(dest, []).append(value if attached else words.pop())
        else:
            given[dest] = _converted(value if attached else words.pop(), kind)
    return given, [*others, *reversed(words)]


def _read_arguments(words: list[str], places: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Put each word in its place: one that must be there, one that may be (``?``), or any number of them (``*``)."""
    given: dict[str, Any] = {}
    for dest, kind, count in places:
        if count == "*" and words:
            given[dest] = [_converted(word, kind) for word in words]
            words = []
        elif words or count == "1":
            given[dest] = _converted(words[0], kind)
            words = words[1:]
    if words:
        raise ValueError
    return given


def _converted(text: str, kind: str) -> Any:
    kind, *limits = kind.split(":")
    if kind == "choice" and text not in limits:
        raise ValueError
    if kind in ("text", "choice"):
        return text
    digits = text.replace(".", "", 1) if kind == "float" else text
    if not (digits.isascii() and digits.isdigit()):  # versions of Typer differ in what else is a number
        raise ValueError
    number = int(text) if kind == "int" else float(text)
    low, high = limits or ("", "")
    if (low and number < int(low)) or (high and number > int(high)):
        raise ValueError
    return number
