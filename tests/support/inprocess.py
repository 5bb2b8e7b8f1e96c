"""``main`` called as a function, with streams and an environment of its own: the whole command without a new process."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from logsh_cli.cli import main
from logsh_cli.context import AppContext
from logsh_cli.streams import Streams
from tests.support.command import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping


def text_stream(content: bytes = b"", encoding: str = "utf-8") -> io.TextIOWrapper:
    """A stream in memory that writes as the process's own do: at once, and never failing on a character."""
    return io.TextIOWrapper(
        io.BytesIO(content), encoding=encoding, errors="backslashreplace", newline="\n", write_through=True
    )


def written(stream: io.TextIOWrapper) -> bytes:
    """What was written to such a stream."""
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


def call_main(*argv: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Completed:
    """What ``logsh ARGV`` does; ``env`` is added to the environment of this test."""
    out, err = text_stream(), text_stream()
    merged = {**os.environ, **(env or {})}
    code = main(argv, AppContext(merged, Streams(text_stream(stdin), out, err, merged)))
    return Completed(code, written(out), written(err))
