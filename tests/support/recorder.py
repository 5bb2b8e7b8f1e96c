"""A job that tells which signals it gets: ``recorder.py LOG`` writes a line for each, in order of arrival.

It repeats each line of its standard input in LOG and ends at the input's end, with status 7.
"""

from __future__ import annotations

import os
import select
import signal
import sys

FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT}
LEFT = {*FAULTS, signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD}


def main() -> None:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    # A handler in Python waits for a system call to return, and runs once for several signals; this pipe tells of each.
    arrived, arriving = os.pipe()
    os.set_blocking(arriving, False)
    signal.set_wakeup_fd(arriving)
    for number in signal.valid_signals() - LEFT:
        signal.signal(number, lambda *_: None)
    os.write(log, f"ready {os.getpid()}\n".encode())
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(arrived, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if arrived in ready:
            os.write(log, "".join(f"{number}\n" for number in os.read(arrived, 1000)).encode())
        elif not (line := os.read(0, 1000)):
            os._exit(7)
        else:
            os.write(log, line)


if __name__ == "__main__":
    main()
