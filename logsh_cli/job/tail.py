"""Pass a child's output on as it comes and remember the end of it.

One thread waits for all streams at once, so that what is remembered stands in the order in which it became readable. It
writes no more than a pipe that is ready takes at once: a slow reader of standard output does not hold up standard
error, and the inherited streams stay blocking, since that is a property of every process that shares them.

Where a person sits at a terminal there is a pseudo-terminal between it and the command, so that nothing changes that
the person sees.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli.job.spawn import NOT_EXECUTABLE, CannotStart, above_streams, inheritable, open_pipe, spawn

if sys.platform != "win32":
    import fcntl
    import termios
    import tty

    from logsh_cli.job.signals import in_foreground, send

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

KEPT_BYTES = 64 * 1024
"""Far more than the 500 characters that can be sent: a secret must be whole to be recognised before the cut."""

_CHUNK = 64 * 1024
_AT_ONCE = 4096  # PIPE_BUF: what a pipe that is ready takes without blocking
_MOMENT_S = 0.001
_LOOK_AGAIN_MS = 100
_MOST_OF_A_TERMINAL = 1024 * 1024
_IN, _OUT, _ERR = 0, 1, 2
_PASSES_ON = ("/bin/cat", "/usr/bin/cat")

_OUTPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 1, 3, 6
_WORD = struct.Struct("=i")
_STARTED, _REFUSED = b"+", b"-"
_LONGEST_REASON = 4096


class TailBuffer:
    """The last ``KEPT_BYTES`` of all streams. Safe to use from several threads."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._cut = False
        self._lock = threading.Lock()

    def add(self, chunk: bytes) -> None:
        """Remember ``chunk``, forgetting what is too old."""
        with self._lock:
            self._bytes += chunk
            if len(self._bytes) > 2 * KEPT_BYTES:
                del self._bytes[:-KEPT_BYTES]
                self._cut = True

    def contents(self) -> bytes:
        """Return it; where older bytes are missing it begins with a whole line, not with half a secret."""
        with self._lock:
            kept = bytes(self._bytes[-KEPT_BYTES:])
            cut = self._cut or len(self._bytes) > KEPT_BYTES
        return kept[kept.find(b"\n") + 1 :] if cut else kept


class _Stream:
    """One pipe of the child's, the stream it leads to, what was read and is not written, how much is still to be read.

    ``left`` is ``None`` while the child lives.
    """

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self.rest = memoryview(b"")
        self.left: int | None = None

    @property
    def is_done(self) -> bool:
        return not self.rest and self.left == 0


