"""The command line as plain values: what completions and the manual are made from. Read off the Typer application."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import emoji
import typer
import typer.main

from logsh_cli.config.edit import SET_ELSEWHERE
from logsh_cli.config.files import KEYS
from logsh_cli.help import TOPICS
from logsh_cli.help.layout import record, sectioned
from logsh_cli.help.usage import declared
from logsh_cli.parser import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTCODES = {
    f":{name}:": emoji.emojize(f":{name}:", language="alias")
    for name in """
    rocket tada sparkles fire zap bulb bell mega email package gear wrench hammer lock key link mag bug robot computer
    floppy_disk file_cabinet chart_with_upwards_trend chart_with_downwards_trend moneybag credit_card bust_in_silhouette
    busts_in_silhouette white_check_mark x warning rotating_light no_entry construction hourglass alarm_clock calendar
    recycle wastebasket globe_with_meridians cloud seedling green_circle red_circle pushpin memo heart wave eyes
    """.split()  # noqa: SIM905 - the formatter would make fifty lines of a list
}
"""Icons that events often carry. The whole list would bury them."""

_BRACKETED = re.compile(r"\s*\[[^]]*\]")


class Values(NamedTuple):
    """The values that may follow an option or stand as an argument.

    ``kind`` is ``text``, ``words`` (one of ``words``), ``files``, ``profiles``, ``emoji``, ``setting`` (a value of the
    configuration key before it) or ``command`` (a command line of its own). ``label`` is what the help calls it.
    """

    kind: str
    words: tuple[str, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        """As the tables of bash and PowerShell have it: the kind, then the words."""
        return " ".join((self.kind, *self.words))


class Option(NamedTuple):
    """One option. ``names`` mean the same, ``off`` its opposite; ``values`` is ``None`` for a flag."""

    names: tuple[str, ...]
    off: tuple[str, ...]
    values: Values | None
    repeatable: bool
    ends: bool
    words: str

    @property
    def all_names(self) -> tuple[str, ...]:
        """Every spelling, of which one is enough unless it is repeatable."""
        return self.names + self.off

    def __str__(self) -> str:
        """As the tables have it: the names, with a star where it may be repeated, then what follows them."""
        return f"{'*' if self.repeatable else ''}{' '.join(self.all_names)}|{self.values or ''}"


class Argument(NamedTuple):
    """One argument; ``many`` when the rest of the line is of its kind."""

    values: Values
    many: bool

    def __str__(self) -> str:
        """As the tables have it: what it is, with a star where the rest of the line is of this kind."""
        return f"{'*' if self.many else ''}{self.values}"


class Command(NamedTuple):
    """A command or a group of them.

    ``path`` begins with ``logsh``; ``text`` is the help as its author wrote it; ``sections`` are headings with rows of
    names and sentences, as ``--help`` has them; ``interspersed`` is whether options may follow arguments.
    """

    path: tuple[str, ...]
    summary: str
    text: str
    usage: str
    interspersed: bool
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    sections: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    commands: tuple[Command, ...]

    @property
    def words(self) -> str:
        """The summary as shells show it."""
        return self.summary.rstrip(".")

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def read_tree(app: typer.Typer) -> Command:
    """Everything that the application offers; what is hidden is left out."""
    return _command(typer.main.get_command(app), "logsh", None)


def _command(command: Any, name: str, parent: typer.Context | None) -> Command:
    ctx = typer.Context(command, info_name=name, parent=parent, **command.context_settings)
    path = (*(parent.command_path.split() if parent else ()), name)
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    return Command(
        path=path,
        summary=command.get_short_help_str(limit=200),
        text=inspect.cleandoc(command.help or ""),
        usage=" ".join((*path, *command.collect_usage_pieces(ctx))),
        interspersed=ctx.allow_interspersed_args,
        options=tuple(_option(param, command, ctx) for param in params if param.param_type_name == "option"),
        arguments=tuple(
            Argument(_values(param, command, path), many=param.nargs == -1)
            for param in params
            if param.param_type_name == "argument"
        ),
        sections=tuple((heading, tuple(rows)) for heading, rows in sectioned(params, ctx)),
        commands=tuple(
            _command(command.commands[label], label, ctx)
            for label in (command.list_commands(ctx) if hasattr(command, "commands") else ())
            if not command.commands[label].hidden
        ),
    )


def _option(param: Any, command: Any, ctx: Any) -> Option:
    _, words = record(param, ctx) or ("", "")
    return Option(
        # Short ones first. Typer gives those of --help in an order that changes from run to run.
        names=tuple(sorted(param.opts, key=lambda name: name.startswith("--"))),
        off=tuple(param.secondary_opts),
        values=None if param.is_flag else _values(param, command, ()),
        repeatable=bool(param.multiple),
        ends=param.is_eager,
        words=_BRACKETED.sub("", words).rstrip("."),
    )


def _values(param: Any, command: Any, path: tuple[str, ...]) -> Values:
    label = param.metavar or str(param.name).upper()
    if choices := declared(command, param.name).choices:
        return Values("words", choices, label)
    if param.param_type_name == "argument" and param.name == "key":
        return Values("words", _keys_for(path), label)
    if param.param_type_name == "argument" and param.name == "subject":
        return Values("words", (*COMMANDS, *TOPICS), label)
    kinds = {"profile": "profiles", "file": "files", "command": "command", "value": "setting"}
    kind = "emoji" if label == "EMOJI" else kinds.get(param.name, "text")
    return Values(kind, (), label)


def _keys_for(path: tuple[str, ...]) -> tuple[str, ...]:
    if path[-1] == "get":
        return (*KEYS, *SET_ELSEWHERE)
    # A key in the arguments is one in the shell's history: `config set` refuses it.
    return tuple(key for key in KEYS if (path[-1], key) != ("set", "api_key"))
