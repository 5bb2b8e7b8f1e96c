"""The process: in through ``run``, out through ``leave``; the same for ``python -m logsh_cli`` and for ``logsh``."""

from __future__ import annotations

import gc

# A run lasts a tenth of a second and its garbage goes with it: collecting it costs 6 to 9 % of the whole.
# Commands that live longer switch it on again.
gc.disable()

# ruff: noqa: E402 - after the switch, on purpose
import contextlib
import os
import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """The entry point of the installed command."""
    sys.unraisablehook = _unraisable
    try:
        from logsh_cli.app import AppContext  # noqa: PLC0415 - here, so that Ctrl-C while modules load ends as
        from logsh_cli.cli import main  # noqa: PLC0415 - quietly as it does later

        context = AppContext.of_process()
        code = main(sys.argv[1:], context)
        context.streams.flush()
        fatal_signal = context.fatal_signal
    except KeyboardInterrupt as stop:
        # Before there was anybody to report it, or a second one while the first was being reported. TERM's class is
        # known by its name: it may be its own import that INT interrupted.
        if type(stop).__name__ == "TermSignal":
            leave(143, None)
        leave(130, signal.SIGINT)
    leave(code, fatal_signal)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of a signal that came while a destructor ran, where nothing can be raised: the next one will be."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def leave(code: int, fatal_signal: int | None) -> NoReturn:
    """End the process: by the signal that ended the work, so that a shell loop around us stops, or with a code.

    ``os._exit`` skips the interpreter's shutdown, a sixth of a short run. Nothing depends on that shutdown: the streams
    are flushed, the store is synced when it must be, and SQLite recovers a log that was not checkpointed.
    """
    _hear_no_more()
    if fatal_signal is not None and os.name == "posix":
        _die_of(fatal_signal)
    os._exit(code)


def _hear_no_more() -> None:
    """Let signals that raise do nothing: whoever sends one after another must not see the traceback of the last.

    Not blocked, which other threads would not be; not ignored, or Python would complain of one that is on its way.
    """
    while True:
        try:
            for number in (number for number in signal.Signals if callable(signal.getsignal(number))):
                signal.signal(number, lambda _signum, _frame: None)
        except KeyboardInterrupt:
            continue
        return


def _die_of(number: int) -> None:
    """Die of a signal as the job did, without a second core; a container's first process is spared by the kernel.

    A core limit of one byte, less than any core has, is the only one that pipes to a core handler obey as well.
    """
    import resource  # noqa: PLC0415 - POSIX only, and rarely needed

    with contextlib.suppress(OSError, ValueError):  # KILL has no action to be set; the limit may be lower
        resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    run()