class Tee(threading.Thread):
    """Pipes to be the child's standard output and error, and the thread that empties them.

    It runs before there is a child, so that no child ever writes into a pipe that nobody could be found to empty. A
    stream that is closed in logsh gets no pipe and stays closed in the child; two that are one file are one pipe, so
    that what was written to both keeps its order.

    Life: create, spawn with ``moves``, ``spawned`` whatever came of it; ``child_ended``, then ``drained``; with
    ``hold``, ``show`` if the output is to be seen. ``error`` says why output could not be passed on.

    Raises:
        OSError, RuntimeError: no more pipes, no more threads.
    """

    def __init__(self, *, hold: bool = False) -> None:
        super().__init__(name="output", daemon=True)
        self.terminal = None if hold else make_terminal()
        self.moves: list[tuple[int, int]] = []
        self.error: str | None = None
        self._kept = TailBuffer()
        self._late = bytearray()
        self._streams: list[_Stream] = []
        self._spool = _Spool() if hold else None
        self._is_drained = threading.Event()
        self._wake, self._waking = open_pipe()
        try:
            for stream in (_OUT, _ERR):
                self._open(stream)
            if self.terminal:
                self._streams.append(_Stream(_IN, self.terminal.master))
            self.start()
        except BaseException:
            self.spawned()
            for descriptor in (self._wake, self._waking, *(stream.source for stream in self._streams)):
                if self.terminal is None:
                    os.close(descriptor)  # the command may need every one that there is
            raise

    def _open(self, stream: int) -> None:
        identity = _identity(stream)
        if identity is None:
            return
        if stream == _ERR and self.moves and identity == _identity(_OUT):
            self.moves.append((self.moves[0][0], stream))
            return
        if self.terminal and stream == _OUT:
            reading, writing = self.terminal.master, self.terminal.slave
        else:
            reading, writing = open_pipe()
        self.moves.append((writing, stream))
        self._streams.append(_Stream(reading, stream))

    def spawned(self) -> None:
        """The child has its ends of the pipes, or there is no child: close ours."""
        for writing in {writing for writing, _ in self.moves} - {self.terminal and self.terminal.slave}:
            os.close(writing)

    def child_ended(self) -> None:
        """From now on only what is in the pipes already is waited for, whoever else may still hold them."""
        os.close(self._waking)

    def drained(self, timeout_s: float) -> bool:
        """Wait for at most ``timeout_s`` and return whether all that the child wrote has been passed on."""
        return self._is_drained.wait(timeout_s)

    def contents(self) -> bytes:
        """Return the end of the output."""
        self._kept.add(bytes(self._late))
        self._late.clear()
        return self._kept.contents()

    def show(self) -> None:
        """Pass on what was held back."""
        if self._spool:
            self._spool.replay()

    def run(self) -> None:
        """The thread's work."""
        try:
            while any(not stream.is_done for stream in self._streams):
                self._pass_on_what_is_ready()
            for stream in self._streams:
                self._leave_to_another(stream)
        finally:
            self._is_drained.set()

    def _events(self) -> dict[int, int]:
        """Return what to wait for on which descriptor; a terminal is read from and written to."""
        events: dict[int, int] = {}
        for stream in self._streams:
            if stream.rest:
                events[stream.target] = events.get(stream.target, 0) | select.POLLOUT
            elif stream.left != 0 and (stream.source != _IN or (self.terminal and self.terminal.passes_keys)):
                events[stream.source] = events.get(stream.source, 0) | select.POLLIN
            if stream.left is None:
                events[self._wake] = select.POLLIN
        return events

    def _pass_on_what_is_ready(self) -> None:
        poll = select.poll()
        for descriptor, events in self._events().items():
            poll.register(descriptor, events)
        ready = dict(poll.poll(_LOOK_AGAIN_MS if self.terminal else None))
        for stream in list(self._streams):  # standard error last: where the order can't be told, it says why
            if stream.rest and ready.get(stream.target, 0) & ~select.POLLIN:
                self._write(stream)
            elif not stream.rest and ready.get(stream.source, 0) & ~select.POLLOUT:
                self._read(stream)
        for stream in self._streams:
            if self._wake in ready and stream.left is None:
                stream.left = self._what_is_left(stream)
            elif not ready and stream.left is not None:
                stream.left = 0  # a terminal that has come to rest

    def _what_is_left(self, stream: _Stream) -> int:
        """Exactly what is there when the child has ended: a busy process left behind could go on for ever.

        A terminal can't say how much that is.
        """
        if stream.source == _IN:
            return 0
        is_terminal = self.terminal is not None and stream.source == self.terminal.master
        return _MOST_OF_A_TERMINAL if is_terminal else _waiting_in(stream.source)

    def _read(self, stream: _Stream) -> None:
        try:
            chunk = os.read(stream.source, _CHUNK if stream.left is None else min(stream.left, _CHUNK))
        except OSError:  # so ends a terminal
            chunk = b""
        if not chunk:
            self._close(stream)
            return
        if stream.source == _IN:
            stream.rest = memoryview(chunk)
            self.terminal.signals_of(chunk)  # type: ignore[union-attr]  # only a terminal has keys
            return
        self._remember(stream, chunk)
        if stream.left is not None:
            stream.left -= len(chunk)
        if self._spool is None or not self._spool.add(stream.target, chunk):
            stream.rest = memoryview(chunk)

    def _remember(self, stream: _Stream, chunk: bytes) -> None:
        outputs = [other for other in self._streams if other.target == _OUT]
        if stream.target == _ERR and any(output.rest or _waiting_in(output.source) for output in outputs):
            # Standard output waits for its reader, and what is still in its pipe may be older than this.
            self._late += chunk
            del self._late[:-KEPT_BYTES]
            return
        self._kept.add(chunk)
        if stream.target == _OUT and self._late:
            self._kept.add(bytes(self._late))
            self._late.clear()

    def _write(self, stream: _Stream) -> None:
        """Write what goes at once.

        A stream that takes no more (its reader gone, a full disk, a terminal that hung up) is closed towards the child,
        so that one which writes on meets SIGPIPE or EPIPE and fails as it would have.
        """
        try:
            stream.rest = stream.rest[os.write(stream.target, stream.rest[:_AT_ONCE]) :]
        except BlockingIOError:  # another process made the stream non-blocking; it is not ours to change back
            time.sleep(_MOMENT_S)
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.error = error.strerror
            self._close(stream)

    def _close(self, stream: _Stream) -> None:
        if self.terminal is None or stream.source not in (_IN, self.terminal.master):
            os.close(stream.source)
        self._streams.remove(stream)

    def _leave_to_another(self, stream: _Stream) -> None:
        """Have ``cat`` pass on what processes that the command left behind will write: they may outlive us.

        As without logsh, the caller's own pipe then stays open for as long as such a process has it.
        """
        poll = select.poll()
        poll.register(stream.source, 0)
        if stream.source == _IN or poll.poll(0):  # no writer is left
            return
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        target = null if self._spool and not self._spool.is_shown else stream.target
        actions = [
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in inheritable() if descriptor not in (_OUT, _ERR)),
            (os.POSIX_SPAWN_DUP2, target, 1),
            (os.POSIX_SPAWN_DUP2, stream.source, 0),
            (os.POSIX_SPAWN_DUP2, null, 2),
        ]
        for program in _PASSES_ON:
            with suppress(OSError):
                os.posix_spawn(program, ["cat"], {}, file_actions=actions, setsigmask=signal.valid_signals())
                break
        os.close(null)


