"""The lines of a batch: cut out of whatever comes in, whenever it comes, and read as events."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from io import FileIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logsh_cli.batch.pump import BLOCK_BYTES, BLOCKS_AHEAD, LONGEST_LINE, Line, LineReader, parse_line
from logsh_cli.errors import InvalidEvent
from logsh_cli.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE_S = 30.0
GOOD = b'{"event":"e","description":"d"}'
READ = Event("shop", "e", "d")


def parse(content: bytes | None, workspace: str | None = "shop", *, validate: bool = True) -> Event | None:
    return parse_line(content, workspace, validate=validate, truncate=False)


def problems(content: bytes | None, workspace: str | None = "shop", *, validate: bool = True) -> str:
    with pytest.raises(InvalidEvent) as bad:
        parse(content, workspace, validate=validate)
    return bad.value.message


# One line as an event


def test_a_line_is_an_event_whatever_white_space_and_order_it_has() -> None:
    for content in (
        GOOD,
        GOOD + b"\r",
        b"\xef\xbb\xbf" + GOOD,
        b" \t" + GOOD + b"  ",
        "\u00a0".encode() + GOOD,
        b'{"description": " d ", "event": " e "}',
        b'{"event":"e","description":"d","workspace":"shop","metadata":{}}',
    ):
        assert parse(content) == READ, content
    for content in (b"", b"\r", b" \t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r", "\u2003".encode()):
        assert parse(content) is None, content
    whole = b'{"workspace":"w","event":"e","description":"d","icon":":rocket:","notify":false,"metadata":{"n":1.5}}'
    assert parse(whole) == Event("w", "e", "d", "🚀", notify=False, metadata={"n": 1.5})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"deploy done", 'not valid JSON (Expecting value): "deploy done"'),
        (GOOD + b" " + GOOD, "not valid JSON (Extra data)"),
        (GOOD[:-2], "not valid JSON (Unterminated string"),
        (b'{"event":"a\x1b[31mb"}', "\\x1b"),
        (b"[]", "expected a JSON object; got an array"),
        (b"NaN", "expected a JSON object; got NaN"),
        (b"[" * 100_000, "not valid JSON (nested too deeply)"),
        (b"9" * 5_000, "not valid JSON (a number is too long)"),
        (b"\xff\xfe{\0", "not valid UTF-8 at byte 1"),
        (b"\xef\xbb\xbf\xff", "not valid UTF-8 at byte 4"),
        (b'{"event":"e","event":"f","description":"d"}', "a key comes twice"),
        (b'{"event":"e","description":"d","metadata":{"a":1,"a":2}}', "a key comes twice"),
        (b'{"event":"e"}', "description is required"),
        (b'{"event":"e","descripton":"d"}', '"descripton" is not a field of an event (did you mean'),
        (GOOD[:-1] + b',"workspace":7}', "workspace must be a string; got 7"),
        (GOOD[:-1] + b',"metadata":{"a":NaN}}', 'metadata "a" must be a number that fits'),
        (b'{"event":"\\ud83d","description":"d"}', "event is not valid UTF-8 text"),
        (None, "longer than 1048576 bytes"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_bad_line_is_told_by_what_is_wrong_with_it(content: bytes | None, said: str) -> None:
    assert said in problems(content)


def test_all_problems_of_a_line_are_told_at_once() -> None:
    assert problems(b'{"event":"","icon":"x","colour":"red"}').count("; ") == 3


def test_a_line_without_a_workspace_needs_a_default() -> None:
    assert "workspace is required" in problems(GOOD, workspace=None)
    named = parse(GOOD[:-1] + b',"workspace":"w"}', workspace=None)
    assert named == Event("w", "e", "d")


def test_without_validation_the_service_judges_what_a_field_holds_but_not_what_is_no_request() -> None:
    event = parse(b'{"event":"","icon":"x","description":"' + b"d" * 200 + b'"}', validate=False)
    assert event == Event("shop", "", "d" * 200, "x")
    for content in (GOOD[:-1] + b',"at":1}', b"[]", b'{"event":7}', b"{"):
        problems(content, validate=False)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_line_fail_in_any_other_way(content: bytes) -> None:
    try:
        event = parse(content)
    except InvalidEvent as error:
        assert error.message  # noqa: PT017 - what is proved is that nothing else is raised
    else:
        assert event is None or event.event


# Lines out of a stream


@contextmanager
def pipe() -> Iterator[tuple[int, FileIO]]:
    """The end to read from, and the one to write to."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as to:
        assert isinstance(to, FileIO)
        yield reading, to


