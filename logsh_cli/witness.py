"""A bystander in our process group that tells a signal sent to us from one sent to everybody.

A command in the same group has already had what was sent to the group (``kill %1``, ``timeout``) or to each process of
a service (systemd's ``KillMode=control-group``). Handed on as well, it would come twice, and for many programs a second
TERM means "at once, without cleaning up". The sender's ``si_code`` is the same in both cases; what a third process got
is not. The bystander is ``cat`` with all our signals blocked, reading a pipe that nobody writes to: what it was sent
stays pending, for us to see in ``/proc``, and it ends when we do, even if we are killed.

``cat`` and not a fork of logsh, since ``pkill logsh`` must not hit the witness as well.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from logsh_cli.spawn import open_pipe, signal_set

if TYPE_CHECKING:
    from collections.abc import Collection

_CAT = "/bin/cat"
_GRACE_S = 0.001
"""Who signals process after process needs a moment to get from us to the witness."""


class Witness:
    """Stands by from ``call`` to ``dismiss``. Where there is no ``/proc`` or no ``cat``, it never saw anything."""

    def __init__(self, watched: Collection[int]) -> None:
        self._watched = watched
        self._seen: frozenset[int] = frozenset()
        self._pipe: int | None = None
        self.pid: int | None = None

    def call(self) -> None:
        """Put it in place. It inherits nothing: a lock or a pipe of the caller's is none of its business."""
        if sys.platform != "linux":
            return
        with suppress(OSError):
            reading, self._pipe = open_pipe()
            actions = [
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable()),
                *((os.POSIX_SPAWN_DUP2, reading, stream) for stream in (0, 1, 2)),
            ]
            try:
                self.pid = os.posix_spawn(_CAT, ["cat"], {}, file_actions=actions, setsigmask=self._watched)
            finally:
                os.close(reading)

    def saw(self, number: int) -> bool:
        """Whether this signal was sent to others as well; each one is told of once."""
        if number not in self._seen and number not in self._pending():
            time.sleep(_GRACE_S)
        self._seen |= self._pending()
        if number not in self._seen:
            return False
        # A pending signal can't be taken back from outside, so another witness takes over with a clean record.
        self.dismiss()
        self._seen -= {number}
        self.call()
        return True

    def reaped(self, pid: int) -> None:
        """Somebody ended it; its number may belong to another process from now on."""
        if pid == self.pid:
            self.pid = None

    def dismiss(self) -> None:
        """End it and wait until it is gone."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if self.pid is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self.pid = None

    def _pending(self) -> frozenset[int]:
        if self.pid is None:
            return frozenset()
        with suppress(OSError):
            return signal_set(Path(f"/proc/{self.pid}/status").read_bytes(), b"ShdPnd")
        return frozenset()


def _inheritable() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):  # the listing's own descriptor
            if os.get_inheritable(int(name)):
                found.append(int(name))
    return found
