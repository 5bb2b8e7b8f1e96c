"""Signals while a command runs: held, taken one by one, and told apart by whether the command has had them already.

A command in our process group has had what was sent to the group (``kill %1``, ``timeout``) or to each process of a
service (systemd's ``KillMode=control-group``). Handed on as well, it would come twice, and for many programs a second
TERM means "at once, without cleaning up". The sender's ``si_code`` is the same in both cases; what a third process got
is not. So a bystander waits in the group with all signals blocked: what it was sent stays pending, for us to see in
``/proc``. It is a small program of the system, not a fork of logsh: ``pkill logsh`` must not hit it as well.

Wherever the evidence leaves a doubt the signal is handed on: twice is a nuisance, never is an outage.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from logsh_cli import Record
from logsh_cli.job.spawn import inheritable, open_pipe, read_whole, signal_set

_LONGEST_WAIT_S = 86400.0

_LEFT_ALONE = (
    *("SIGKILL", "SIGSTOP"),  # can't be caught
    *("SIGTTIN", "SIGTTOU"),  # about what this process does with the terminal
    *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT", "SIGEMT"),  # faults of logsh's own
    *("SIGPIPE", "SIGXFSZ", "SIGXCPU", "SIGURG", "SIGIO", "SIGINFO"),  # about what this process does, not about the job
    *("SIGCLD", "SIGCHLD"),
)
JOB_CONTROL = frozenset({signal.SIGTSTP, signal.SIGCONT}) if sys.platform != "win32" else frozenset()
_FROM_TERMINAL = frozenset({signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)})

_WAIT_FOR_INPUT = (("/bin/cat", "cat"), ("/usr/bin/cat", "cat"), ("/bin/busybox", "cat"), ("/bin/sh", "sh"))
"""Programs that do nothing until their standard input ends."""

GRACE_S = 0.02
"""For a sender that signals process after process to get from us to the bystander."""


class Arrival(Record):
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


class HeldSignals:
    """The signals that are handed on, blocked, and the mask to go back to; threads started since block them as well."""

    def __init__(self) -> None:
        self.awaited = handed_on() | {signal.SIGCHLD}
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # Were SIGCHLD ignored, as some starters leave it, the kernel would throw the command's status away. The command
        # sees the default then: it can't be started with it ignored and reported on as well.
        self._sigchld = signal.getsignal(signal.SIGCHLD)
        if self._sigchld == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, self.awaited)
        except BaseException:  # a Ctrl-C from just before; there is no command yet
            self.release()
            raise

    def release(self) -> None:
        """Give the mask back; what arrived since the command ended has nobody left to go to and is dropped."""
        while arrived := signal.sigpending() & self.awaited - JOB_CONTROL:
            signal.sigwait(arrived)
        if self._sigchld == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def next_arrival(self, timeout_s: float | None) -> Arrival | None:
        """Wait for one of them; ``None`` when time is up (a day at most)."""
        if hasattr(signal, "sigtimedwait"):
            if timeout_s is None:
                info: signal.struct_siginfo | None = signal.sigwaitinfo(self.awaited)
            else:
                info = signal.sigtimedwait(self.awaited, max(0.0, min(timeout_s, _LONGEST_WAIT_S)))
            return Arrival(info.si_signo, info.si_code, info.si_pid) if info else None
        # macOS waits for signals without a limit, and without saying who sent them: a timer sets the limit.
        if timeout_s is not None:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, min(timeout_s, _LONGEST_WAIT_S)))
        number = int(signal.sigwait({*self.awaited, signal.SIGALRM}))
        if timeout_s is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return None if number == signal.SIGALRM else Arrival(number)
        return Arrival(number)


def send(pid: int, number: int) -> None:
    """Signal a process that may be gone, or belong to another user."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def stop_here() -> None:
    """Stop this process as Ctrl-Z would have, and return when it is continued."""
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTSTP,))
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTSTP,))


