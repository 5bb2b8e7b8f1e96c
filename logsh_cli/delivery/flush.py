"""Emptying the outbox: what ``outbox flush`` does once, and the courier again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.delivery.drain import Drain, Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logsh_cli.delivery.stop import StopRequest
    from logsh_cli.outbox import Owner, Row, Store

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
        self.tried: set[int] = set()

    def walk(self, *, ignore_wait: bool, on_progress: Callable[[], None] = lambda: None) -> None:
        """Every event that is free now, oldest first, each once however it ends."""
        after = 0
        while not self.stop:
            rows = self._take(after=after, ignore_wait=ignore_wait)
            if not rows:
                break
            after = rows[-1].id
            self._feed(rows)
            while self.drain.in_flight > PORTION // 4 and not self.stop:
                self.drain.poll(LOOK_S)
                on_progress()
        self.drain.settle(on_progress)

    def walk_held(self, on_progress: Callable[[], None] = lambda: None) -> None:
        """After ``walk``: wait for events that other processes were delivering, and take those that they give back."""
        # Some may be free again by now, and were passed over all the same.
        held = {row.id for row in self.store.rows() if self._is_ours(row)} - self.tried
        while held and not self.stop:
            rows = [row for event_id in held if (row := self.store.get(event_id)) is not None and self._is_ours(row)]
            free = {row.id for row in rows if row.state == "pending"}
            taken = self._take(free) if free else []
            held = {row.id for row in rows} - {row.id for row in taken}
            self._feed(taken)
            self.drain.settle(on_progress)
            if held and not taken:
                self.stop.event.wait(LOOK_S)
                on_progress()

    def _take(self, ids: set[int] | None = None, *, after: int = 0, ignore_wait: bool = True) -> list[Row]:
        lease = self.drain.courier.lease
        return self.store.take(
            self.owner, lease=lease, limit=PORTION, after=after, ids=ids, ignore_wait=ignore_wait, adopt=self.adopt
        )

    def _is_ours(self, row: Row) -> bool:
        whose = row.owner == self.owner or (self.adopt and row.owner.profile == self.owner.profile)
        return whose and row.state != "rejected"

    def _feed(self, rows: Iterable[Row]) -> None:
        leased_at = self.drain.courier.clock.time()
        for row in rows:
            self.tried.add(row.id)
            self.drain.feed(Parcel(row.id, row.body, row.accepted_at, leased_at, row.attempts))