class _Spool:
    """Output that is held back, in a temporary file without a name."""

    def __init__(self) -> None:
        import tempfile  # noqa: PLC0415 - only where output is held back

        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as logsh
        self.is_shown = False

    def add(self, target: int, chunk: bytes) -> bool:
        """Keep it; False when it is to be passed on instead, since there is no room to keep more."""
        if not self.is_shown:
            try:
                self._file.write(bytes([target]) + len(chunk).to_bytes(4, "big") + chunk)
            except OSError:
                self.replay()
        return not self.is_shown

    def replay(self) -> None:
        """Write all that was kept to where it was to go."""
        self.is_shown = True
        self._file.seek(0)
        while len(head := self._file.read(5)) == 5:  # noqa: PLR2004 - the head that `add` writes
            with suppress(OSError):
                _write_all(head[0], self._file.read(int.from_bytes(head[1:], "big")))


def _write_all(stream: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        try:
            rest = rest[os.write(stream, rest) :]
        except BlockingIOError:
            time.sleep(_MOMENT_S)


def _waiting_in(pipe: int) -> int:
    with suppress(OSError):
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    return 0


def _identity(stream: int) -> tuple[int, int, int] | None:
    """Tell whether two streams are one file, opened in one way; ``None`` for one that is closed."""
    with suppress(OSError):
        status = os.fstat(stream)
        return status.st_dev, status.st_ino, fcntl.fcntl(stream, fcntl.F_GETFL)
    return None


def make_terminal() -> Terminal | None:
    """Return a pseudo-terminal where a person sits at the real one, if there is one left."""
    with suppress(OSError):
        if os.isatty(_IN) and os.isatty(_OUT) and in_foreground():
            return Terminal()
    return None


class Terminal:
    """A pseudo-terminal: create, ``spawn``, ``take``; ``next_status`` says how the command fares; ``end`` at last.

    The command has a session of its own then, whose leader is a fork of logsh that does nothing but tell how the
    command fares: without such a parent in its session the system would not let Ctrl-Z stop it. The real terminal is
    raw meanwhile and has the same modes at the end as the command left its own in.

    Raises ``OSError`` where there are no more pseudo-terminals or processes.
    """

    def __init__(self) -> None:
        master, slave = os.openpty()
        self.master, self.slave = above_streams(master), above_streams(slave)
        self.taken = False
        self.monitor: int | None = None
        self._group: int | None = None
        self._modes = termios.tcgetattr(_IN)
        termios.tcsetattr(self.slave, termios.TCSANOW, self._modes)
        self.resize()
        self._news, self._telling = open_pipe()

    @property
    def passes_keys(self) -> bool:
        """True once a key reaches the command: before it is in the foreground, Ctrl-C would reach nobody."""
        return self.taken and self._group is not None

    def resize(self) -> None:
        """Give it the size of the real one; the command hears of it as usual."""
        with suppress(OSError):
            size = fcntl.ioctl(_OUT, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def spawn(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str],
        *,
        mask: Collection[int],
        moves: Sequence[tuple[int, int]],
    ) -> int:
        """Start the command as ``spawn`` does, with this as its terminal; raises ``CannotStart`` as well."""
        self.monitor = os.fork()
        if self.monitor == 0:
            self._watch(argv, env, mask, [(self.slave, _IN), *moves])
        os.close(self.slave)
        os.close(self._telling)
        answer = os.read(self._news, 1)
        if answer == _STARTED:
            job, self._group = (int(_WORD.unpack(os.read(self._news, _WORD.size))[0]) for _ in range(2))
            return job
        status = os.read(self._news, _WORD.size) or _WORD.pack(NOT_EXECUTABLE)
        reason = os.read(self._news, _LONGEST_REASON).decode(errors="replace")
        raise CannotStart(reason or "its process was killed", int(_WORD.unpack(status)[0]))

    def _watch(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str],
        mask: Collection[int],
        moves: Sequence[tuple[int, int]],
    ) -> None:
        """The leader of the command's session, which never returns."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            parent = os.getppid()
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            # The command's group has the terminal before there is a command: some leave at once where it is not theirs.
            group = os.fork()
            if not group:
                signal.pause()
            os.setpgid(group, group)
            os.tcsetpgrp(self.slave, group)
            job, failure = 0, None
            try:
                job = spawn(argv, env, mask=mask, moves=moves, group=group)
            except CannotStart as refused:
                failure = refused
            os.kill(group, signal.SIGKILL)
            os.waitpid(group, 0)
            if failure:
                os.write(self._telling, _REFUSED + _WORD.pack(failure.status) + failure.reason.encode())
                os._exit(0)
            for descriptor in range(_ERR + 1, max(self.slave, self._telling, self.master, 64) + 1):
                if descriptor not in (self.slave, self._telling):
                    with suppress(OSError):
                        os.close(descriptor)
            os.write(self._telling, _STARTED + _WORD.pack(job) + _WORD.pack(group))
            ended = False
            while not ended:
                _, status = os.waitpid(job, os.WUNTRACED)
                ended = not os.WIFSTOPPED(status)
                os.write(self._telling, _WORD.pack(status))
                os.kill(parent, signal.SIGCHLD)
            # Else the end of the session would hang up on what the command left behind.
            os.tcsetpgrp(self.slave, os.getpgrp())
        finally:
            os._exit(0)

    def next_status(self) -> int | None:
        """Return how the command ended or was stopped, as ``waitpid`` has it, if there is news."""
        os.set_blocking(self._news, False)
        with suppress(BlockingIOError):
            news = os.read(self._news, _WORD.size)
            # A monitor that was killed leaves the terminal's hang-up to end the command.
            return int(_WORD.unpack(news)[0]) if news else int(signal.SIGKILL)
        return None

    def take(self) -> None:
        """Pass every key on, if we are in the foreground."""
        if not self.taken and in_foreground():
            self._modes = termios.tcgetattr(_IN)
            tty.setraw(_IN, termios.TCSANOW)
            self.resize()
            self.taken = True

    def resume(self) -> None:
        """Continue the command, and pass keys on again."""
        if self._group is not None:
            send(-self._group, signal.SIGCONT)  # first, since it would undo a Ctrl-Z that comes through from now on
        self.take()

    def give_back(self) -> None:
        """Let the real terminal have the modes that the command's has now."""
        if self.taken:
            self.taken = False
            with suppress(termios.error):
                self._modes = termios.tcgetattr(self.master)
            with suppress(termios.error):
                termios.tcsetattr(_IN, termios.TCSADRAIN, self._modes)

    def end(self) -> None:
        """The command has ended: give the terminal back, which from now on makes lines of what is still written."""
        self.give_back()
        with suppress(termios.error):
            modes = termios.tcgetattr(self.master)
            modes[_OUTPUT_FLAGS] &= ~termios.OPOST
            termios.tcsetattr(self.master, termios.TCSANOW, modes)

    def signals_of(self, keys: bytes) -> None:
        """Send to our own process group what these keys would have: a script around us is to stop as well."""
        with suppress(termios.error):
            modes = termios.tcgetattr(self.master)
            for index, number in ((termios.VINTR, signal.SIGINT), (termios.VQUIT, signal.SIGQUIT)):
                if modes[_LOCAL_FLAGS] & termios.ISIG and modes[_CHARACTERS][index] in keys and keys:
                    os.killpg(os.getpgrp(), number)
