"""The completion script for zsh: one function a command, in the terms of ``_arguments``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from completions.bash import PROFILE_NAMES
from completions.tree import SHORTCODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from completions.tree import Command, Option, Values


def script(tree: Command) -> str:
    """The whole script, to be autoloaded as ``_logsh`` or to be sourced after ``compinit``."""
    functions = "\n".join(line for command in tree.walk() for line in _function(command))
    emoji = "\n".join(f"    {_quoted(f'{_escaped(name)}:{icon}')}" for name, icon in SHORTCODES.items())
    script = SCRIPT.replace("@FUNCTIONS@", functions).replace("@EMOJI@", emoji)
    return script.replace("@PROFILE_NAMES@", PROFILE_NAMES)


def _function(command: Command) -> Iterable[str]:
    yield f"{_name(command)}() {{"
    if command.commands:
        yield from _group(command)
    else:
        # After the first argument of a command line, no option is logsh's own.
        stop = "" if command.interspersed else " -A '-*'"
        yield _join([f"  _arguments -s -S{stop}", *_options(command), *_arguments(command)])
    yield "}"
    yield ""


def _group(command: Command) -> Iterable[str]:
    yield "  local context state state_descr line ret=1 curcontext=$curcontext"
    yield "  local -A opt_args"
    yield "  local -a subcommands=("
    for below in command.commands:
        yield f"    {_quoted(below.path[-1] + ':' + below.summary.rstrip('.'))}"
    yield "  )"
    arguments = ["'1: :->command'", "'*:: :->rest'"]
    yield _join(["  _arguments -C -s -S -A '-*'", *_options(command), *arguments]) + " && ret=0"
    yield "  case $state in"
    yield f"    command) _describe -t commands {_quoted(' '.join(command.path) + ' command')} subcommands && ret=0 ;;"
    yield "    rest)"
    yield f"      curcontext=${{curcontext%:*}}:{'-'.join(command.path)}-$words[1]:"
    yield "      case $words[1] in"
    for below in command.commands:
        yield f"        {below.path[-1]}) {_name(below)} && ret=0 ;;"
    yield "      esac"
    yield "      ;;"
    yield "  esac"
    yield "  return ret"


def _name(command: Command) -> str:
    return "_logsh" if len(command.path) == 1 else "_".join(("_logsh", "command", *command.path[1:]))


def _join(parts: list[str]) -> str:
    return " \\\n    ".join(parts)


def _options(command: Command) -> Iterable[str]:
    for option in command.options:
        yield from _option(option)


def _option(option: Option) -> Iterable[str]:
    others = "(- : *)" if option.ends else f"({' '.join(option.all_names)})"
    excluded = _quoted("*" if option.repeatable else others)
    words = f"[{_escaped(option.words, '[]')}]"
    if option.values is None:
        for names in (option.names, option.off):
            if names:
                yield f"{excluded}{_braced(names)}{_quoted(words)}"
        return
    # -n takes its value in the same word or in the next one, --name after = or in the next one.
    names = tuple(f"{name}=" if name.startswith("--") else f"{name}+" for name in option.names)
    message = f":{_escaped(option.values.label)}:{_action(option.values)}"
    yield f"{excluded}{_braced(names)}{_quoted(words + message)}"


def _arguments(command: Command) -> Iterable[str]:
    for number, argument in enumerate(command.arguments, 1):
        if argument.values.kind == "command":
            # The blank before the action keeps _arguments from adding words of its own to it.
            yield "'(-)1:command: _command_names -e'"
            yield "'*::argument:_logsh_command_line'"
        else:
            place = "*" if argument.many else str(number)
            yield _quoted(f"{place}:{_escaped(argument.values.label)}:{_action(argument.values)}")


def _action(values: Values) -> str:
    if values.kind == "words":
        return f"({' '.join(values.words)})"
    actions = {"files": "_files", "profiles": "_logsh_profiles", "emoji": "_logsh_emoji", "setting": "_logsh_setting"}
    return actions.get(values.kind, " ")


def _braced(names: tuple[str, ...]) -> str:
    return f"{{{','.join(names)}}}" if len(names) > 1 else names[0]


def _escaped(text: str, also: str = "") -> str:
    for character in "\\:" + also:
        text = text.replace(character, "\\" + character)
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


SCRIPT = r"""#compdef logsh
# zsh completion for logsh; starts no Python.
# Made from the commands themselves by `python -m completions`: change those, not this file.

@PROFILE_NAMES@

_logsh_profiles() {
  local -a profiles=(${(f)"$(_logsh_profile_names)"})
  local expl
  _wanted profiles expl profile compadd -a profiles
}

_logsh_emoji() {
  local -a shortcodes=(
@EMOJI@
  )
  _describe -t emoji 'emoji shortcode' shortcodes
}

# The value of the configuration key before it.
_logsh_setting() {
  case ${words[(r)(ca_file|icon|notify)]} in
    ca_file) _files ;;
    icon) _logsh_emoji ;;
    notify) local expl; _wanted values expl value compadd true false ;;
    *) _message value ;;
  esac
}

# A command of the user's, as if it stood alone. Where no option comes first, the -- is still among the words.
_logsh_command_line() {
  if [[ $words[1] == -- ]]; then
    shift words
    (( CURRENT-- ))
  fi
  _normal
}

@FUNCTIONS@
# Autoloaded, this file is the body of the function; sourced, it introduces the function.
if [[ $funcstack[1] == _logsh ]]; then
  _logsh "$@"
elif (( $+functions[compdef] )); then
  compdef _logsh logsh
else
  print -u2 'logsh: completion needs compinit first: autoload -Uz compinit && compinit'
fi
"""