def is_for_child(arrival: Arrival) -> bool:
    """Return whether the command must be sent a signal that, as far as is known, came to us alone.

    The terminal's go to the whole foreground group, whatever the evidence. Of the kernel's others a hang-up goes to
    the session's leader, which without logsh the command would be, and an alarm that was set before logsh was started
    (``alarm``, then ``exec``) was meant for the command.
    """
    if arrival.code is None:
        return not (arrival.number in _FROM_TERMINAL and in_foreground())
    if arrival.code > 0 and arrival.number == signal.SIGHUP:
        return os.getsid(0) == os.getpid()
    return arrival.code <= 0 or arrival.number == signal.SIGALRM


def in_foreground() -> bool:
    """Return whether our process group is the one that the terminal sends its signals to."""
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False


class Witness:
    """The bystanders, from ``call`` to ``dismiss``. Where there is no ``/proc`` or no program, they never saw anything.

    What is pending can't be taken back from outside, so once a signal was seen another bystander takes over for this
    signal, and only for this one: of the others the first has seen all, even what arrives right now.
    """

    def __init__(self) -> None:
        self._posts: dict[int, _Bystander] = {}
        self._left: set[int] = set()

    @property
    def pids(self) -> set[int]:
        """The processes that stand by."""
        return {bystander.pid for bystander in self._posts.values() if bystander.pid is not None}

    def call(self) -> None:
        """Put the first one in place."""
        if sys.platform == "linux":
            self._posts[0] = _Bystander()

    def saw(self, number: int) -> bool:
        """Return whether this signal was sent to others as well, using the evidence up.

        Ask for every signal: evidence that is left would hide the next one. A sender that goes process by process may
        not have come to the bystander yet: ask again after ``GRACE_S``.
        """
        post = number if number in self._posts else 0
        if post not in self._posts or number not in self._posts[post].pending():
            return False
        if post:
            self._posts[post].dismiss()
        self._posts[number] = _Bystander()
        return True

    def look_around(self) -> None:
        """Use up what was there at the last look as well: it came to a bystander alone, and would hide the next one."""
        pending = [(post, number) for post, bystander in self._posts.items() for number in bystander.pending()]
        left = {number for post, number in pending if post == number or (not post and number not in self._posts)}
        for number in left & self._left:
            self.saw(number)
        self._left = left - self._left

    def replace(self, pid: int) -> None:
        """Fill the post of a process that was reaped, if it was one of ours: somebody ended it."""
        for post, bystander in self._posts.items():
            if bystander.pid == pid:
                bystander.pid = None
                bystander.dismiss()
                self._posts[post] = _Bystander()
                return

    def dismiss(self) -> None:
        """End them all and wait until they are gone."""
        for bystander in self._posts.values():
            bystander.dismiss()
        self._posts = {}


class _Bystander:
    """One process, which inherits nothing (a lock or a pipe of the caller's is none of its business) and ends with us.

    Every signal is blocked, TSTP included: a Ctrl-Z between its start and its ``exec`` would stop it there, and us with
    it, waiting for the ``exec`` in a way that a shell does not see as stopped.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self._pipe: int | None = None
        with suppress(OSError):
            reading, self._pipe = open_pipe()
            actions = [
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in inheritable()),
                *((os.POSIX_SPAWN_DUP2, reading, stream) for stream in (0, 1, 2)),
            ]
            mask = signal.valid_signals()
            for program, name in _WAIT_FOR_INPUT:
                with suppress(OSError):
                    self.pid = os.posix_spawn(program, [name], {}, file_actions=actions, setsigmask=mask)
                    break
            os.close(reading)

    def pending(self) -> frozenset[int]:
        """Return the signals that it was sent."""
        if self.pid is not None:
            with suppress(OSError):
                return signal_set(read_whole(f"/proc/{self.pid}/status"), b"ShdPnd")
        return frozenset()

    def dismiss(self) -> None:
        """End it."""
        if self._pipe is not None:
            os.close(self._pipe)
        if self.pid is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
