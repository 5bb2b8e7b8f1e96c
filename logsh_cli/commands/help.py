"""``logsh help``: a command's whole help, or a topic that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    import typer

    from logsh_cli.app import AppContext
    from logsh_cli.options import argument


def help_(
    ctx: typer.Context,
    subject: Annotated[
        list[str] | None, argument("[COMMAND|TOPIC]", "A command, or exit-codes, environment, json.")
    ] = None,
) -> int:
    from logsh_cli.help import TOPICS  # noqa: PLC0415 - tables that no other command needs

    app: AppContext = ctx.obj
    words = subject or []
    topic = TOPICS.get(words[0]) if len(words) == 1 else None
    app.streams.out(topic() if topic else command_help(ctx, words))
    return 0


def command_help(ctx: Any, words: list[str]) -> str:
    """The help of the command that the words name, with nothing left out. Raises ``UsageError`` if there is none."""
    from logsh_cli.help import usage  # noqa: PLC0415 - the same
    from logsh_cli.help.layout import WHOLE  # noqa: PLC0415 - Typer itself

    at = ctx.find_root()
    for word in words:
        if not hasattr(at.command, "resolve_command"):
            raise usage.no_such_command(at, [word], ())
        name, command, _ = at.command.resolve_command(at, [word])
        at = type(ctx)(command, info_name=name, parent=at, **command.context_settings)
    at.meta[WHOLE] = True
    return str(at.get_help())


HELP = """\
Explain a command, or one of the topics exit-codes, environment and json.

\b
  logsh help run
  logsh help outbox list
  logsh help exit-codes
"""
