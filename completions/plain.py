"""The table of plain command lines, ``logsh_cli/commands/plain.txt``, which ``logsh_cli/argv.py`` reads.

A line for each command: its words, its module and function, and whether options may follow arguments (``any``) or not
(``last``); then what it takes, set off by commas: a parameter, its kind and that one's limits, and the names of the
option, or for an argument ``1``, ``?`` or ``*``: there is one, may be one, may be any number. What has another kind, or
may do more than give a value, is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer.main

from logsh_cli.help.usage import declared
from logsh_cli.parser import COMMANDS, HIDDEN, build_app

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS: dict[object, str] = {str: "text", int: "int", float: "float", bool: "on"}


def table() -> str:
    """The whole table."""
    root = typer.main.get_command(build_app((*COMMANDS, *HIDDEN)))
    return "".join(_line(path, command) for path, command in _walk(root, ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*path, name))


def _line(path: tuple[str, ...], command: Any) -> str:
    rules = [rule for param in command.params for rule in _rules(command, param)]
    described = {rule.split()[0] for rule in rules}
    arguments = {param.name for param in command.params if param.param_type_name == "argument"}
    if not arguments <= described or path == ("help",):  # which asks Typer for what it prints
        return ""
    options_follow = command.context_settings.get("allow_interspersed_args", True)
    module = command.callback.__module__.rpartition(".")[2]
    entries = (f"{module} {command.callback.__name__} {'any' if options_follow else 'last'}", *rules)
    return f"{' '.join(path)}: {', '.join(entries)}\n"


def _rules(command: Any, param: Any) -> Iterator[str]:
    """The entries of a parameter; none for one that does more than give a value."""
    value = declared(command, param.name)
    kind = _KINDS.get(value.type)
    if value.choices:
        kind = ":".join(("choice", *value.choices))
    elif any(limit is not None for limit in value.limits):
        kind = ":".join((str(kind), *("" if limit is None else str(limit) for limit in value.limits)))
    if kind is None or param.callback or param.envvar or param.is_eager or param.nargs not in (1, -1):
        return
    if param.param_type_name == "argument":
        yield f"{param.name} {kind} {'*' if param.nargs == -1 else '1' if param.required else '?'}"
    elif kind == "text" or not param.multiple:
        yield f"{param.name} {'texts' if param.multiple else kind} {' '.join(param.opts)}"
    if param.secondary_opts:
        yield f"{param.name} off {' '.join(param.secondary_opts)}"
