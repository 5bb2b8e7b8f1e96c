"""The wheel and the source archive of this checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from logsh_cli.files import file_lock
from tests.support.command import environment
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def build(source: Path, into: Path, umask: int = 0o022) -> tuple[Path, Path]:
    """Build both; returns the wheel and the source archive."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into)]
    done = subprocess.run(
        command, cwd=source, env=environment(), capture_output=True, text=True, check=False, umask=umask
    )
    assert done.returncode == 0, done.stderr
    return found(into)


def found(directory: Path) -> tuple[Path, Path]:
    (wheel,), (sdist,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    return wheel, sdist


def built_once(base: Path) -> tuple[Path, Path]:
    """Build both, or give those that another worker of this run has built; ``base`` is this worker's directory."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the archives, is not installed")
    pytest.importorskip("hatch_fancy_pypi_readme", reason="hatch-fancy-pypi-readme is not installed")
    shared = (base.parent if base.name.startswith("popen-") else base) / "archives"
    with file_lock(shared.with_suffix(".lock"), patience_s=120):
        return found(shared) if shared.exists() else build(ROOT, shared)


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack a source archive; returns its one directory."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    (directory,) = into.iterdir()
    return directory
