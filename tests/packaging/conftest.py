from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.archives import built_once

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive, built once for all workers."""
    return built_once(tmp_path_factory.getbasetemp())
