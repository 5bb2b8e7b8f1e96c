"""A bystander in our process group that tells a signal sent to us from one sent to everybody.

A command in the same group has already had what was sent to the group (``kill %1``, ``timeout``) or to each process of
a service (systemd's ``KillMode=control-group``). Handed on as well, it would come twice, and for many programs a second
TERM means "at once, without cleaning up". The sender's ``si_code`` is the same in both cases; what a third process got
is not. The bystander is ``cat`` with all signals blocked, reading a pipe that nobody writes to: what it was sent
stays pending, for us to see in ``/proc``, and it ends when we do, even if we are killed.

``cat`` and not a fork of logsh, since ``pkill logsh`` must not hit the witness as well.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from logsh_cli.job.spawn import open_pipe, signal_set

_CAT = "/bin/cat"
GRACE_S = 0.02
"""For a sender that signals process after process to get from us to the witness."""


class Witness:
    """Stands by from ``call`` to ``dismiss``. Where there is no ``/proc`` or no ``cat``, it never saw anything."""

    def __init__(self) -> None:
        self._first: _Bystander | None = None
        self._relieved: dict[int, _Bystander] = {}

    @property
    def pids(self) -> set[int]:
        """The processes that stand by."""
        everyone = (self._first, *self._relieved.values())
        return {bystander.pid for bystander in everyone if bystander and bystander.pid is not None}

    def call(self) -> None:
        """Put it in place."""
        if sys.platform == "linux":
            self._first = _Bystander()

    def saw(self, number: int) -> bool:
        """Whether this signal was sent to others as well; each one is told of once.

        A sender that goes process by process may not have come to the witness yet: ask again after ``GRACE_S``.
        """
        bystander = self._relieved.get(number, self._first)
        if bystander is None or not bystander.has(number):
            return False
        # What is pending can't be taken back from outside, so another one takes over for this signal, and only for this
        # one: of the others this one has seen all, even what arrives right now.
        self._relieved[number] = _Bystander()
        if bystander is not self._first:
            bystander.dismiss()
        return True

    def reaped(self, pid: int) -> None:
        """Somebody ended one of them; its number may belong to another process from now on."""
        for bystander in (self._first, *self._relieved.values()):
            if bystander and bystander.pid == pid:
                bystander.pid = None

    def dismiss(self) -> None:
        """End them all and wait until they are gone."""
        for bystander in (self._first, *self._relieved.values()):
            if bystander:
                bystander.dismiss()
        self._first = None
        self._relieved = {}


class _Bystander:
    """One ``cat``. It inherits nothing: a lock or a pipe of the caller's is none of its business.

    Every signal is blocked, TSTP included: a Ctrl-Z between its start and its ``exec`` would stop it there, and us with
    it, waiting for the ``exec`` in a way that a shell does not see as stopped.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self._pipe: int | None = None
        with suppress(OSError):
            reading, self._pipe = open_pipe()
            actions = [
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable()),
                *((os.POSIX_SPAWN_DUP2, reading, stream) for stream in (0, 1, 2)),
            ]
            try:
                self.pid = os.posix_spawn(_CAT, ["cat"], {}, file_actions=actions, setsigmask=signal.valid_signals())
            finally:
                os.close(reading)

    def has(self, number: int) -> bool:
        """Whether it was sent this signal."""
        if self.pid is not None:
            with suppress(OSError):
                return number in signal_set(Path(f"/proc/{self.pid}/status").read_bytes(), b"ShdPnd")
        return False

    def dismiss(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
        if self.pid is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)


def _inheritable() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):  # the listing's own descriptor
            if os.get_inheritable(int(name)):
                found.append(int(name))
    return found
