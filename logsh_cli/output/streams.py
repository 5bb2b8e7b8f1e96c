"""The standard streams as one value: what may be written where, and how it may look."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from logsh_cli.output.text import without_commands

if TYPE_CHECKING:
    from collections.abc import Mapping


class Streams:
    """Standard input, output and error; any of them is ``None`` where the caller closed it (``>&-``)."""

    def __init__(
        self, stdin: TextIO | None, stdout: TextIO | None, stderr: TextIO | None, env: Mapping[str, str]
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.env = env
        self.in_workflow = env.get("GITHUB_ACTIONS") == "true"
        self._read_by_runner = self.in_workflow or bool(env.get("TF_BUILD"))

    @classmethod
    def of_process(cls, env: Mapping[str, str]) -> Streams:
        """This process's own streams, made unable to fail on a character that the locale can't encode."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        return cls(sys.stdin, sys.stdout, sys.stderr, env)

    def out(self, text: str) -> None:
        """Write one line to standard output."""
        write(self.stdout, f"{self.harmless(text)}\n")

    def err(self, text: str) -> None:
        """Write one line to standard error."""
        write(self.stderr, f"{self.harmless(text)}\n")

    def overwrite(self, text: str) -> None:
        """Put a text, cut to the terminal's width, in place of the line on standard error that has not ended."""
        from shutil import get_terminal_size  # noqa: PLC0415 - for those who wait

        write(self.stderr, f"\r\x1b[K{self.harmless(text)[: get_terminal_size().columns - 1]}")

    def workflow_warning(self, text: str) -> None:
        """Write a warning that a GitHub workflow shows beside its log."""
        data = self.harmless(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        write(self.stderr, f"::warning title=logsh::{data}\n")

    def harmless(self, text: str) -> str:
        """Return the text with everything broken up that the CI runner reading it would obey as a command."""
        return without_commands(text) if self._read_by_runner else text

    def is_rich(self, stream: TextIO | None) -> bool:
        """Return True if rich should draw on this stream: a terminal that can do it, or ``FORCE_COLOR``."""
        if stream is None or self.env.get("TERM") == "dumb":
            return False
        return bool(self.env.get("FORCE_COLOR")) or stream.isatty()

    def takes_unicode(self, stream: TextIO | None) -> bool:
        """Return True if any character can be written as it is."""
        encoding = getattr(stream, "encoding", None) or ""
        return encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32")

    def confirm(self, question: str) -> bool | None:
        """Return what the person at the terminal answers; ``None`` where there is none to ask. Only yes is yes."""
        if self.stdin is None or self.stderr is None or not (self.stdin.isatty() and self.stderr.isatty()):
            return None
        with suppress(EOFError):
            return self._answer(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        return False

    def ask(self, question: str, *, hidden: bool = False) -> str:
        """Return what the person at the terminal types, stripped; nothing of it is echoed if it is ``hidden``.

        Raises ``KeyboardInterrupt`` at Ctrl-C, and at the end of input: nobody is going to answer.
        """
        from getpass import getpass  # noqa: PLC0415 - only where somebody is asked

        try:
            return (getpass(f"{question}: ") if hidden else self._answer(f"{question}: ")).strip()
        except (EOFError, KeyboardInterrupt) as stop:
            self.err("")  # the question's line has no end
            raise (stop if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt) from None

    def _answer(self, question: str) -> str:
        write(self.stderr, question)
        answer = "" if self.stdin is None else self.stdin.readline()
        if not answer:
            raise EOFError
        return answer

    def flush(self) -> None:
        """Push out what is buffered; a reader that went away is not an error of ours."""
        for stream in (self.stdout, self.stderr):
            write(stream, "")


def write(stream: TextIO | None, text: str) -> None:
    """Write at once, as far as it can be done.

    A closed pipe or a full disk behind a stream must not change what happened to the event: the exit code tells.
    """
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()
