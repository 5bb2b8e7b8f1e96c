"""Every test gets a machine of its own: HOME, configuration, state, and an environment free of Logsh and of proxies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Completed, run_logsh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOREIGN_PREFIXES = ("LOGSH_", "GITHUB_", "GITLAB_", "CI_", "XDG_")
FOREIGN_NAMES = {
    *("CI", "NO_COLOR", "FORCE_COLOR", "CREDENTIALS_DIRECTORY", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONIOENCODING"),
    *(name for low in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (low, low.upper())),
}


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: most tests wait for processes, servers and clocks."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def isolated_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGSH_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("LOGSH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(home)


@pytest.fixture
def logsh() -> Callable[..., Completed]:
    """The installed command, run as a process of its own."""
    return run_logsh
