"""An interactive shell under a pseudo-terminal: type a line into it, press TAB, and see what becomes of it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE_S = 60.0
TAB, KILL_LINE, REVEAL = "\t", "\x15", "\x07"

# A shell wants the terminal as its controlling one, which only a process of its session can ask for.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_MOVES = re.compile(r"\x1b\[[0-9;]*[A-H]")
_CONTROLS = re.compile(
    r"\x1b\[[0-9;?>]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>]|[\x00-\x08\r]"
)


class Completed(NamedTuple):
    """The effect of a TAB: the command line after it, and what was shown meanwhile, without control sequences."""

    line: str
    shown: str

    @property
    def offered(self) -> set[str]:
        """The words that were shown."""
        return set(self.shown.split())


class Shell:
    """An interactive shell. ``setup`` is for it to read: it binds Ctrl-G to writing the command line to ``$REVEALED``.

    That is a pipe of its own: what a terminal shows is for people, and each shell redraws it in another way.
    """

    def __init__(self, argv: Sequence[str], setup: str, env: Mapping[str, str], directory: Path) -> None:
        script, pipe = directory / "setup", directory / "revealed"
        script.write_text(setup)
        os.mkfifo(pipe)
        self.revealed = os.open(pipe, os.O_RDWR)
        self.master, slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 200, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "REVEALED": str(pipe)},
            cwd=directory,
            start_new_session=True,
        )
        os.close(slave)
        self._send(f". {script}\r")
        self._line("ready")

    def complete(self, line: str) -> Completed:
        """Type a line, press TAB, and see."""
        self._send(KILL_LINE + REVEAL)
        self._line("")
        self._send(line + TAB + REVEAL)
        completed, shown = self._line()
        return Completed(completed, _CONTROLS.sub("", _MOVES.sub(" ", shown)))

    def close(self) -> None:
        """End the shell and everything in its process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
        os.close(self.revealed)

    def _send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def _line(self, wanted: str | None = None) -> tuple[str, str]:
        """The next line through the pipe, or the next one that is as wanted; and what was shown up to then."""
        deadline = time.monotonic() + PATIENCE_S
        shown, lines = b"", b""
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"the shell does not answer; it shows {shown!r}"
            readable = select.select([self.master, self.revealed], [], [], left)[0]
            # In this order: what the shell showed before it wrote to the pipe is on the terminal by then.
            if self.revealed in readable:
                lines += os.read(self.revealed, 65536)
            while self.master in select.select([self.master], [], [], 0)[0]:
                shown += self._read_terminal(shown)
            if lines.endswith(b"\n"):
                last = lines.decode().splitlines()[-1]
                if wanted is None or last == wanted:
                    return last, shown.decode(errors="replace")

    def _read_terminal(self, shown: bytes) -> bytes:
        try:
            return os.read(self.master, 65536)
        except OSError:
            raise AssertionError(f"the shell ended; it showed {shown!r}") from None
