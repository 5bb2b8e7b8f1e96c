"""Shared by the tests of http: a server with and without TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.certs import authority
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def secured() -> Iterator[Server]:
    with Server(tls=authority().server_context()) as running:
        yield running


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    return str(authority().write_ca(tmp_path))
