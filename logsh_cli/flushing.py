"""Emptying the outbox: what ``outbox flush`` does once, and the courier again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.drain import Drain, Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logsh_cli.outbox import Owner, Row, Store
    from logsh_cli.stop import StopRequest

PORTION = 200
"""Events leased at once: few enough that their leases outlast the wait for a worker."""

LOOK_S = 0.1


class Flush:
    """Takes stored events of one owner and feeds them to a drain until none is left that it may take."""

    def __init__(self, store: Store, owner: Owner, drain: Drain, stop: StopRequest, *, adopt: bool = False) -> None:
        self.store = store
        self.owner = owner
        self.drain = drain
        self.stop = stop
        self.adopt = adopt
        self.taken = 0
        self.last_id = 0

    def walk(self, *, ignore_wait: bool, on_progress: Callable[[], None] = lambda: None) -> None:
        """Every event that is free now, oldest first, each once however it ends."""
        after = 0
        while not self.stop:
            rows = self.store.take(
                self.owner,
                lease=self.drain.courier.lease,
                limit=PORTION,
                after=after,
                ignore_wait=ignore_wait,
                adopt=self.adopt,
            )
            if not rows:
                break
            after = rows[-1].id
            self._feed(rows)
            while self.drain.in_flight > PORTION // 4 and not self.stop:
                self.drain.poll(LOOK_S)
                on_progress()
        self.last_id = max(self.last_id, after)
        self._settle(on_progress)

    def walk_held(self, on_progress: Callable[[], None] = lambda: None) -> None:
        """Wait for events that other processes are delivering just now, and take over those that they give back."""
        held = {row.id for row in self.store.rows(state="leased") if self._is_ours(row)}
        while held and not self.stop:
            rows = [row for event_id in held if (row := self.store.get(event_id)) is not None]
            free = {row.id for row in rows if row.state == "pending"}
            held = {row.id for row in rows if row.state != "rejected"}
            if free:
                lease = self.drain.courier.lease
                taken = self.store.take(
                    self.owner, lease=lease, limit=PORTION, ids=free, ignore_wait=True, adopt=self.adopt
                )
                held -= {row.id for row in taken}  # what somebody else took before us is waited for like the others
                self._feed(taken)
                self._settle(on_progress)
            elif held:
                self.stop.event.wait(LOOK_S)
                on_progress()

    def _is_ours(self, row: Row) -> bool:
        return row.owner == self.owner or (self.adopt and row.owner.profile == self.owner.profile)

    def _feed(self, rows: Iterable[Row]) -> None:
        leased_at = self.drain.courier.clock.time()
        for row in rows:
            self.taken += 1
            self.drain.feed(Parcel(row.id, row.body, row.accepted_at, leased_at, row.attempts))

    def _settle(self, on_progress: Callable[[], None]) -> None:
        self.drain.settle(lambda: not self.stop, on_progress)
