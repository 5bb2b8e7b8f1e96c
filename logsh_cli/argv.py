"""Plain command lines, read without Typer, whose import is most of what a short command costs.

This is an accelerator, not a second command line: the table of ``logsh_cli.commands`` is made from what Typer is told,
and whatever that doesn't settle (help, a misspelled option, a value out of range) is left to Typer, whole.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from logsh_cli.commands import PLAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logsh_cli.app import AppContext


class Context:
    """What a command is given in place of ``typer.Context``, of which commands use ``obj`` alone."""

    __slots__ = ("obj",)

    def __init__(self, obj: AppContext) -> None:
        self.obj = obj


def run(argv: Sequence[str], context: AppContext) -> int | None:
    """Run a plain command line and return its exit code; ``None``, and nothing done, when it takes Typer to read it."""
    plain = read(argv)
    if plain is None:
        return None
    module, function, given = plain
    return int(getattr(import_module(f"logsh_cli.commands.{module}"), function)(Context(context), **given) or 0)


def read(argv: Sequence[str]) -> tuple[str, str, dict[str, Any]] | None:
    """The module and the function that serve a plain command line, and the arguments that are given in it."""
    depth = 1 if tuple(argv[:1]) in PLAIN else 2
    command = PLAIN.get(tuple(argv[:depth]))
    if command is None:
        return None
    module, function, interspersed, places, options = command
    try:
        given, others = _read_options([*argv[depth:]], options, interspersed=interspersed)
        given.update(_read_arguments(others, places))
    except (KeyError, IndexError, ValueError):  # an unknown option, a missing value, one that doesn't fit
        return None
    return module, function, given


def _read_options(
    words: list[str], options: dict[str, tuple[Any, ...]], *, interspersed: bool
) -> tuple[dict[str, Any], list[str]]:
    """What the options say, and the other words; unless interspersed, no option follows the first of those."""
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
        dest, kind, *limits = options[name]
        if kind in ("on", "off"):
            if attached:
                words.append(_other_letters(value, is_long=is_long))
            given[dest] = kind == "on"
        elif kind == "texts":
            given.setdefault(dest, []).append(value if attached else words.pop())
        else:
            given[dest] = _converted(value if attached else words.pop(), kind, limits)
    return given, [*others, *reversed(words)]


def _other_letters(value: str, *, is_long: bool) -> str:
    """``-v`` for what follows the ``q`` of ``-qv``."""
    if is_long or value.startswith("-"):
        raise ValueError
    return f"-{value}"


def _read_arguments(words: list[str], places: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Put each word in its place: one that must be there, one that may be (``?``), or any number of them (``*``)."""
    given: dict[str, Any] = {}
    for dest, count, kind, *limits in places:
        if count == "*" and words:
            given[dest] = [_converted(word, kind, limits) for word in words]
            words = []
        elif words or count == "1":
            given[dest] = _converted(words[0], kind, limits)
            words = words[1:]
    if words:
        raise ValueError
    return given


def _converted(text: str, kind: str, limits: Sequence[Any]) -> Any:
    if kind == "choice" and text not in limits:
        raise ValueError
    if kind in ("text", "choice"):
        return text
    digits = text.replace(".", "", 1) if kind == "float" else text
    if not (digits.isascii() and digits.isdigit()):  # versions of Typer differ in what else is a number
        raise ValueError
    number = int(text) if kind == "int" else float(text)
    low, high = limits or (None, None)
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError
    return number
