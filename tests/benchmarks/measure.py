"""Run a program once and say what it cost, as the kernel counts it; POSIX only."""

from __future__ import annotations

import ctypes
import os
import pty
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_CHILD_SUBREAPER = 36
_IGNORED_BY_PYTHON = [signal.SIGPIPE, signal.SIGXFSZ]
_MAXRSS_PER_MB = 1024**2 if sys.platform == "darwin" else 1024
_WITHOUT_TRACE_S = 1.0
"""Processes that may have been left behind get so long to end where nothing can tell."""


class Failed(Exception):
    """The thing to be measured did not work, so its figures would mean nothing."""


class Sample(NamedTuple):
    """One run: from the start of the spawn to the reaped process, its user and system time, the time to the first byte
    of its output (0 without any); ``end_ns`` is when it was reaped, as ``time.perf_counter_ns`` counts.
    """

    wall_ms: float
    cpu_ms: float
    first_ms: float
    end_ns: int
    output: bytes


class LongSample(NamedTuple):
    """One run of something that takes its time; ``peak_mb`` is its largest resident size."""

    wall_ms: float
    cpu_ms: float
    peak_mb: float


def adopt_orphans() -> None:
    """Have processes that outlive their parents become our children, so that we can wait for them (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(argv: Sequence[str | Path], env: Mapping[str, str], *, on_terminal: bool = False) -> Sample:
    """Run ``argv`` (its first word a path) to its end and then until nothing that it started is left.

    Raises:
        Failed: it did not end with status 0.
    """
    words = [str(word) for word in argv]
    others = _children()
    reading, writing = pty.openpty() if on_terminal else os.pipe()
    os.set_inheritable(reading, False)
    null = os.open(os.devnull, os.O_RDWR)
    streams = (writing if on_terminal else null, writing, writing)
    inherited = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
    try:
        start = time.perf_counter_ns()
        pid = os.posix_spawn(words[0], words, env, file_actions=inherited, setsigdef=_IGNORED_BY_PYTHON)
    finally:
        os.close(null)
        os.close(writing)
    first, output = _read_all(reading)
    _, status, usage = os.wait4(pid, 0)
    end = time.perf_counter_ns()
    if code := os.waitstatus_to_exitcode(status):
        raise Failed(f"{' '.join(words)[:300]}\nended with status {code}:\n{output.decode(errors='replace')[-2000:]}")
    _wait_for_what_is_left(others)
    cpu_ms = (usage.ru_utime + usage.ru_stime) * 1e3
    return Sample((end - start) / 1e6, cpu_ms, (first - start) / 1e6 if first else 0.0, end, output)


def run_long(argv: Sequence[str | Path], env: Mapping[str, str], python: Path) -> LongSample:
    """Run ``argv`` to its end, its input and output being nothing, and take its peak memory.

    The kernel counts what a process was before ``exec`` as well, so that no child of ours can be seen to be smaller
    than we are: it is started by a ``python`` that imports nothing, and has 10 MB.

    Raises:
        Failed: it did not end with status 0.
    """
    result = run([python, "-I", "-S", "-c", _LAUNCHER, *argv], env).output
    wall_ns, cpu_s, peak = result.rsplit(b"\n", 1)[-1].split()
    return LongSample(int(wall_ns) / 1e6, float(cpu_s) * 1e3, int(peak) / _MAXRSS_PER_MB)


_LAUNCHER = """
import os, sys, time
null = os.open(os.devnull, os.O_RDWR)
to_null = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1)]
start = time.perf_counter_ns()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_null)
_, status, usage = os.wait4(pid, 0)
end = time.perf_counter_ns()
sys.stdout.write(f"\\n{end - start} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def _read_all(reading: int) -> tuple[int, bytes]:
    """When the first byte came (0 for never), and everything."""
    first, pieces = 0, []
    with suppress(OSError):  # a terminal whose last user is gone gives EIO
        while piece := os.read(reading, 65536):
            first = first or time.perf_counter_ns()
            pieces.append(piece)
    os.close(reading)
    return first, b"".join(pieces)


def _children() -> set[int]:
    """The processes whose parent we are, where ``/proc`` tells: ``PID (NAME) STATE PPID …``, NAME being anything."""
    ours = str(os.getpid()).encode()
    pids: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if stat.read_bytes().rpartition(b")")[2].split()[1] == ours:
                pids.add(int(stat.parent.name))
    return pids


def _wait_for_what_is_left(others: set[int]) -> None:
    """Wait until no process but ``others`` is our child."""
    if sys.platform != "linux":
        time.sleep(_WITHOUT_TRACE_S)
    while left := _children() - others:
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
