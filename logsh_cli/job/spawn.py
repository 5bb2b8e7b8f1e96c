"""Start a program as if logsh were not there.

It gets the environment, descriptors, signal mask and dispositions that logsh was started with; it is found on ``PATH``
as ``execvp`` finds it, and a script without ``#!`` is run by ``sh``, as a shell would run it. (glibc's ``posix_spawn``
leaves its two internal signals, 32 and 33, ignored; a plain ``fork`` would not, and take twenty times as long.)
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

NOT_FOUND = 127
NOT_EXECUTABLE = 126

_SHELL = b"/bin/sh"
_DEFAULT_PATH = b"/bin:/usr/bin"
_FIRST_FREE = 3
_SNIFFED = 80
_CHUNK = 64 * 1024

_SET_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ) if sys.platform != "win32" else ()
"""Python ignores these when it starts, whatever they were before."""

_HANDS_DOWN = frozenset(
    b"sh bash dash ash zsh ksh mksh yash fish busybox systemd init make gmake xargs cron crond timeout sudo su".split()
)
"""Parents that start programs with their own dispositions. Python, Node, Rust and .NET ignore SIGPIPE for themselves
and restore it for the programs they start, so that of such a parent nothing can be concluded."""

_COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")


class CannotStart(Exception):
    """The program did not start; ``reason`` does not name it, ``status`` is the shell's code for it."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


def spawn(
    argv: Sequence[str | bytes],
    env: Mapping[str, str],
    *,
    mask: Collection[int],
    moves: Sequence[tuple[int, int]] = (),
    group: int | None = None,
) -> int:
    """Start ``argv`` and return its process number.

    Args:
        argv: the program and its arguments, executed directly.
        env: its whole environment.
        mask: its signal mask.
        moves: pairs of (descriptor here, descriptor there); everything else that is inheritable is inherited.
        group: the process group to put it in; ours by default.

    Raises:
        CannotStart: not found, not executable, or no process can be started.
    """
    words = [os.fsencode(word) for word in argv]
    attributes: dict[str, Any] = {
        "file_actions": [(os.POSIX_SPAWN_DUP2, here, there) for here, there in moves],
        "setsigmask": mask,
        "setsigdef": set(_SET_BY_PYTHON) - ignored_at_start(),
    }
    if group is not None:
        attributes["setpgroup"] = group
    refused = errno.ENOENT
    tried = None
    for program in _candidates(words[0], env):
        tried = program
        try:
            return _spawn_or_run_by_shell(program, words, env, attributes)
        except OSError as error:
            # As execvp: what may not be executed is passed over, and remembered in case there is nothing else.
            if error.errno not in (errno.EACCES, errno.ENOENT, errno.ENOTDIR):
                raise _cannot_start(program, error.errno or errno.EINVAL) from None
            refused = error.errno if error.errno == errno.EACCES or refused == errno.ENOENT else refused
        except ValueError:
            raise CannotStart("an argument or a variable holds a NUL", NOT_EXECUTABLE) from None
    raise _cannot_start(tried, refused)


def ignored_at_start() -> frozenset[int]:
    """Those of ``_SET_BY_PYTHON`` that were most likely ignored before Python ignored them all.

    The kernel keeps no trace of it, so Linux is asked what our parent ignores, if it is one that hands that down: a
    shell after ``trap '' PIPE``, or systemd (``IgnoreSIGPIPE=`` is its default). Everyone else's child gets the default
    action; so does that of a ``logsh`` that such a shell replaced itself with (``exec``).
    """
    parent = f"/proc/{os.getppid()}"
    try:
        if read_whole(f"{parent}/comm").strip() not in _HANDS_DOWN:
            return frozenset()
        ignored = signal_set(read_whole(f"{parent}/status"), b"SigIgn")
    except OSError:
        return frozenset()
    return frozenset(number for number in _SET_BY_PYTHON if number in ignored)


