"""Wrong usage in our own words: every complaint about a command line, and what was meant, if that can be told.

A suggestion that is worse than none is not made: names must be alike, or stand in one of the tables below.
"""

from __future__ import annotations

import inspect
import shlex
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from logsh_cli import Record
from logsh_cli.errors import UsageError
from logsh_cli.output.text import excerpt, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALIKE = 0.7
"""The likeness that two names must have; ``auth`` and ``batch`` are 0.67."""

SHOWN = 3
"""So many of the words that are too many are repeated."""

COMMANDS_MEANT = {
    tuple(words.split()): meant
    for meant, many in {
        '$EDITOR "$(logsh config path)"': "config edit",
        "logsh batch": "import",
        "logsh config list": "settings, whoami, config ls, config show, config view",
        "logsh config set": "config add",
        "logsh config unset": "config remove, config rm",
        "logsh doctor": "auth status, status",
        "logsh login": "auth, auth login, configure, init, setup",
        "logsh logout": "auth logout",
        "logsh outbox drop": "drop, outbox delete, outbox remove, outbox rm",
        "logsh outbox drop --all": "clear, outbox clear",
        "logsh outbox flush": "flush, outbox push, outbox send",
        "logsh outbox list": "list, queue, outbox ls, outbox status",
        "logsh outbox recover": "recover",
        "logsh outbox retry": "retry",
        "logsh outbox show": "show",
        "logsh run": "exec, wrap",
        "logsh sandbox": "serve, server",
        "logsh send": "event, log, notify, push",
    }.items()
    for words in many.split(", ")
}
"""Words after ``logsh`` that people type who know another tool."""

OPTIONS_MEANT = {
    name: meant
    for meant, names in {
        "--desc": "--body --message --msg --text",
        "--event": "--name --title",
        "--icon": "--emoji",
        "--meta": "--tag",
        "--notify": "--push",
        "--quiet": "--silent",
        "--workspace": "--channel --project",
    }.items()
    for name in names.split()
}
"""The same for options, where the command has the one that was meant."""

_DEST = {"-e": "event", "-d": "desc"}
_KEY_OPTIONS = ("--api-key", "--key", "--token", "--api-token", "--apikey")
_VISIBLE_KEY = "a key on a command line can be read by every user of the machine"


class Declared(Record):
    """A value as the command's signature declares it."""

    type: object
    choices: tuple[str, ...]
    limits: tuple[int | None, int | None]


def declared(command: Any, name: str) -> Declared:
    """Look a parameter up in the signature; every version of Typer keeps its type elsewhere.

    The type that counts is the one in a list, or beside ``None``.
    """
    annotation, info = get_args(inspect.signature(command.callback).parameters[name].annotation)
    while get_origin(annotation) is not Literal and get_args(annotation):
        (annotation,) = (type_ for type_ in get_args(annotation) if type_ is not NoneType)
    return Declared(annotation, tuple(map(str, get_args(annotation))), (info.min, info.max))


def complaint(error: Exception, ctx: Any, args: Sequence[str], commands: Iterable[str] = ()) -> UsageError:
    """Return what Typer found wrong with a command's words, in ours. ``commands`` are those of a group."""
    params = {name: param for param in ctx.command.get_params(ctx) for name in (*param.opts, *param.secondary_opts)}
    name = getattr(error, "option_name", None)
    param = getattr(error, "param", None) or params.get(str(name))
    match type(error).__name__:
        case "NoSuchOption":
            return no_such_option(ctx, str(name), params, commands)
        case "MissingParameter" if param is not None:
            return UsageError(f"{_called(param)} is missing", hint=_usage_line(ctx))
        case "BadParameter" if param is not None:
            rule = declared(ctx.command, param.name)
            message = f"{_called(param)} must be {_rule(rule)}; got {excerpt(_given(ctx, args, param, rule))}"
            return UsageError(message, hint=_see(ctx))
        case "BadOptionUsage" if param is not None and param.is_flag:
            return UsageError(f"{name} takes no value", hint=_see(ctx))
        case "BadOptionUsage" if param is not None:
            return UsageError(f"{name} needs a value: {name} {param.metavar}", hint=_see(ctx))
        case _:
            return UsageError(_bare(str(error), 500), hint=_see(ctx))


