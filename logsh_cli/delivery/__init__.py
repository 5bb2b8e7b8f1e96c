"""The one road of every event: accept it (store), deliver it (send, try again), say what came of it (acknowledge)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from logsh_cli.errors import NotKept

if TYPE_CHECKING:
    from logsh_cli.app import AppContext
    from logsh_cli.config.resolve import Settings
    from logsh_cli.delivery.road import Road


def end_of_the_road(app: AppContext, settings: Settings, road: Road, *, takes_along: bool) -> None:
    """Say what could not be acknowledged; after a success have older events of the same owner delivered, if any."""
    if (words := road.last_words()) is not None:
        app.printer.warn(words)
    if not takes_along:
        return
    with suppress(NotKept):  # a store that can't be read now must not make a failure of a delivery
        if road.store.pending_exists(road.owner):
            leave_to_courier(app, settings)


def leave_to_courier(app: AppContext, settings: Settings) -> None:
    """Start a process that delivers what is stored; warn when there can be none."""
    from logsh_cli.delivery.courier import start_courier  # noqa: PLC0415 - most deliveries leave nothing

    explicit = settings.profile.source == "--profile"
    try:
        start_courier(app.env, settings.profile.value if explicit else None)
    except OSError as error:
        # What it would have carried is stored, and goes out with the next success or flush.
        app.printer.warn(f"could not start a delivery process: {error.strerror}")
