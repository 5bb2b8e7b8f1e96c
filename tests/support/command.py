"""Run the installed ``logsh`` as users do: a process of its own, bytes in, bytes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGSH = Path(sys.executable).with_name("logsh")
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Completed:
    """The remains of a finished process: its exit code (negative for a signal, as subprocess has it) and its output."""

    code: int
    raw_stdout: bytes
    raw_stderr: bytes

    @property
    def stdout(self) -> str:
        return self.raw_stdout.decode("utf-8", "surrogateescape")

    @property
    def stderr(self) -> str:
        return self.raw_stderr.decode("utf-8", "surrogateescape")

    @property
    def json(self) -> Any:
        """The one JSON line on standard output; fails the test if there is more or less than one."""
        lines = self.stdout.splitlines()
        assert len(lines) == 1, f"not one line: {self.stdout!r} (stderr: {self.stderr!r})"
        return json.loads(lines[0])


def environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment with some variables set, or removed where the value is ``None``."""
    merged = {**os.environ, **(extra or {})}
    return {name: value for name, value in merged.items() if value is not None}


def run_logsh(
    *args: str | bytes,
    env: Mapping[str, str | None] | None = None,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    timeout: float = PATIENCE_S,
) -> Completed:
    """Run ``logsh ARGS`` to its end; without ``stdin`` it reads from /dev/null."""
    assert LOGSH.exists(), f"logsh is not installed beside {sys.executable}; pip install -e '.[test]'"
    given: dict[str, Any] = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        [str(LOGSH), *args], env=environment(env), cwd=cwd, capture_output=True, timeout=timeout, check=False, **given
    )
    return Completed(done.returncode, done.stdout, done.stderr)
