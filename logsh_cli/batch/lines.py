"""JSON Lines as they arrive: from a file as fast as it reads, from a pipe as soon as a line is whole.

A thread reads, so that the caller can look after deliveries while a stream is silent; a small bound on what is read
ahead keeps memory flat however long the input is. Where no thread can be started, the caller waits for the lines.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from typing import TYPE_CHECKING

from logsh_cli.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 64 * 1024
LONGEST_LINE = 1024 * 1024
"""Bytes; a longer line can't be an event, and is skipped without being held in memory."""

LINES_A_CHUNK = 200
BLOCKS_AHEAD = 4


class Line(Record):
    """One line without its end; ``content`` is ``None`` for one that is too long. Numbers start at 1."""

    number: int
    content: bytes | None


class LineReader:
    """Reads a file descriptor on a thread of its own. ``position`` counts the bytes read so far."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunks: queue.Queue[list[Line] | BaseException] = queue.Queue(maxsize=BLOCKS_AHEAD)
        self.position = 0
        self._inline: Iterator[list[Line]] | None = None
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # no thread can be started
            self._inline = self._read()

    def next(self, timeout_s: float) -> list[Line] | None:
        """Lines that have arrived, an empty list once at the end, ``None`` when nothing came in time.

        Raises ``OSError`` when the input can't be read.
        """
        if self._inline is not None:
            return next(self._inline, [])
        try:
            chunk = self._chunks.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def _run(self) -> None:
        try:
            for lines in self._read():
                self._chunks.put(lines)
            self._chunks.put([])
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that asks
            self._chunks.put(error)

    def _read(self) -> Iterator[list[Line]]:
        rest, number, overlong = b"", 0, False
        while block := self._block():
            self.position += len(block)
            *whole, rest = (rest + block).split(b"\n")
            lines = []
            for content in whole:
                number += 1
                lines.append(Line(number, None if overlong or len(content) > LONGEST_LINE else content))
                overlong = False
            if overlong or len(rest) > LONGEST_LINE:
                rest, overlong = b"", True
            for start in range(0, len(lines), LINES_A_CHUNK):
                yield lines[start : start + LINES_A_CHUNK]
        if rest or overlong:
            yield [Line(number + 1, None if overlong else rest)]

    def _block(self) -> bytes:
        # Standard input may have been made non-blocking by another program that shares it.
        while True:
            try:
                return os.read(self._descriptor, BLOCK_BYTES)
            except BlockingIOError:
                select.select([self._descriptor], [], [])