def no_such_option(ctx: Any, name: str, known: Iterable[str], commands: Iterable[str]) -> UsageError:
    """An option that the command doesn't have; with what was meant, or where the option belongs."""
    known = set(known)
    message = f"there is no option {_bare(name)}"
    if name in _KEY_OPTIONS:
        hint = "set LOGSH_API_KEY, or `logsh login` asks for it; in a script: logsh login --key-stdin < key-file"
        return UsageError(f"{message}: {_VISIBLE_KEY}", hint=hint)
    if commands:
        return UsageError(
            f"{message} before a command's name", hint=f"options follow it: {ctx.command_path} COMMAND {_bare(name)}"
        )
    meant = OPTIONS_MEANT.get(name)
    if meant not in known:
        meant = nearest(name, (option for option in known if option.startswith("--")), ALIKE)
    return UsageError(message, hint=f"did you mean {meant}?" if meant else _see(ctx))


def no_such_command(ctx: Any, words: Sequence[str], known: Iterable[str]) -> UsageError:
    """A command that there isn't; with the one that was meant."""
    path = tuple(ctx.command_path.split()[1:])
    name = " ".join((*path, words[0]))
    meant = COMMANDS_MEANT.get((*path, *words[:2])) or COMMANDS_MEANT.get((*path, words[0]))
    if meant is None and (alike := nearest(words[0], known, ALIKE)):
        meant = f"{ctx.command_path} {alike}"
    message = f"there is no command {_bare(name)}"
    return UsageError(message, hint=f"did you mean `{meant}`?" if meant else _see(ctx))


def too_many(ctx: Any, words: Sequence[str]) -> UsageError:
    """Words that the command has no use for."""
    given = ", ".join(excerpt(word) for word in words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
    message = f"unexpected {'argument' if len(words) == 1 else 'arguments'} {given}"
    match ctx.command.name:
        case "send":
            return UsageError(message, hint=_send_meant(ctx, words))
        case "login":
            return UsageError(f"{message}: {_VISIBLE_KEY}", hint="logsh login --key-stdin < key-file, or let it ask")
        case "batch":
            return UsageError(message, hint="batch reads one file; cat FILE FILE | logsh batch -")
        case _:
            return UsageError(message, hint=_usage_line(ctx))


def _send_meant(ctx: Any, words: Sequence[str]) -> str:
    """The options that the words stand for, if that can be told: a name has no blanks, a description has."""
    missing = {option: name for option, name in (("-e", "NAME"), ("-d", "TEXT")) if ctx.params[_DEST[option]] is None}
    if not missing:
        return "a text with blanks needs quotes: -d 'two words'"
    if len(words) > len(missing):
        return _see(ctx)
    given = dict(zip(missing, words, strict=False))
    if len(words) < len(missing) and " " in words[0]:
        given = {"-d": words[0]}
    meant = (f"{option} {shlex.quote(given[option]) if option in given else name}" for option, name in missing.items())
    return f"did you mean {' '.join(meant)}?"


def _rule(value: Declared) -> str:
    """Which values a parameter takes, to follow "must be"."""
    if value.choices:
        return f"{', '.join(value.choices[:-1])} or {value.choices[-1]}"
    kind = "a number" if value.type is float else "a whole number"
    low, high = value.limits
    if low is None:
        return kind
    return f"{kind} from {low} to {high}" if high is not None else f"{kind}, {low} or more"


def _given(ctx: Any, args: Sequence[str], param: Any, rule: Declared) -> str:
    """The value that does not fit; of several, the first that can be at fault."""
    values, _, _ = ctx.command.make_parser(ctx).parse_args([*args])
    given = values[param.name]
    if isinstance(given, str):
        return given
    return next((str(value) for value in given if rule.type is int and not value.isdigit()), str(given[0]))


def _called(param: Any) -> str:
    """A parameter's name, as it stands on the command line."""
    if param.param_type_name == "option":
        return next((name for name in param.opts if name.startswith("--")), str(param.opts[0]))
    label = str(param.metavar or "")
    return param.name.upper() if not label or "|" in label else label.strip("[].")


def _usage_line(ctx: Any) -> str:
    return " ".join(("usage:", ctx.command_path, *ctx.command.collect_usage_pieces(ctx)))


def _bare(text: str, limit: int = 60) -> str:
    """A word as it was given, without quotes."""
    return excerpt(text, limit)[1:-1]


def _see(ctx: Any) -> str:
    return f"see `{ctx.command_path} --help`"