def write(to: FileIO, pieces: Sequence[bytes]) -> None:
    """Write it all, close, and don't wait for the reader."""

    def run() -> None:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[to.write(view) :]
        to.close()

    threading.Thread(target=run, daemon=True).start()


def drained(reader: LineReader) -> list[Line]:
    """All lines to the end of the input."""
    lines: list[Line] = []
    patience = time.monotonic() + PATIENCE_S
    while (some := reader.next(1.0)) != []:
        lines += some or []
        assert time.monotonic() < patience
    return lines


def lines_of(*pieces: bytes) -> list[Line]:
    with pipe() as (reading, writing):
        write(writing, pieces)
        return drained(LineReader(reading))


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", "é".encode()]), max_size=8).map(b"".join)))
def test_however_the_bytes_arrive_the_lines_are_the_same(pieces: list[bytes]) -> None:
    whole = b"".join(pieces).split(b"\n")
    if whole[-1] == b"":
        whole.pop()  # what follows the last line's end is no line
    assert lines_of(*pieces) == [Line(number, content) for number, content in enumerate(whole, 1)]


FAR_TOO_LONG = b"x" * (2 * LONGEST_LINE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([FAR_TOO_LONG, b"\nb\n"], [None, b"b"], id="first"),
        pytest.param([b"a\n", FAR_TOO_LONG, b"\nb\n"], [b"a", None, b"b"], id="in the middle"),
        pytest.param([b"a\n", FAR_TOO_LONG], [b"a", None], id="last, without an end"),
        pytest.param([b"a\n", FAR_TOO_LONG, b"\n"], [b"a", None], id="last"),
        pytest.param([FAR_TOO_LONG, b"\n", FAR_TOO_LONG, b"\n\nb"], [None, None, b"", b"b"], id="two of them"),
        pytest.param([b"y" * LONGEST_LINE, b"\nb"], [b"y" * LONGEST_LINE, b"b"], id="just as long as may be"),
        pytest.param([b"y" * (LONGEST_LINE + 1), b"\nb"], [None, b"b"], id="one byte too long"),
    ],
)
def test_a_line_that_is_too_long_is_skipped_and_counted(given: list[bytes], expected: list[bytes | None]) -> None:
    assert lines_of(*given) == [Line(number, content) for number, content in enumerate(expected, 1)]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_line_is_there_as_soon_as_it_is_whole_also_from_a_pipe_that_does_not_block(*, blocking: bool) -> None:
    with pipe() as (reading, writing):
        os.set_blocking(reading, blocking)
        reader = LineReader(reading)
        assert reader.next(0.01) is None
        writing.write(b"one\ntw")
        assert reader.next(PATIENCE_S) == [Line(1, b"one")]
        assert reader.next(0.01) is None
        writing.write(b"o\n")
        assert reader.next(PATIENCE_S) == [Line(2, b"two")]
        writing.close()
        assert reader.next(PATIENCE_S) == []


def test_reading_does_not_run_far_ahead_of_whoever_takes_the_lines() -> None:
    size = 64 * BLOCK_BYTES
    line = b"x" * 999 + b"\n"
    with pipe() as (reading, writing):
        reader = LineReader(reading)
        write(writing, [line * (size // len(line))])
        taken = 0
        while (some := reader.next(PATIENCE_S)) != []:
            taken += sum(len(entry.content or b"") + 1 for entry in some or ())
            assert reader.position - taken <= (BLOCKS_AHEAD + 2) * BLOCK_BYTES
        assert reader.position == taken > 60 * BLOCK_BYTES


def test_what_can_not_be_read_is_said_to_whoever_asks(tmp_path: os.PathLike[str]) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        reader = LineReader(directory)
        with pytest.raises(OSError, match="directory"):
            reader.next(PATIENCE_S)
    finally:
        os.close(directory)
