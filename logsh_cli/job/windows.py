"""The child process engine where there are no POSIX signals or process groups: plain, and as transparent as it can be.

Ctrl-C reaches every process of a console by itself, so that there is nothing to hand on; logsh only has to survive it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from logsh_cli.job.child import Ending, Kind
from logsh_cli.job.spawn import NOT_EXECUTABLE, NOT_FOUND
from logsh_cli.job.tail import TailBuffer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POLL_S = 0.1
_DRAIN_S = 1.0
_CHUNK = 64 * 1024


class WindowsChild:
    """A command that was started, with the same methods as the POSIX ``Child``."""

    def __init__(
        self, process: subprocess.Popen[bytes] | None, reason: OSError | None, timeout_s: float | None
    ) -> None:
        self.pid = process.pid if process else None
        self._process = process
        self._reason = reason
        self._timeout_s = timeout_s
        self._started_at = time.monotonic()
        self._tail = TailBuffer()
        self._pumps: list[threading.Thread] = []
        if process and process.stdout and process.stderr:
            for source, stream in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                self._pumps.append(threading.Thread(target=self._pass_on, args=(source, stream.buffer), daemon=True))
                self._pumps[-1].start()

    def wait(self) -> Ending:
        """Wait until the command has ended; Ctrl-C is the command's to answer."""
        if self._process is None:
            status = NOT_FOUND if isinstance(self._reason, FileNotFoundError) else NOT_EXECUTABLE
            reason = self._reason.strerror if self._reason else None
            return Ending("not_started", status, None, 0.0, reason=reason)
        kind: Kind = "exited"
        while self._process.poll() is None:
            with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
                self._process.wait(_POLL_S)
            passed_s = time.monotonic() - self._started_at
            if kind == "exited" and self._timeout_s is not None and passed_s >= self._timeout_s:
                kind = "timed_out"
                subprocess.run(["taskkill", "/T", "/F", "/PID", str(self.pid)], capture_output=True, check=False)  # noqa: S607
        duration_s = time.monotonic() - self._started_at
        for pump in self._pumps:
            pump.join(_DRAIN_S)  # a process left behind may hold the pipe open for ever
        return Ending(kind, self._process.returncode, None, duration_s, self._tail.contents())

    def release_signals(self) -> None:
        """Nothing was held."""

    def show_output(self) -> None:
        """Nothing was held back."""

    def _pass_on(self, source: IO[bytes], stream: IO[bytes]) -> None:
        while chunk := source.read1(_CHUNK):  # type: ignore[attr-defined]  # a BufferedReader, as pipes are
            self._tail.add(chunk)
            with suppress(OSError):
                stream.write(chunk)
                stream.flush()


def start_on_windows(
    argv: Sequence[str | bytes], *, tee: bool, timeout_s: float | None, env: Mapping[str, str] | None
) -> WindowsChild:
    """As ``child.start``; output is not held back here."""
    pipe = subprocess.PIPE if tee else None
    try:
        process = subprocess.Popen([*argv], env=env, stdout=pipe, stderr=pipe)
    except OSError as error:
        return WindowsChild(None, error, timeout_s)
    return WindowsChild(process, None, timeout_s)
