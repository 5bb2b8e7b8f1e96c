"""Find a command's processes, those included that were left to another parent, so that a timeout ends all of them.

The process group is no help: logsh, the command and everything else of the same shell job share one.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli import ENTRY, Record
from logsh_cli.job.signals import send
from logsh_cli.job.spawn import read_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_PR_SET_CHILD_SUBREAPER = 36
_STOPPED = "T"
_DEAD = frozenset("ZX")
_PS_FIELDS = 4
_GIVE_UP_S = 5.0
"""After KILL; a process that the kernel holds (a dead network disk) can't be waited for."""
_LOOK_AGAIN_S = 0.05
_COURIER_COMMAND = f"{ENTRY}\0courier\0".encode()
"""A detached delivery. One that the job's own ``logsh send --background`` started is not part of the job."""


class Process(Record):
    """One line of the process table.

    ``born`` tells a process from a later one with the same number; on Linux it sorts by age.
    """

    pid: int
    parent: int
    state: str
    born: str


class ProcessTree:
    """The command ``root`` and everything it started, as found at each look.

    ``spared`` gives the numbers of our own children that are not the command's.
    """

    def __init__(self, root: int, spared: Callable[[], Collection[int]]) -> None:
        self._root = root
        self._spared = spared
        self._known: dict[int, str] = {}

    def living(self) -> list[Process]:
        """Everything of the command that still runs or is stopped, the command itself first."""
        adopter = os.getpid() if sys.platform == "linux" else None
        found = members(snapshot(), self._root, adopter, self._known, self._spared())
        self._known = {process.pid: process.born for process in found}
        return [process for process in found if process.state not in _DEAD and not _is_courier(process.pid)]

    def terminate(self) -> None:
        """TERM to each, once; what is stopped is continued, for it could not act on it otherwise."""
        for process in self.living():
            send(process.pid, signal.SIGTERM)
            if process.state == _STOPPED:
                send(process.pid, signal.SIGCONT)

    def kill(self) -> bool:
        """KILL to each; True when there was none. Call it again: what was being forked meanwhile was missed."""
        living = self.living()
        for process in living:
            send(process.pid, signal.SIGKILL)
        return not living


class Timeout:
    """TERM, then KILL, to the whole tree; over when all of it is gone, or can't be ended."""

    def __init__(self, tree: ProcessTree, deadline: float, kill_after_s: float) -> None:
        self.has_passed = False
        self.has_killed = False
        self._tree = tree
        self._next_step = deadline
        self._kill_after_s = kill_after_s
        self._give_up: float | None = None

    def remaining_s(self) -> float:
        """Until the next step; shorter while stragglers are watched, since off Linux nothing announces their end."""
        remaining = self._next_step - time.monotonic()
        return min(remaining, _LOOK_AGAIN_S) if self.has_passed else remaining

    def is_over(self, *, ended: bool) -> bool:
        """Take the step that is due, and say whether there is nothing more to wait for."""
        now = time.monotonic()
        if not self.has_passed:
            if ended or now < self._next_step:
                return ended
            self.has_passed = True
            self._next_step = now + self._kill_after_s
            self._tree.terminate()
            return False
        if now < self._next_step:
            return ended and not self._tree.living()
        if self._give_up is None:
            self._give_up = now + _GIVE_UP_S
        living = not self._tree.kill()
        self.has_killed = self.has_killed or living
        return (ended and not living) or now > self._give_up


def members(
    table: Mapping[int, Process], root: int, adopter: int | None, known: Mapping[int, str], spared: Collection[int]
) -> list[Process]:
    """Everything in ``table`` that belongs to the command, parents before their children.

    That is ``root`` and its descendants, what was ``known`` to belong and has lost its parent since, and what was left
    to ``adopter`` instead of to init: its children that are no older than the command and not ``spared``.
    """
    same = [table[pid] for pid in (root, *known) if pid in table and known.get(pid, table[pid].born) == table[pid].born]
    oldest = known.get(root) or (table[root].born if root in table else None)
    queue = list(same)
    if adopter is not None and oldest is not None:
        queue += [process for process in table.values() if process.parent == adopter and process.born >= oldest]
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    for process in queue:  # grows while it is walked
        if process.pid not in found and process.pid not in spared:
            found[process.pid] = process
            queue += children.get(process.pid, ())
    return list(found.values())


def adopt_orphans() -> None:
    """Make this process, not init, the parent of descendants that lose theirs (Linux; elsewhere it does nothing).

    Without it a double fork leaves the tree and escapes the timeout.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - 5 ms, and only for those who set a timeout

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def snapshot() -> dict[int, Process]:
    """All processes now, by number."""
    processes = _from_proc() if sys.platform == "linux" else _from_ps()
    return {process.pid: process for process in processes}


def read_process(pid: int) -> Process | None:
    """One process from Linux's ``/proc``; ``None`` when there is none."""
    try:
        line = read_whole(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name, in brackets, may hold blanks and brackets itself.
    fields = line[line.rfind(b")") + 2 :].split()
    return Process(pid, int(fields[1]), fields[0].decode(), fields[19].decode().zfill(20))


def parse_ps(listing: str) -> list[Process]:
    """``ps -o pid=,ppid=,stat=,lstart=``. Its start times do not sort, so only equality means something."""
    lines = [line.split(None, _PS_FIELDS - 1) for line in listing.splitlines()]
    return [Process(int(line[0]), int(line[1]), line[2][0], line[3]) for line in lines if len(line) == _PS_FIELDS]


def _is_courier(pid: int) -> bool:
    try:
        return _COURIER_COMMAND in read_whole(f"/proc/{pid}/cmdline")
    except OSError:
        return False


def _from_proc() -> Iterable[Process]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if name.isdecimal() and (process := read_process(int(name))):
            yield process


def _from_ps() -> Iterable[Process]:
    import subprocess  # noqa: PLC0415 - not needed on Linux

    command = ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="]
    listing = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return parse_ps(listing.stdout.decode(errors="replace"))
