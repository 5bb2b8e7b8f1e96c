"""The command is called here, not started: what a new process adds is shown elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.inprocess import call_main

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Completed


@pytest.fixture
def logsh() -> Callable[..., Completed]:
    return call_main
