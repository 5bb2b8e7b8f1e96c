"""The table of plain command lines, ``logsh_cli/commands/__init__.py``, which ``logsh_cli/argv.py`` reads.

Python text: its bytecode is read faster than JSON or any other form, and the package has to be loaded anyway.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import typer.main

from logsh_cli.help.usage import Declared, declared
from logsh_cli.parser import COMMANDS, HIDDEN, build_app

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = '''\
"""One module a command: parse, act, show. No rules of the business live here.

Below is the command line as ``argv.py`` reads it, made by ``python -m completions``: change the commands, not this.
"""

from __future__ import annotations

# fmt: off
PLAIN: dict[
    tuple[str, ...],
    tuple[str, str, bool, tuple[tuple[str | int | None, ...], ...], dict[str, tuple[str | int | None, ...]]],
] = {
'''
_TAIL = '''\
}
"""For each command its module, its function, whether options may follow arguments, the arguments (name, how many, kind,
limits) and the options (name, kind, limits). What has another kind, or may do more than give a value, is left out."""
'''
_KINDS = {str: "text", int: "int", float: "float"}

_WIDTH = 120
_JOINED = "\0"
"""A blank at which no line is broken."""


def module() -> str:
    """The whole module."""
    root = typer.main.get_command(build_app((*COMMANDS, *HIDDEN)))
    return _HEAD + "".join(_entry(path, command) for path, command in _walk(root, ())) + _TAIL


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*path, name))


def _entry(path: tuple[str, ...], command: Any) -> str:
    kinds = {param.name: _kind(declared(command, param.name)) for param in command.params}
    arguments = tuple(_argument(param, kinds) for param in command.params if param.param_type_name == "argument")
    options = [rule for param in command.params if param.param_type_name == "option" for rule in _option(param, kinds)]
    if None in arguments or path == ("help",):  # which asks Typer for what it prints
        return ""
    interspersed = command.context_settings.get("allow_interspersed_args", True)
    module = command.callback.__module__.rpartition(".")[2]
    head = f"{_python(path)}:{_JOINED}({_python(module)}, {_python(command.callback.__name__)}, {interspersed},"
    rows = ", ".join(f"{_python(name)}:{_JOINED}{_python(rule)}" for name, rule in sorted(options))
    lines = textwrap.wrap(
        f"{head} {_python(arguments)}, {{{rows}}}),",
        _WIDTH,
        initial_indent=" " * 4,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_JOINED, " ") + "\n"


def _python(value: object) -> str:
    """A literal in which no line is broken."""
    return repr(value).replace("'", '"').replace(" ", _JOINED)


def _option(param: Any, kinds: dict[str, tuple[Any, ...] | None]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    kind = kinds[param.name]
    if param.callback or param.envvar or param.is_eager or param.nargs != 1:
        return
    if param.is_flag:
        yield from ((name, (param.name, "on")) for name in param.opts)
        yield from ((name, (param.name, "off")) for name in param.secondary_opts)
    elif kind and not param.multiple:
        yield from ((name, (param.name, *kind)) for name in param.opts)
    elif kind == ("text",):
        yield from ((name, (param.name, "texts")) for name in param.opts)


def _argument(param: Any, kinds: dict[str, tuple[Any, ...] | None]) -> tuple[Any, ...] | None:
    kind = kinds[param.name]
    count = "*" if param.nargs == -1 else "1" if param.required else "?"
    return None if kind is None or param.callback or param.nargs not in (1, -1) else (param.name, count, *kind)


def _kind(value: Declared) -> tuple[Any, ...] | None:
    if value.choices:
        return ("choice", *value.choices)
    if value.type not in _KINDS:
        return None
    return (_KINDS[value.type], *(value.limits if any(limit is not None for limit in value.limits) else ()))
