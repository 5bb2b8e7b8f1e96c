"""A shell under a pseudo-terminal: type into it, press TAB, and read what became of the line."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE_S = 60.0
TAB, KILL_LINE, REVEAL = "\t", "\x15", "\x07"
_CONTROLS = re.compile(r"\x1b\[[0-9;?>]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>]|[\x00\x07\x08\r\x0e\x0f]")

BASH = r"""
PS1='$ ' PS2='' PROMPT_COMMAND='' HISTFILE=
bind 'set show-all-if-ambiguous on' 'set bell-style none' 'set completion-query-items 0' 'set page-completions off' 2>/dev/null
bind 'set show-all-if-ambiguous on'
bind 'set bell-style none'
bind 'set completion-query-items 0'
bind 'set page-completions off'
bind -x '"\C-g": printf "\n<<%s>>\n" "$READLINE_LINE"'
"""


class Completed(NamedTuple):
    """What a TAB did: the command line after it, and what was shown on the way, without control sequences."""

    line: str
    shown: str

    @property
    def offered(self) -> set[str]:
        """The words that were shown."""
        return set(self.shown.split())


class Terminal:
    """A process with a pseudo-terminal of its own; its end is this object's ``close``."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 100, 160, 0, 0))
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self.seen = ""

    def send(self, text: str) -> None:
        """Type."""
        os.write(self.master, text.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read until the pattern comes; what it matched, and what was before, is consumed."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if match := re.search(pattern, self.seen, re.DOTALL):
                self.seen = self.seen[match.end() :]
                return match
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    data = b""
                assert data, f"the shell ended after {self.seen!r}"
                self.seen += data.decode(errors="replace")

    def close(self) -> None:
        """End the shell and everything in its session."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


class Shell(Terminal):
    """An interactive shell that shows its command line on request."""

    def __init__(self, argv: Sequence[str], setup: Path, env: Mapping[str, str], cwd: Path) -> None:
        super().__init__(argv, env, cwd)
        self.send(f". {setup}\r")
        self.read_until("shell is ready")

    def complete(self, line: str) -> Completed:
        """Type a line, press TAB, and see."""
        self.send(KILL_LINE + REVEAL)
        self.read_until("<<>>")
        self.send(line + TAB + REVEAL)
        match = self.read_until(r"(.*)<<(.*?)>>")
        # Terminals break long lines; what is typed has none.
        return Completed(_plain(match[2]).replace("\n", ""), _plain(match[1]))


def _plain(text: str) -> str:
    return _CONTROLS.sub("", text)
