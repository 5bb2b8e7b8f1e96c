"""A pseudo-terminal between the command and the real one, so that ``--tail`` changes nothing that a person sees.

The command has a session of its own then, whose leader is a fork of logsh that does nothing but tell how the command
fares: without such a parent in its session the system would not let Ctrl-Z stop it. The real terminal is raw meanwhile
and has the same modes at the end as the command left its own in.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli.job.signals import in_foreground
from logsh_cli.job.spawn import NOT_EXECUTABLE, CannotStart, above_streams, open_pipe, spawn

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_IN, _OUT, _ERR = 0, 1, 2
_OUTPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 1, 3, 6
_WORD = struct.Struct("=i")
_STARTED, _REFUSED = b"+", b"-"
_LONGEST_REASON = 4096
_KEYS = ((termios.VINTR, signal.SIGINT), (termios.VQUIT, signal.SIGQUIT))


def is_at_hand() -> bool:
    """Return whether a person sits at the terminal that the command would have."""
    return os.isatty(_IN) and os.isatty(_OUT) and in_foreground()


class Terminal:
    """Create, ``spawn``, ``take``; ``next_status`` says how the command fares; ``give_back`` at last.

    Raises ``OSError`` where there are no more pseudo-terminals or processes.
    """

    def __init__(self) -> None:
        master, slave = os.openpty()
        self.master, self.slave = above_streams(master), above_streams(slave)
        self.taken = False
        self.monitor: int | None = None
        self._has_job = False
        self._modes = termios.tcgetattr(_IN)
        termios.tcsetattr(self.slave, termios.TCSANOW, self._modes)
        self.resize()
        self._news, self._telling = open_pipe()

    @property
    def passes_keys(self) -> bool:
        """True once a key reaches the command: before it is in the foreground, Ctrl-C would reach nobody."""
        return self.taken and self._has_job

    def resize(self) -> None:
        """Give it the size of the real one; the command hears of it as usual."""
        with suppress(OSError):
            size = fcntl.ioctl(_OUT, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def spawn(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str],
        *,
        mask: Collection[int],
        moves: Sequence[tuple[int, int]],
    ) -> int:
        """Start the command as ``spawn`` does, with this as its terminal; raises ``CannotStart`` as well."""
        self.monitor = os.fork()
        if self.monitor == 0:
            self._watch(argv, env, mask, [(self.slave, _IN), *moves])
        os.close(self.slave)
        os.close(self._telling)
        answer = os.read(self._news, 1)
        if answer == _STARTED:
            self._has_job = True
            return int(_WORD.unpack(os.read(self._news, _WORD.size))[0])
        status = os.read(self._news, _WORD.size) or _WORD.pack(NOT_EXECUTABLE)
        reason = os.read(self._news, _LONGEST_REASON).decode(errors="replace")
        raise CannotStart(reason or "its process was killed", int(_WORD.unpack(status)[0]))

    def _watch(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str],
        mask: Collection[int],
        moves: Sequence[tuple[int, int]],
    ) -> None:
        """The leader of the command's session, which never returns."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            parent = os.getppid()
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            try:
                job = spawn(argv, env, mask=mask, moves=moves, leads_group=True)
            except CannotStart as failure:
                os.write(self._telling, _REFUSED + _WORD.pack(failure.status) + failure.reason.encode())
                os._exit(0)
            for descriptor in range(_ERR + 1, max(self.slave, self._telling, self.master, 64) + 1):
                if descriptor not in (self.slave, self._telling):
                    with suppress(OSError):
                        os.close(descriptor)
            os.tcsetpgrp(self.slave, job)
            os.write(self._telling, _STARTED + _WORD.pack(job))
            ended = False
            while not ended:
                _, status = os.waitpid(job, os.WUNTRACED)
                ended = not os.WIFSTOPPED(status)
                if not ended and os.WSTOPSIG(status) in (signal.SIGTTIN, signal.SIGTTOU):
                    os.kill(-job, signal.SIGCONT)  # it used the terminal before it was given it
                    continue
                os.write(self._telling, _WORD.pack(status))
                os.kill(parent, signal.SIGCHLD)
            # Else the end of the session would hang up on what the command left behind.
            os.tcsetpgrp(self.slave, os.getpgrp())
        finally:
            os._exit(0)

    def next_status(self) -> int | None:
        """Return how the command ended or was stopped, as ``waitpid`` has it, if there is news."""
        os.set_blocking(self._news, False)
        with suppress(BlockingIOError):
            news = os.read(self._news, _WORD.size)
            # A monitor that was killed leaves the terminal's hang-up to end the command.
            return int(_WORD.unpack(news)[0]) if news else int(signal.SIGKILL)
        return None

    def take(self) -> None:
        """Pass every key on, if we are in the foreground."""
        if not self.taken and in_foreground():
            self._modes = termios.tcgetattr(_IN)
            tty.setraw(_IN, termios.TCSANOW)
            self.resize()
            self.taken = True

    def give_back(self) -> None:
        """Let the real terminal have the modes that the command's has now."""
        if self.taken:
            self.taken = False
            with suppress(termios.error):
                self._modes = termios.tcgetattr(self.master)
            with suppress(termios.error):
                termios.tcsetattr(_IN, termios.TCSADRAIN, self._modes)

    def end(self) -> None:
        """The command has ended: give the terminal back, which from now on makes lines of what is still written."""
        self.give_back()
        with suppress(termios.error):
            modes = termios.tcgetattr(self.master)
            modes[_OUTPUT_FLAGS] &= ~termios.OPOST
            termios.tcsetattr(self.master, termios.TCSANOW, modes)

    def signals_of(self, keys: bytes) -> None:
        """Send to our own process group what these keys would have: a script around us is to stop as well."""
        with suppress(termios.error):
            modes = termios.tcgetattr(self.master)
            for index, number in _KEYS:
                if modes[_LOCAL_FLAGS] & termios.ISIG and modes[_CHARACTERS][index] in keys and keys:
                    os.killpg(os.getpgrp(), number)