def read_whole(path: str) -> bytes:
    """Read a small file, as those of ``/proc`` are, without what ``pathlib`` costs before the command has started."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        chunks = []
        while chunk := os.read(descriptor, _CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def signal_set(status: bytes, field: bytes) -> frozenset[int]:
    """One of the signal sets of Linux's ``/proc/PID/status``."""
    for line in status.splitlines():
        if line.startswith(field + b":"):
            bits = int(line.split()[1], 16)
            return frozenset(number for number in range(1, bits.bit_length() + 1) if bits >> (number - 1) & 1)
    return frozenset()


def environment_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` less what Python put into it: under the C locale it sets ``LC_CTYPE`` for its children (PEP 538)."""
    env = dict(environ)
    if env.get("LC_CTYPE") in _COERCED_LOCALES and sys.platform == "linux":
        with suppress(OSError):
            started_with = read_whole("/proc/self/environ").split(b"\0")
            values = [entry[len(b"LC_CTYPE=") :] for entry in started_with if entry.startswith(b"LC_CTYPE=")]
            if values:
                env["LC_CTYPE"] = os.fsdecode(values[0])
            else:
                del env["LC_CTYPE"]
    return env


def open_pipe() -> tuple[int, int]:
    """A pipe that is not inherited and whose ends are not mistaken for a standard stream that was closed."""
    reading, writing = os.pipe()
    return above_streams(reading), above_streams(writing)


def above_streams(descriptor: int) -> int:
    """The same, moved where it is not mistaken for a standard stream that was closed."""
    if descriptor >= _FIRST_FREE:
        return descriptor
    import fcntl  # noqa: PLC0415 - POSIX only

    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    os.close(descriptor)
    return moved


def inheritable() -> list[int]:
    """The descriptors that a program started from here would get (Linux; elsewhere the standard streams)."""
    found = [0, 1, 2]
    with suppress(OSError):
        found = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names are all that is wanted
    return [descriptor for descriptor in found if _is_inheritable(descriptor)]


def _is_inheritable(descriptor: int) -> bool:
    with suppress(OSError):  # the listing's own is closed again
        return os.get_inheritable(descriptor)
    return False


def _candidates(name: bytes, env: Mapping[str, str]) -> Iterator[bytes]:
    if not name:
        return
    if b"/" in name:
        yield name
        return
    path = env.get("PATH")
    directories = _DEFAULT_PATH if path is None else os.fsencode(path)
    for directory in directories.split(b":"):
        program = os.path.join(directory or b".", name)  # noqa: PTH118 - paths are bytes here
        if os.path.lexists(program):
            yield program


def _spawn_or_run_by_shell(
    program: bytes, words: list[bytes], env: Mapping[str, str], attributes: Mapping[str, Any]
) -> int:
    try:
        return os.posix_spawn(program, words, env, **attributes)
    except OSError as error:
        if error.errno != errno.ENOEXEC or not _looks_like_text(program):
            raise
    return os.posix_spawn(_SHELL, [b"sh", program, *words[1:]], env, **attributes)


def _looks_like_text(program: bytes) -> bool:
    """Tell a script from other files that the kernel won't execute: as bash has it, by no NUL in its first line."""
    with suppress(OSError), open(program, "rb") as file:  # noqa: PTH123 - the path is bytes
        return b"\0" not in file.read(_SNIFFED).split(b"\n", 1)[0]
    return True


def _cannot_start(program: bytes | None, number: int) -> CannotStart:
    status = NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE
    if number == errno.ENOENT:
        exists = program is not None and os.path.exists(program)  # noqa: PTH110 - the path is bytes
        why = "its interpreter was not found" if exists else "not found"
    elif number == errno.EACCES:
        is_directory = program is not None and os.path.isdir(program)  # noqa: PTH112 - the path is bytes
        why = "is a directory" if is_directory else "not executable"
    elif number == errno.ENOEXEC:
        why = "not a program for this machine"
    else:
        why = os.strerror(number)
    return CannotStart(why, status)
