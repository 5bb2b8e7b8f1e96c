"""Processes of logsh that a test starts and watches, those among them that nobody waits for, and waiting in general."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.command import LOGSH, PATIENCE_S, Completed, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PROC = Path("/proc")


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE_S) -> None:
    """Look again and again until it is true; fails the test when it never is."""
    patience = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < patience, f"{what}: not within {timeout:g} s"
        time.sleep(0.01)


def start_logsh(*args: str, env: Mapping[str, str | None] | None = None, **popen: Any) -> subprocess.Popen[bytes]:
    """Start ``logsh ARGS``, its output in pipes; without a ``stdin`` it reads from /dev/null."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([str(LOGSH), *args], env=environment(env), **{**streams, **popen})


def finish(process: subprocess.Popen[bytes], timeout: float = PATIENCE_S) -> Completed:
    """Wait for its end and take what it wrote."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Completed(process.returncode, out, err)


@contextlib.contextmanager
def running(*args: str, env: Mapping[str, str | None] | None = None, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The same as ``start_logsh``, gone at the end however the test ends."""
    process = start_logsh(*args, env=env, **popen)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def processes_with(state: Path) -> dict[int, list[str]]:
    """The processes whose state directory this is, with their arguments: also those that nobody waits for."""
    wanted = b"LOGSH_STATE_DIR=" + os.fsencode(state)
    found = {}
    for entry in _PROC.iterdir() if _PROC.exists() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    argv = (entry / "cmdline").read_bytes().split(b"\0")
                    found[int(entry.name)] = [os.fsdecode(arg) for arg in argv]
    return found


def wait_until_none_is_left(state: Path, timeout: float = PATIENCE_S) -> None:
    """Wait until no process of logsh works for this state directory any more."""
    wait_until(lambda: not processes_with(state), f"processes are left: {processes_with(state)}", timeout)


def kill_what_is_left(state: Path) -> None:
    """End the couriers that a test leaves trying; they would do so for ten minutes."""
    for pid in processes_with(state):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
