"""A logsh that starts another starts itself again, wherever its modules came from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import logsh_cli
from tests.support.command import PATIENCE_S, environment

if TYPE_CHECKING:
    from tests.support.server import Server

OTHER_VERSION = "99.0"
"""Tells the logsh in the zipapp from the one that this Python has installed."""


@pytest.fixture
def zipapp(tmp_path: Path) -> Path:
    """One file with logsh in it, which finds what logsh needs where this Python has it."""
    package = Path(logsh_cli.__file__).parent
    path = tmp_path / "logsh.pyz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", logsh_cli.ENTRY)
        for file in package.rglob("*.*"):
            name, content = str(file.relative_to(package.parent)), file.read_bytes()
            if "__pycache__" not in name:
                archive.writestr(name, content.replace(logsh_cli.__version__.encode(), OTHER_VERSION.encode()))
    return path


def run(zipapp: Path, *args: str, **env: str) -> str:
    argv = [sys.executable, zipapp.name, *args]
    done = subprocess.run(
        argv, cwd=zipapp.parent, env=environment(env), timeout=PATIENCE_S, check=True, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


def test_a_zipapp_is_the_logsh_of_its_sandbox(zipapp: Path) -> None:
    assert run(zipapp, "sandbox", "--", "sh", "-c", "cd / && logsh --version") == f"logsh {OTHER_VERSION}\n"


def test_a_zipapp_is_the_courier_of_what_it_stores(zipapp: Path, service: Server) -> None:
    event = ("-e", "deploy.done", "-d", "v1", "-w", "shop")
    run(zipapp, "send", "-b", *event, LOGSH_API_URL=service.url, LOGSH_API_KEY="logsh_canary_5f2d")
    (request,) = service.wait_for(1)
    assert request.headers["user-agent"] == f"logsh-cli/{OTHER_VERSION}"
