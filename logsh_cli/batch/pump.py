"""A whole batch: read lines, check them, store them in groups, send them, and keep the input's pace.

A thread reads; a small bound on what is read ahead keeps memory flat however long the input is. It, the workers and the
store meet in ``BatchJob.run``, which never waits for one of them so long that it would neglect another.
"""

from __future__ import annotations

import json
import os
import queue
import select
import threading
from typing import TYPE_CHECKING, Any

from logsh_cli import Record
from logsh_cli.delivery.drain import Drain, Totals
from logsh_cli.errors import EventRefused, InvalidEvent, MissingWorkspace, NotKept
from logsh_cli.event import FIELD_LABELS, WHITE_SPACE, Event, build_event, draft_from_json
from logsh_cli.http.wire import encode_body
from logsh_cli.output.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logsh_cli.delivery.stop import StopRequest

BLOCK_BYTES = 64 * 1024
LONGEST_LINE = 1024 * 1024
"""Bytes; a longer line can't be an event, and is skipped without being held in memory."""

LINES_A_CHUNK = 200
BLOCKS_AHEAD = 4

IN_FLIGHT_PER_WORKER = 50
"""Enough that no worker runs dry between two commits, few enough that leases outlast the wait."""

IDLE_LOOK_S, BUSY_LOOK_S = 0.5, 0.02


class Line(Record):
    """One line without its end; ``content`` is ``None`` for one that is too long. Numbers start at 1."""

    number: int
    content: bytes | None


class LineReader:
    """Reads a file descriptor on a thread of its own, or, where none can be started, while the caller waits.

    ``position`` counts the bytes read so far.
    """

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


def parse_line(content: bytes | None, workspace: str | None, *, validate: bool, truncate: bool) -> Event | None:
    """Return the event of one line; ``None`` for a line of white space, which does not count.

    Raises ``InvalidEvent`` with every problem of the line.
    """
    if content is None:
        raise InvalidEvent([f"longer than {LONGEST_LINE} bytes"])
    try:
        text = content.decode().strip(WHITE_SPACE)  # to which a byte order mark belongs
    except UnicodeDecodeError as error:
        raise InvalidEvent([f"not valid UTF-8 at byte {error.start + 1}"]) from None
    if not text:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        hint = _ARRAY if text.startswith("[") else _PRETTY if text == "{" else None
        raise InvalidEvent([f"not valid JSON ({_reason(error)}): {excerpt(text)}"], hint=hint) from None
    draft, problems = draft_from_json(value)
    if isinstance(value, list):
        raise InvalidEvent(problems, hint=_ARRAY)
    if draft.workspace is None and workspace is not None and not any(p.startswith("workspace") for p in problems):
        draft = draft._replace(workspace=workspace)
    try:
        return build_event(draft, labels=FIELD_LABELS, validate=validate, truncate=truncate, extra_problems=problems)
    except MissingWorkspace:
        raise InvalidEvent(["workspace is required: the line has none, and no default is set"]) from None


_ARRAY = "one event a line: jq -c '.[]' FILE | logsh batch -"
_PRETTY = "one event a line: jq -c . FILE | logsh batch -"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):  # which value was meant is not known
        raise json.JSONDecodeError("a key comes twice", "", 0)
    return fields


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg.removesuffix(" at")
    # Python's own words for these are about Python.
    return "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"


class BatchJob:
    """Carries lines, from ``from_line`` on, to the drain; without one only checks them. Problems go to ``report``.

    ``invalid`` and ``accepted`` count lines. ``last_line`` was the last to be taken; ``at_end``: there are no more.
    """

    def __init__(
        self,
        parse: Callable[[bytes | None], Event | None],
        report: Callable[[str], None],
        drain: Drain | None,
        stop: StopRequest,
        *,
        jobs: int,
        from_line: int = 1,
    ) -> None:
        self.parse = parse
        self.report = report
        self.drain = drain
        self.stop = stop
        self.most_in_flight = jobs * IN_FLIGHT_PER_WORKER
        self.last_line = from_line - 1
        self.at_end = False
        self.accepted = self.invalid = 0
        self.unreadable: OSError | None = None
        self.totals = drain.totals if drain is not None else Totals()
        self._hinted = False

    def run(self, reader: LineReader) -> Iterator[None]:
        """Go on to the end of the input, a stop, a store that takes no more, or an input that is ``unreadable``.

        Yields now and then, for whoever shows how far it is.
        """
        drain = self.drain
        while not self.stop and not self.at_end:
            try:
                lines = reader.next(BUSY_LOOK_S if drain is not None and drain.in_flight else IDLE_LOOK_S)
            except OSError as error:
                self.unreadable = error
                break
            self.at_end = lines == []
            if lines and not self.take(lines):
                break
            if drain is not None:
                drain.poll()
                self._wait_for_workers(drain, self.most_in_flight)
            yield
        if drain is not None:
            yield from drain.settled()

    def take(self, lines: Iterable[Line]) -> bool:
        """Check lines and send the good ones on their way; return False when there is no more room for them."""
        bodies: list[tuple[int, bytes]] = []
        number = self.last_line
        for line in lines:
            if line.number <= self.last_line:
                continue
            number = line.number
            try:
                event = self.parse(line.content)
            except InvalidEvent as error:
                # What is wrong with the first line that has a hint is wrong with all that follow.
                hint = "" if self._hinted or error.hint is None else f" ({error.hint})"
                self._hinted = self._hinted or error.hint is not None
                self.invalid += 1
                self.report(f"line {number}: {error.message}{hint}")
                self.totals.note(EventRefused("bad lines were skipped"))
                continue
            if event is not None:
                bodies.append((number, encode_body(event.body())))
        if bodies and self.drain is not None and not self._accept(self.drain, bodies):
            return False
        self.accepted += len(bodies)
        self.last_line = number
        return True

    def _accept(self, drain: Drain, bodies: list[tuple[int, bytes]]) -> bool:
        """Store a group of lines, then feed it; waits for room to be made by what is under way."""
        contents = [body for _, body in bodies]
        try:
            group = drain.road.accept_all(contents)
        except NotKept:
            self._wait_for_workers(drain, 0)
            try:
                group = drain.road.accept_all(contents)
            except NotKept as error:
                first = bodies[0][0]
                self.last_line = first - 1
                self.report(f"line {first}: {error.message}; this line and those after it were not taken")
                self.totals.note(error)
                return False
        for accepted in group:
            drain.feed(accepted)
        return True

    def _wait_for_workers(self, drain: Drain, most: int) -> None:
        while drain.in_flight > most and not self.stop:
            drain.poll(BUSY_LOOK_S)
