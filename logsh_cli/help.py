"""How ``--help`` lists options: long lists under headings, short ones as they come.

The headings are the ``rich_help_panel`` of the options. Typer itself heeds it only where rich draws the help, and rich
costs more than everything else that a run imports before httpx.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import typer

ALL, OTHER = "Options", "Other"
"""The heading of a short list, and in a long one that of options which name none, such as ``--help``; it comes last."""

SHORT_LIST = 10
"""Up to so many options are read faster as one list than under headings."""

WIDEST_NAME = 30
"""Columns for an option's names; the sentence of one with longer names starts on the next line."""

_RANGE = re.compile(r"(\d+)<=x<=(\d+)")


def described(sentence: str, *examples: str) -> str:
    """A command's help: what it does, and command lines to start from, each kept on a line of its own."""
    return "\n  ".join((f"{sentence}\n\n\b", *examples))


class Command(TyperCommand):
    """A command whose help lists its options under headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; the sentences of all of them start in the same column."""
        sections = list(sectioned(self.get_params(ctx), ctx))
        width = min(max((len(name) for _, rows in sections for name, _ in rows), default=0), WIDEST_NAME)
        for heading, rows in sections:
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), words) for name, words in rows], col_max=WIDEST_NAME)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line. Typer puts required arguments in braces, which manuals keep for choices."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


def group_in_order(names: Sequence[str]) -> type[TyperGroup]:
    """A group whose help lists its commands in this order; Typer puts commands first, groups of them last."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            known = super().list_commands(ctx)
            return [name for name in names if name in known]

    return Group


def arrange(app: typer.Typer) -> None:
    """Make this the help of every command of the application, in groups too, that has no class of its own."""
    for command in app.registered_commands:
        if command.cls in (None, TyperCommand):
            command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            arrange(group.typer_instance)


def sectioned(params: Iterable[Any], ctx: Any) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """The headings in their order, each with rows of a parameter's names and its sentence."""
    arguments: list[tuple[str, str]] = []
    options: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        if (row := record(param, ctx)) is None:
            continue
        if param.param_type_name == "argument":
            arguments.append(row)
        else:
            options.setdefault(getattr(param, "rich_help_panel", None) or OTHER, []).append(row)
    if arguments:
        yield "Arguments", arguments
    if sum(map(len, options.values())) <= SHORT_LIST:
        options = {ALL: [row for rows in options.values() for row in rows]}
    other = options.pop(OTHER, None)
    yield from options.items()
    if other:
        yield OTHER, other


def record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """A parameter's names and its sentence, as help and manual show them; ``None`` for a hidden one."""
    row = param.get_help_record(ctx)
    return None if row is None else (row[0], _RANGE.sub(r"\1 to \2", row[1]))
