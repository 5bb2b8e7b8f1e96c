"""The completion scripts: for each shell an engine, in ``engines/``, and the command tree in the terms of that shell.

The engines of bash and PowerShell walk a table of options ("names|what follows them", a star before what may be
repeated) and arguments; zsh has one function a command, for its ``_arguments``; fish one ``complete`` a name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from completions.tree import SHORTCODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from completions.tree import Command, Option, Values

_ENGINES = Path(__file__).with_name("engines")


def _engine(name: str, **parts: Iterable[str]) -> str:
    """The engine with ``@NAME@`` replaced by the lines of that part."""
    script = (_ENGINES / name).read_text("utf-8")
    for part, lines in parts.items():
        script = script.replace(f"@{part.upper()}@", "\n".join(lines))
    return script


def _profile_names() -> list[str]:
    """The function of bash and zsh that reads the names of profiles."""
    return (_ENGINES / "profile_names.sh").read_text("utf-8").splitlines()


def bash(tree: Command) -> str:
    """The script for bash; 3.2, which macOS has, must be able to read it."""
    cases = (line for command in tree.walk() for line in _case(command))
    return _engine("logsh.bash", cases=cases, shortcodes=[" ".join(SHORTCODES)], profile_names=_profile_names())


def _case(command: Command) -> Iterable[str]:
    yield f"    '{' '.join(command.path)}')"
    if command.commands:
        yield f"        commands='{' '.join(below.path[-1] for below in command.commands)}'"
    yield "        options=("
    yield from (f"            '{option}'" for option in command.options)
    yield "        )"
    if command.arguments:
        kinds = " ".join(f"'{argument}'" for argument in command.arguments)
        yield f"        arguments=({kinds})"
    yield "        ;;"


def powershell(tree: Command) -> str:
    """The script for Windows PowerShell 5.1 and later. ASCII alone: 5.1 reads files in the ANSI code page."""
    table = (line for command in tree.walk() for line in _entry(command))
    return _engine("logsh.ps1", table=table, shortcodes=[" ".join(SHORTCODES)])


def _entry(command: Command) -> Iterable[str]:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    yield f"        {quoted(' '.join(command.path))} = @{{"
    yield f"            Launches = ${str(not (command.commands or command.interspersed)).lower()}"
    yield "            Commands = @("
    yield from (f"                {quoted(f'{below.path[-1]}|{below.words}')}" for below in command.commands)
    yield "            )"
    yield "            Options = @("
    yield from (f"                {quoted(f'{option}|{option.words}')}" for option in command.options)
    yield "            )"
    yield f"            Arguments = @({', '.join(quoted(str(argument)) for argument in command.arguments)})"
    yield "        }"


def fish(tree: Command) -> str:
    """The script for fish 3.0 and later."""
    commands = list(tree.walk())
    valued = sorted({name for one in commands for option in one.options if option.values for name in option.names})
    return _engine(
        "logsh.fish",
        groups=[" ".join(_fish_quoted(_place(one)) for one in commands if one.commands)],
        launchers=[" ".join(_fish_quoted(_place(one)) for one in commands if not (one.commands or one.interspersed))],
        lines=(line for command in commands for line in _completes(command)),
        valued=[" ".join(valued)],
        emoji=[" ".join(_fish_quoted(f"{name}\t{icon}") for name, icon in SHORTCODES.items())],
    )


def _place(command: Command) -> str:
    return " ".join(command.path[1:])


def _completes(command: Command) -> Iterable[str]:
    place = _fish_quoted(_place(command))

    def complete(condition: str, rest: str) -> str:
        return f"complete -c logsh -n {_fish_quoted(condition)} {rest}".rstrip()

    yield f"\n# {' '.join(command.path)}"
    for below in command.commands:
        yield complete(f"__logsh_at {place}", f"-a {below.path[-1]} -d {_fish_quoted(below.words)}")
    for number, argument in enumerate(command.arguments):
        yield complete(f"__logsh_at {place}" + ("" if argument.many else f" {number}"), _fish_values(argument.values))
    for option in command.options:
        condition = f"__logsh_takes {place}" + ("" if option.repeatable else f" {' '.join(option.all_names)}")
        values = "" if option.values is None else " " + _fish_values(option.values, required=True)
        for names in filter(None, (option.names, option.off)):
            spelled = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in names)
            yield complete(condition, f"{spelled}{values} -d {_fish_quoted(option.words)}")


def _fish_values(values: Values, *, required: bool = False) -> str:
    if values.kind == "files":
        return "-r -F" if required else "-F"
    called = values.kind in ("profiles", "emoji", "setting", "command")
    offered = f"(__logsh_{values.kind})" if called else " ".join(values.words)
    words = f"-a {_fish_quoted(offered)}" if offered else ""
    return f"-x {words}".rstrip() if required else words


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def zsh(tree: Command) -> str:
    """The script for zsh, to be autoloaded as ``_logsh`` or to be sourced after ``compinit``."""
    functions = (line for command in tree.walk() for line in _function(command))
    emoji = (f"    {_zsh_quoted(f'{_escaped(name)}:{icon}')}" for name, icon in SHORTCODES.items())
    return _engine("_logsh", functions=functions, emoji=emoji, profile_names=_profile_names())


def _function(command: Command) -> Iterable[str]:
    options = [line for option in command.options for line in _zsh_option(option)]
    yield f"{_name(command)}() {{"
    if command.commands:
        yield from _group(command, options)
    else:
        # After the first argument of a command line, no option is logsh's own.
        stop = "" if command.interspersed else " -A '-*'"
        yield _join([f"  _arguments -s -S{stop}", *options, *_zsh_arguments(command)])
    yield "}\n"


def _group(command: Command, options: list[str]) -> Iterable[str]:
    yield "  local context state state_descr line ret=1 curcontext=$curcontext"
    yield "  local -A opt_args"
    yield "  local -a subcommands=("
    yield from (f"    {_zsh_quoted(f'{below.path[-1]}:{below.words}')}" for below in command.commands)
    yield "  )"
    yield _join(["  _arguments -C -s -S -A '-*'", *options, "'1: :->command'", "'*:: :->rest'"]) + " && ret=0"
    yield "  case $state in"
    described = _zsh_quoted(f"{' '.join(command.path)} command")
    yield f"    command) _describe -t commands {described} subcommands && ret=0 ;;"
    yield "    rest)"
    yield f"      curcontext=${{curcontext%:*}}:{'-'.join(command.path)}-$words[1]:"
    yield "      case $words[1] in"
    yield from (f"        {below.path[-1]}) {_name(below)} && ret=0 ;;" for below in command.commands)
    yield "      esac\n      ;;\n  esac\n  return ret"


def _name(command: Command) -> str:
    return "_".join(("_logsh", "command", *command.path[1:])) if command.path[1:] else "_logsh"


def _join(parts: list[str]) -> str:
    return " \\\n    ".join(parts)


def _zsh_option(option: Option) -> Iterable[str]:
    others = "(- : *)" if option.ends else f"({' '.join(option.all_names)})"
    excluded = _zsh_quoted("*" if option.repeatable else others)
    words = f"[{_escaped(option.words, '[]')}]"
    spellings = [option.names, option.off]
    if option.values is not None:
        # -n takes its value in the same word or in the next one, --name after = or in the next one.
        spellings = [tuple(f"{name}=" if name.startswith("--") else f"{name}+" for name in option.names)]
        words += f":{_escaped(option.values.label)}:{_action(option.values)}"
    for names in filter(None, spellings):
        braced = f"{{{','.join(names)}}}" if len(names) > 1 else names[0]
        yield f"{excluded}{braced}{_zsh_quoted(words)}"


def _zsh_arguments(command: Command) -> Iterable[str]:
    for number, argument in enumerate(command.arguments, 1):
        if argument.values.kind == "command":
            # The blank before the action keeps _arguments from adding words of its own to it.
            yield "'(-)1:command: _command_names -e'"
            yield "'*::argument:_logsh_command_line'"
        else:
            place = "*" if argument.many else str(number)
            yield _zsh_quoted(f"{place}:{_escaped(argument.values.label)}:{_action(argument.values)}")


def _action(values: Values) -> str:
    if values.kind == "words":
        return f"({' '.join(values.words)})"
    actions = {"files": "_files", "profiles": "_logsh_profiles", "emoji": "_logsh_emoji", "setting": "_logsh_setting"}
    return actions.get(values.kind, " ")


def _escaped(text: str, also: str = "") -> str:
    for character in "\\:" + also:
        text = text.replace(character, "\\" + character)
    return text


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
