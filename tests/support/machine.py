"""A place to run what the README and the recipes say: a working directory, and ``logsh`` first on ``PATH``."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.support.command import LOGSH, PATIENCE_S, environment
from tests.support.processes import processes_with, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Machine:
    """A directory to work in, and one with programs that comes first on PATH and has ``logsh``."""

    def __init__(self, tmp_path: Path, settings: Mapping[str, str]) -> None:
        self.work = tmp_path / "work"
        self.bin = tmp_path / "bin"
        self.state = tmp_path / "state"
        self.work.mkdir()
        self.bin.mkdir()
        (self.bin / "logsh").symlink_to(LOGSH)
        self.env: dict[str, str | None] = {"PATH": f"{self.bin}:{os.environ['PATH']}", **settings}

    def program(self, path: str, script: str) -> Path:
        """A shell script in the working directory, or at an absolute path below it."""
        program = self.work / path.lstrip("/")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    def run(
        self, *argv: str, env: Mapping[str, str | None] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env=environment({**self.env, **(env or {})}),
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            **more,
        )

    def script(self, text: str, shell: str = "sh", **more: Any) -> subprocess.CompletedProcess[str]:
        """As a person or a CI system runs lines: each must succeed."""
        return self.run(shell, "-eu", "-c", text, **more)

    def wait_for_couriers(self) -> None:
        wait_until(lambda: not processes_with(self.state), "the couriers to end")
