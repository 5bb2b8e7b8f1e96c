"""Deliveries that a test leaves to a courier end with the test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_couriers_left(tmp_path: Path) -> Iterator[None]:
    """A courier ends when the outbox that it works for is gone."""
    yield
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
