"""A private view of the machine's files, for what can't be redirected otherwise: a resolver, a mailer, a crontab."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def seeing(replacements: Mapping[str, Path], command: Sequence[str]) -> list[str]:
    """``command`` as it must be run to see other files or directories in place of these; nobody else sees them.

    Skips the test where that is not to be had: off Linux, without util-linux, or where the kernel doesn't let us.
    """
    if shutil.which("unshare") is None:
        pytest.skip("util-linux's unshare is not installed")
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or probe.returncode:
        pytest.skip("a mount namespace needs root, and a kernel that allows it")
    mounts = [f"mount --bind {shlex.quote(str(ours))} {shlex.quote(theirs)}" for theirs, ours in replacements.items()]
    return ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh", *command]
