"""``main`` called as a function, with streams and an environment of its own: the whole command, no new process."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.cli import main
from logsh_cli.clock import Clock
from logsh_cli.http.connector import Connector
from logsh_cli.output.streams import Streams
from tests.support.command import Completed, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from logsh_cli.config.resolve import Destination
    from logsh_cli.http.client import Client
    from logsh_cli.outbox import Outbox


def text_stream(encoding: str = "utf-8") -> io.TextIOWrapper:
    """A stream in memory that writes as the process's own do: at once, and never failing on a character."""
    return io.TextIOWrapper(
        io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n", write_through=True
    )


def written(stream: io.TextIOWrapper) -> bytes:
    """Return the text that was written to such a stream."""
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


def call_main(
    *argv: str | bytes,
    env: Mapping[str, str | None] | None = None,
    stdin: bytes = b"",
    cwd: Path | None = None,
    clock: Clock | None = None,
) -> Completed:
    """Run ``logsh ARGV`` in this process, as ``run_logsh`` has it; ``clock`` is the machine's."""
    out, err = text_stream(), text_stream()
    merged = environment(env)
    with tempfile.TemporaryFile() as file, contextlib.chdir(cwd or "."):
        file.write(stdin)
        file.seek(0)
        context = TidyContext(merged, Streams(io.TextIOWrapper(file), out, err, merged), clock or Clock())
        try:
            code = main([os.fsdecode(word) for word in argv], context)
        finally:
            context.close()
    return Completed(code, written(out), written(err))


class TidyContext(AppContext):
    """A process of logsh leaves its files and connections to the system when it ends; a test's process goes on."""

    def __init__(self, env: Mapping[str, str], streams: Streams, clock: Clock) -> None:
        super().__init__(env, streams, clock)
        self._made: list[Client | Outbox] = []

    def close(self) -> None:
        """Close whatever was opened."""
        for made in self._made:
            made.close()

    def store(self, *, patience_s: float | None = None) -> Outbox:
        return self._noted(super().store(patience_s=patience_s))

    def existing_store(self) -> Outbox:
        return self._noted(super().existing_store())

    def connector(self, destination: Destination) -> Connector:
        return _NotingConnector(super().connector(destination), self._made)

    def _noted(self, store: Outbox) -> Outbox:
        self._made.append(store)
        return store


class _NotingConnector(Connector):
    def __init__(self, connector: Connector, made: list[Client | Outbox]) -> None:
        vars(self).update(vars(connector))
        self._made = made

    def __call__(self) -> Client:
        client = super().__call__()
        self._made.append(client)
        return client
