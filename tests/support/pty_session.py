"""A session on a pseudo-terminal: what a person at a keyboard does to a command, and sees of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.command import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE_S = 30.0
CTRL_C, CTRL_D, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x04", b"\x1a", b"\x1c"
ROWS, COLUMNS = 24, 80
PROMPT = b"READY> "


class Session:
    """A command that leads a session of its own and has the terminal. Use it as a context manager.

    ``setsid`` gives it the terminal, and not a Python in between, which would leave it with signals ignored.
    """

    def __init__(
        self, argv: Sequence[str | bytes], env: Mapping[str, str | None] | None = None, cwd: Path | None = None
    ) -> None:
        if shutil.which("setsid") is None:
            pytest.skip("util-linux's setsid is not installed")
        self.master, slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env=environment(env), cwd=cwd
        )
        os.close(slave)
        self._unread = b""
        self._ended = False

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def shows(self, text: bytes) -> bytes:
        """Wait until the text appears; what came before it, both being forgotten then."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._unread:
            assert time.monotonic() < deadline, f"no {text!r} in {self._unread!r}"
            assert not self._ended, f"ended without {text!r}: {self._unread!r}"
            self._read(0.1)
        before, self._unread = self._unread.split(text, 1)
        return before

    def shows_match(self, pattern: bytes) -> re.Match[bytes]:
        """The same for a pattern."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self._unread)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in {self._unread!r}"
            assert not self._ended, f"ended without {pattern!r}: {self._unread!r}"
            self._read(0.1)
        self._unread = self._unread[found.end() :]
        return found

    def rest(self) -> bytes:
        """Everything up to the end of the command, which must come by itself."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._ended:
            assert time.monotonic() < deadline, f"goes on after {self._unread!r}"
            self._read(0.1)
        rest, self._unread = self._unread, b""
        return rest

    def wait(self) -> int:
        """The status that the command ended with by itself; negative for a signal."""
        self.rest()
        return self.process.wait(PATIENCE_S)

    def hang_up(self) -> None:
        """Take the terminal away, as its emulator does when it is closed."""
        os.close(self.master)
        self.master = os.open(os.devnull, os.O_RDONLY)

    def _read(self, timeout_s: float) -> None:
        if select.select([self.master], [], [], timeout_s)[0]:
            try:
                self._unread += os.read(self.master, 65536)
            except OSError:  # nobody has the terminal open any more
                self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,sid="], capture_output=True, check=True).stdout.decode()
        for pid, leader in (map(int, line.split()) for line in listing.splitlines()):
            if leader == self.process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


class Bash(Session):
    """An interactive bash whose prompt has been seen."""

    def __init__(self, env: Mapping[str, str | None] | None = None, cwd: Path | None = None) -> None:
        super().__init__(["bash", "--norc", "--noprofile", "-i"], {"TERM": "dumb", **(env or {})}, cwd)
        self.type(b"PS1='READY''> '; bind 'set enable-bracketed-paste off' 2>/dev/null; unset HISTFILE\n")
        self.shows(PROMPT)

    def run(self, line: bytes) -> bytes:
        """Type a line, and give what it printed once the prompt is back."""
        self.type(line + b"\n")
        self.shows(line + b"\r\n")
        return self.shows(PROMPT)
