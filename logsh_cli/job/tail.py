"""Pass a child's output on as it comes and remember the end of it.

One thread a stream, with blocking reads and writes: a slow reader of standard output must not hold up standard error,
and making the inherited streams non-blocking would change them for every process that shares them.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
import time
from contextlib import suppress

from logsh_cli.job.spawn import open_pipe

KEPT_BYTES = 64 * 1024
"""Far more than the 500 characters that can be sent: a secret must be whole to be recognised before the cut."""

_CHUNK = 64 * 1024
_STREAMS = (1, 2)


class TailBuffer:
    """The last ``KEPT_BYTES`` of all streams, in order of arrival. Safe to use from several threads."""

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
        """What is remembered. Where older bytes are missing it begins with a whole line, not with half a secret."""
        with self._lock:
            kept = bytes(self._bytes[-KEPT_BYTES:])
            cut = self._cut or len(self._bytes) > KEPT_BYTES
        return kept[kept.find(b"\n") + 1 :] if cut else kept


class Tee:
    """Pipes to be the child's standard output and error, and the threads that empty them.

    They run before there is a child, so that no child ever writes into a pipe that nobody could be found to empty. A
    stream that is closed in logsh gets no pipe, and stays closed in the child.

    Life: create, spawn with ``moves``, ``spawned`` whatever came of it; ``child_ended``, then ``drained``.

    Raises:
        OSError, RuntimeError: no more pipes, no more threads.
    """

    def __init__(self) -> None:
        self.tail = TailBuffer()
        self.moves: list[tuple[int, int]] = []
        self._pumps: list[_Pump] = []
        try:
            for stream in filter(_is_open, _STREAMS):
                reading, writing = open_pipe()
                self.moves.append((writing, stream))
                self._pumps.append(_Pump(reading, stream, self.tail))
                self._pumps[-1].start()
        except BaseException:
            self.spawned()
            raise

    def spawned(self) -> None:
        """The child has its ends of the pipes, or there is no child: close ours."""
        for writing, _ in self.moves:
            os.close(writing)

    def child_ended(self) -> None:
        """From now on only what is in the pipes already is waited for, whoever else may still hold them."""
        for pump in self._pumps:
            pump.child_ended()

    def drained(self, timeout_s: float) -> bool:
        """Whether all that the child wrote has been passed on, waiting for at most ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        return all(pump.drained.wait(max(0.0, deadline - time.monotonic())) for pump in self._pumps)


class _Pump(threading.Thread):
    """Moves one pipe to one stream until the pipe is closed or the stream has no reader any more.

    It goes on for as long as logsh lives. A process that the command left behind loses its pipe with logsh (and gets
    SIGPIPE should it write again): a helper that outlived logsh to pass that on would keep the caller's own pipe open,
    and the caller waiting for its end, which is the greater harm.
    """

    def __init__(self, source: int, stream: int, tail: TailBuffer) -> None:
        super().__init__(name=f"pass on {stream}", daemon=True)
        self.drained = threading.Event()
        self._source = source
        self._stream = stream
        self._tail = tail
        self._wake_reading, self._wake_writing = open_pipe()

    def child_ended(self) -> None:
        os.close(self._wake_writing)

    def run(self) -> None:
        try:
            if self._pass_on_until_woken():
                self._pass_on_bytes(_waiting_in(self._source))
                self.drained.set()
                while self._pass_on_chunk():
                    pass
        finally:
            # Closing the read end is what hands a vanished reader on to the child, as SIGPIPE or EPIPE.
            os.close(self._source)
            os.close(self._wake_reading)
            self.drained.set()

    def _pass_on_until_woken(self) -> bool:
        """True when the child has ended, False when there is nothing more to pass on."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._wake_reading, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._wake_reading in ready:
                return True
            if not self._pass_on_chunk():
                return False

    def _pass_on_bytes(self, count: int) -> None:
        """Exactly what was in the pipe when the child ended: a busy process left behind could go on for ever."""
        while count > 0 and (passed := self._pass_on_chunk()):
            count -= passed

    def _pass_on_chunk(self) -> int:
        chunk = os.read(self._source, _CHUNK)
        self._tail.add(chunk)
        return len(chunk) if _write_all(self._stream, chunk) else 0


def _write_all(stream: int, chunk: bytes) -> bool:
    """False when the reader of ``stream`` has gone.

    Any other failure (a full disk, a terminal that hung up) drops these bytes only: the job would have seen an error it
    may well have ignored, and killing it with SIGPIPE instead would be worse than losing its output.
    """
    rest = memoryview(chunk)
    while rest:
        try:
            rest = rest[os.write(stream, rest) :]
        except BlockingIOError:
            # Another process made the stream non-blocking; it is not ours to change back.
            waiting = select.poll()
            waiting.register(stream, select.POLLOUT)
            waiting.poll()
        except OSError as error:
            return error.errno != errno.EPIPE
    return True


def _waiting_in(pipe: int) -> int:
    import fcntl  # noqa: PLC0415 - these two are POSIX, and so is this module's use
    import termios  # noqa: PLC0415

    with suppress(OSError):
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    return 0


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True
