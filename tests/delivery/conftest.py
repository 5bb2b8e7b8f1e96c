"""Shared by the tests of delivery: a clock that jumps, a client, an outbox, a service that is down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logsh_cli.outbox import Outbox
from tests.support import answers as says
from tests.support.clock import Time
from tests.support.processes import kill_what_is_left
from tests.support.sending import KEY, LATER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logsh_cli.http.client import Client
    from tests.support.clients import Connect
    from tests.support.server import Server


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(service: Server, connect: Connect) -> Client:
    return connect(service.url, KEY)


@pytest.fixture
def outbox(tmp_path: Path, time: Time) -> Iterator[Outbox]:
    store = Outbox.open(tmp_path / "outbox", now=lambda: time.now, patience_s=0.1)
    yield store
    store.close()


@pytest.fixture
def down(service: Server) -> Server:
    service.default = says.error(503, headers=LATER)
    return service


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    kill_what_is_left(tmp_path / "state")
