"""Signals that arrive while a command runs: waiting for them, and telling which of them the command has had already."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.job.process_tree import descends_from

if TYPE_CHECKING:
    from collections.abc import Collection

    from logsh_cli.job.witness import Witness

_LONGEST_WAIT_S = 86400.0

_LEFT_ALONE = (
    *("SIGKILL", "SIGSTOP"),  # can't be caught
    *("SIGTSTP", "SIGCONT", "SIGTTIN", "SIGTTOU"),  # job control: logsh stops and continues as the group does
    *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT", "SIGEMT"),  # faults of logsh's own
    *("SIGPIPE", "SIGXFSZ", "SIGXCPU", "SIGURG", "SIGIO", "SIGINFO"),  # about what this process does, not about the job
    *("SIGCLD", "SIGCHLD"),
)

FROM_TERMINAL = frozenset({signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)})


class Arrival(NamedTuple):
    """A signal: its number, and on Linux the ``si_code`` (positive: from the kernel) and the process that sent it."""

    number: int
    code: int | None = None
    sender: int = 0


def handed_on() -> frozenset[int]:
    """Every signal that someone may send to logsh and mean the job.

    TERM, INT, HUP and QUIT are the contract; USR1 and USR2 (reload, rotate), ALRM, WINCH and the real-time ones (stop
    signals of container images) would otherwise end logsh, or do nothing where they should do something.
    """
    left_alone = {getattr(signal, name) for name in _LEFT_ALONE if hasattr(signal, name)}
    return frozenset(int(number) for number in signal.valid_signals() if number not in left_alone)


def next_arrival(numbers: Collection[int], timeout_s: float | None) -> Arrival | None:
    """Wait for one of these signals, which must be blocked; ``None`` when time is up (a day at most)."""
    if hasattr(signal, "sigtimedwait"):
        if timeout_s is None:
            info: signal.struct_siginfo | None = signal.sigwaitinfo(numbers)
        else:
            info = signal.sigtimedwait(numbers, max(0.0, min(timeout_s, _LONGEST_WAIT_S)))
        return Arrival(info.si_signo, info.si_code, info.si_pid) if info else None
    # macOS waits for signals without a limit, and without saying who sent them: a timer sets the limit.
    if timeout_s is not None:
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, min(timeout_s, _LONGEST_WAIT_S)))
    number = int(signal.sigwait({*numbers, signal.SIGALRM}))
    if timeout_s is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return None if number == signal.SIGALRM else Arrival(number)
    return Arrival(number)


def concerns_child(arrival: Arrival, child: int, witness: Witness) -> bool:
    """Whether the command must be sent this signal, or has it already.

    - From the kernel: the terminal's go to the whole foreground group. A hang-up goes to the session's leader only,
      which without logsh the command would be; a timer set before logsh was started (``alarm``, then ``exec``) was
      meant for the command.
    - From the command or something it started: ``kill 0`` reached everyone it was to reach, and ``kill $PPID`` was not
      meant for itself.
    - From elsewhere: the witness tells whether it went to us alone; ask twice, with a moment in between.
    """
    if arrival.code is None:
        return not (arrival.number in FROM_TERMINAL and in_foreground())
    if arrival.code > 0:
        if arrival.number == signal.SIGHUP:
            return os.getsid(0) == os.getpid()
        return arrival.number == signal.SIGALRM
    return not descends_from(arrival.sender, child) and not witness.saw(arrival.number)


def in_foreground() -> bool:
    """Whether our process group is the one that the terminal sends its signals to."""
    if sys.platform == "win32":
        return True
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False
