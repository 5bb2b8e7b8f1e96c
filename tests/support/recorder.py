"""A job that tells which signals it gets: ``recorder.py LOG`` writes a line for each, in order of arrival.

It answers each line on standard input with a line in LOG and ends at the input's end, with status 7.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT}
LEFT = {*FAULTS, signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD}


def main() -> None:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(number: int, _frame: FrameType | None) -> None:
        os.write(log, f"{number}\n".encode())

    for number in signal.valid_signals() - LEFT:
        signal.signal(number, tell)
    os.write(log, f"ready {os.getpid()}\n".encode())
    while line := os.read(0, 1000):
        os.write(log, line)
    os._exit(7)


if __name__ == "__main__":
    main()
