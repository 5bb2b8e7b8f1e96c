"""The look of ``--help``: options under headings, commands in groups, rarely used options by name alone.

The headings are the ``rich_help_panel`` of the options, which Typer itself heeds only where rich draws the help, and
rich is too slow to load for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from logsh_cli.help import usage
from logsh_cli.options import ADVANCED, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

ARGUMENTS, ALL = "Arguments", "Options"
"""The headings of arguments, and of a short list of options."""

SHORT_LIST = 10
"""Up to so many options are read faster as one list than under headings."""

WIDEST_NAME = 30
"""Columns for an option's names; the sentence of one with longer names starts on the next line."""

WHOLE = "logsh.whole_help"
"""Set in a context's ``meta`` where rarely used options are to be explained as well."""

_RANGE = re.compile(r"(?<!\d)(\d+)<=x<=(\d+)")
_HEADING = re.compile(r"^(Usage|[A-Z][A-Za-z ]*):(?=$| logsh)", re.MULTILINE)
_ROW = re.compile(r"^  ((?:-|[a-z]+ )\S*(?: \S+)*?)(?=  |$)", re.MULTILINE)


class ArrangedCommand(TyperCommand):
    """A command whose help has headings, and whose complaints are worded by us."""

    allow_extra_args = True
    """So that it is us who complain of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the command line apart. Raises ``UsageError`` when it can't be understood."""
        given = [*args]
        try:
            rest = super().parse_args(ctx, args)
        except typer.TyperException as error:
            raise usage.complaint(error, ctx, given) from None
        if rest:
            raise usage.too_many(ctx, rest)
        return rest

    def get_help(self, ctx: Any) -> str:
        """The help, coloured where standard output can show it."""
        return coloured(super().get_help(ctx), ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; the sentences of all of them start in the same column."""
        sections = list(sectioned(self.get_params(ctx), ctx))
        width = min(max((len(name) for _, rows in sections for name, _ in rows), default=0), WIDEST_NAME)
        for heading, rows in sections:
            with formatter.section(heading):
                if heading == ADVANCED and WHOLE not in ctx.meta:
                    names = ", ".join(name.split()[0] for name, _ in rows)
                    path = " ".join(ctx.command_path.split()[1:])
                    formatter.write_text(f"{names} (see `logsh help {path}`)")
                else:
                    formatter.write_dl([(name.ljust(width), words) for name, words in rows], col_max=WIDEST_NAME)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line; around our words for arguments, each version of Typer puts marks of its own."""
        arguments = (param for param in self.get_params(ctx) if param.param_type_name == "argument")
        return [str(self.options_metavar), *(str(param.metavar) for param in arguments)]


class ArrangedGroup(TyperGroup):
    """A group of commands, which stand in the order in which they were added, under headings or one."""

    headings: Mapping[str, Collection[str]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the group's own options.

        Raises:
            UsageError: they can't be understood.
            typer.TyperException: there is nothing; the help is the message.
        """
        if not args:
            raise typer.TyperException(coloured(super().get_help(ctx), ctx, "stderr"))
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            raise usage.complaint(error, ctx, args, self.commands) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is named. Raises ``UsageError`` when there is none of that name."""
        if args and args[0] not in self.commands:
            raise usage.no_such_command(ctx, args, self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """The help, coloured where standard output can show it."""
        return coloured(super().get_help(ctx), ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in order; Typer would put groups last."""
        order = [name for names in self.headings.values() for name in names]
        return sorted(
            super().list_commands(ctx), key=lambda name: (name not in order, name in order and order.index(name))
        )

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings, all sentences starting in the same column."""
        shown = {name: self.commands[name] for name in self.list_commands(ctx) if not self.commands[name].hidden}
        width = max(map(len, shown), default=0)
        for heading, names in (self.headings or {"Commands": tuple(shown)}).items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(width), shown[name].get_short_help_str(200)) for name in names if name in shown]
                )


def coloured(text: str, ctx: Any, stream: str = "stdout") -> str:
    """The help with headings and names standing out, if the stream is a terminal that shows colours."""
    streams = getattr(ctx.find_root().obj, "streams", None)
    if streams is None or not streams.is_rich(getattr(streams, stream)) or streams.env.get("NO_COLOR"):
        return text
    ctx.color = True  # or Typer takes the colours away again where FORCE_COLOR asked for them
    text = _ROW.sub(lambda found: f"  {typer.style(found[1], fg='cyan')}", text)
    return _HEADING.sub(lambda found: typer.style(found[0], bold=True), text)


def sectioned(params: Iterable[Any], ctx: Any) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """The headings in their order, each with rows of a parameter's names and its sentence."""
    sections: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
    for param in params:
        if (row := record(param, ctx)) is not None:
            is_argument = param.param_type_name == "argument"
            heading = ARGUMENTS if is_argument else getattr(param, "rich_help_panel", None) or OUTPUT
            sections.setdefault(heading, []).append(row)
    arguments, rare = sections.pop(ARGUMENTS), sections.pop(ADVANCED, [])
    if sum(map(len, sections.values())) <= SHORT_LIST and not rare:
        sections = {ALL: [row for rows in sections.values() for row in rows]}
    for rows in sections.values():
        rows.sort(key=lambda row: "--help" in row[0])
    shown = {ARGUMENTS: arguments, **sections, ADVANCED: rare}
    yield from ((heading, rows) for heading, rows in shown.items() if rows)


def record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """A parameter's names and its sentence, as help and manual show them; ``None`` for a hidden one."""
    row = param.get_help_record(ctx)
    if row is None:
        return None
    words = _RANGE.sub(r"\1 to \2", row[1]).replace("  [x>=0]", "")
    return (param.metavar if param.param_type_name == "argument" else row[0], words)
