"""``logsh courier``: the detached process behind ``--background`` and behind a success with a backlog.

Not for people, and so hidden: it has no streams, and its exit code is read by nobody.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from logsh_cli.app import AppContext
from logsh_cli.config import state_dir
from logsh_cli.config.resolve import Flags
from logsh_cli.delivery.drain import DEFAULT_JOBS, Drain
from logsh_cli.delivery.flush import Flush
from logsh_cli.delivery.stop import StopRequest
from logsh_cli.errors import ExitCode
from logsh_cli.files import file_lock

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from logsh_cli import options
    from logsh_cli.delivery.road import Road

HELP = "Deliver stored events, for up to ten minutes each."

KEEP_TRYING_S = 600.0
"""Seconds from its acceptance for which an event is tried again and again."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
LOOK_S = 0.5


def courier(ctx: typer.Context, profile: options.Profile = None) -> int:
    gc.enable()  # it may be at work for minutes
    os.chdir(os.sep)  # away from the caller's directory, which it would keep from being unmounted
    app: AppContext = ctx.obj
    settings = app.settings(Flags(profile=profile))
    destination = settings.destination()
    store = app.store()
    if store.unkept_because is not None:
        return 0
    owner = app.owner(store, destination)
    lock = state_dir(app.env) / f"courier-{owner.key_fingerprint}.lock"
    with StopRequest() as stop:
        road = app.road(destination, store=store, stopping=stop.event)
        rounds = Rounds(road, settings.deadline.value, lock)
        # One courier a key is enough. Whoever stored an event and then did not get the lock can leave it to the holder,
        # who looks once more after letting go.
        held = True
        while held and not stop and store.newest_id() > rounds.last_seen:
            with file_lock(lock) as held:
                if held:
                    rounds.go()
    return 0


class Rounds:
    """One walk through the outbox after another, while there is an event young enough to be tried again."""

    def __init__(self, road: Road, deadline_s: float, lock: Path) -> None:
        self.road = road
        self.deadline_s = deadline_s
        self.lock = lock
        self.last_seen = 0

    def go(self) -> None:
        """Go on until nothing young is left, the key is refused, or a stop."""
        pause = FIRST_PAUSE_S
        while self._is_wanted():
            newest = self.road.store.newest_id()
            if newest > self.last_seen:
                pause = FIRST_PAUSE_S
            self.last_seen = newest
            drain = Drain(self.road, jobs=DEFAULT_JOBS, deadline_s=self.deadline_s)
            for _ in Flush(drain).walk():
                pass
            drain.close()  # there may be hundreds of rounds
            if drain.totals.worst()[0] in (ExitCode.KEY_REFUSED, ExitCode.CONFIG) or not self._is_any_young():
                return
            # A new event deserves an attempt at once.
            until = self.road.clock.monotonic() + pause
            while self.road.clock.monotonic() < until and self._is_wanted() and self._is_any_young():
                if self.road.store.newest_id() > self.last_seen:
                    break
                self.road.clock.sleep(LOOK_S)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _is_wanted(self) -> bool:
        # A throw-away state directory, such as the sandbox's, may go while we wait; nobody needs us then.
        return not self.road.stopping.is_set() and self.lock.exists()

    def _is_any_young(self) -> bool:
        newest = self.road.store.newest_pending_at(self.road.owner)
        return newest is not None and abs(self.road.clock.time() - newest) < KEEP_TRYING_S
