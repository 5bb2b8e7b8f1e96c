"""An address on loopback where a connection is neither made nor refused, as behind a firewall that drops packets."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def blackhole() -> Iterator[tuple[str, int]]:
    """Linux drops a SYN to a listener whose queue is full; other systems refuse."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux ignores who knocks at a full queue")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address
