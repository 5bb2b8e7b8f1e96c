"""The command line: who reads it, and the only place where an error becomes an exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.errors import InternalError, LogshError, interruption, raise_on_stop
from logsh_cli.output import Result, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str], context: AppContext | None = None) -> int:
    """Run one command line and return its exit code; every failure has been reported when this returns.

    ``argv`` is without the program's name. ``context`` is this process's own unless a test gives another.
    """
    context = context or AppContext.of_process()
    try:
        return _run(argv, context)
    except LogshError as error:
        return _report(context, argv, error)
    except KeyboardInterrupt as stop:
        return _report(context, argv, interruption(stop))
    except Exception as fault:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        return _report(context, argv, _internal_error(context, fault))
    finally:
        context.tell_notices()


def _run(argv: Sequence[str], context: AppContext) -> int:
    if list(argv[:1]) != ["run"]:  # whose signals are the job's
        raise_on_stop()
    try:
        from logsh_cli.argv import run as run_plain  # noqa: PLC0415 - see below
    except ImportError:  # everything works without it, and slower
        done = None
    else:
        done = run_plain(argv, context)
    if done is not None:
        return done
    from logsh_cli import parser  # noqa: PLC0415 - Typer is most of what a short command costs

    return parser.run(argv, context)


def _report(context: AppContext, argv: Sequence[str], error: LogshError) -> int:
    # The parser may have failed before it saw --json, and a script that asked for JSON gets JSON all the same.
    own_words = argv[: list(argv).index("--")] if "--" in argv else argv
    if "--json" in own_words and argv[0] != "run":  # whose standard output is the job's
        context.printer.json = True
    many = context.printer.json and (list(argv[:1]) == ["batch"] or list(argv[:2]) == ["outbox", "flush"])
    code = error.exit_code
    return context.finish(Tally(exit_code=code, error=error) if many else Result("failed", exit_code=code, error=error))


def _internal_error(context: AppContext, fault: Exception) -> InternalError:
    if context.env.get("LOGSH_DEBUG"):
        import traceback  # noqa: PLC0415 - for whoever asked for it

        context.streams.err(context.redact("".join(traceback.format_exception(fault))))
    cause = (
        type(fault).__name__ if isinstance(fault, (RecursionError, MemoryError)) else f"{type(fault).__name__}: {fault}"
    )
    return InternalError(
        f"a fault in logsh, please report it: {cause}",
        hint=None if context.env.get("LOGSH_DEBUG") else f"LOGSH_DEBUG=1 shows where (process {os.getpid()})",
    )
