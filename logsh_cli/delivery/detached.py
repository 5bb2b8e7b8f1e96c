"""Start a delivery that outlives this process: the courier of ``--background`` and of what waited for a success."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from logsh_cli import own_command

if TYPE_CHECKING:
    from collections.abc import Mapping

COURIER = "courier"


def start_courier(env: Mapping[str, str], profile: str | None) -> None:
    """Start ``logsh courier`` in a session of its own, with no stream, terminal or pipe of ours.

    A caller that waits for our streams to close, ``$(…)`` or a CI step, is thus not held up. The key travels as it
    came, by environment or file, never in the arguments. Raises ``OSError`` when no process can be started.
    """
    arguments = [*own_command(), COURIER]
    if profile is not None:
        arguments += ["--profile", profile]
    null = subprocess.DEVNULL
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        subprocess.Popen(arguments, env=env, creationflags=flags, stdin=null, stdout=null, stderr=null)
    else:
        subprocess.Popen(arguments, env=env, start_new_session=True, stdin=null, stdout=null, stderr=null)
