"""The courier: a delivery that outlives this process, of ``--background`` and of what waited for a success."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli import own_command
from logsh_cli.errors import NotKept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logsh_cli.app import AppContext
    from logsh_cli.config.resolve import Settings
    from logsh_cli.delivery.road import Road

COURIER = "courier"


def take_along_what_waits(app: AppContext, settings: Settings, road: Road) -> None:
    """After a success: have older events of the same profile and key delivered, if there are any."""
    with suppress(NotKept):  # a store that can't be read now must not make a failure of a delivery
        if road.store.pending_exists(road.owner):
            leave_to_courier(app, settings)


def leave_to_courier(app: AppContext, settings: Settings) -> None:
    """Start a process that delivers what is stored; warn when there can be none."""
    explicit = settings.profile.source == "--profile"
    try:
        start_courier(app.env, settings.profile.value if explicit else None)
    except OSError as error:
        # What it would have carried is stored, and goes out with the next success or flush.
        app.printer.warn(f"could not start a delivery process: {error.strerror}")


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
