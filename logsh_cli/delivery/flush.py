"""Emptying the outbox: what ``outbox flush`` does once, and the courier again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.delivery.road import Accepted
from logsh_cli.errors import Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logsh_cli.delivery.drain import Drain
    from logsh_cli.outbox import Row

PORTION = 200
"""Events leased at once: few enough that their leases outlast the wait for a worker."""

LOOK_S = 0.1


class Flush:
    """Takes stored events of one owner and feeds them to a drain until none is left that it may take."""

    def __init__(self, drain: Drain, *, adopt: bool = False) -> None:
        self.drain = drain
        self.road = drain.road
        self.adopt = adopt
        self.tried = 0
        self._passed: set[int] = set()
        """Events that others were delivering when the walk began; no more ids are held, or memory would grow."""

    def walk(self, *, ignore_wait: bool) -> Iterator[None]:
        """Deliver every event that is free now, oldest first, each once however it ends; yield now and then."""
        after = 0
        self._passed = self._leased()
        while not self.road.stopping.is_set():
            rows = self._take(after=after, ignore_wait=ignore_wait)
            if not rows:
                break
            after = rows[-1].id
            self._feed(rows)
            while self.drain.in_flight > PORTION // 4 and not self.road.stopping.is_set():
                self.drain.poll(LOOK_S)
                yield
        yield from self.drain.settled()

    def walk_held(self) -> Iterator[None]:
        """After ``walk``: wait for events that other processes were delivering, and take those that they give back."""
        # Some may be free again by now, and were passed over all the same.
        held = self._passed | self._leased()
        while held and not self.road.stopping.is_set():
            found = (self.road.store.get(event_id) for event_id in held)
            rows = [row for row in found if row is not None and self._is_ours(row)]
            free = {row.id for row in rows if row.state == "pending"}
            taken = self._take(free) if free else []
            held = {row.id for row in rows} - {row.id for row in taken}
            self._feed(taken)
            yield from self.drain.settled()
            if held and not taken:
                self.road.stopping.wait(LOOK_S)
                yield

    def _take(self, ids: set[int] | None = None, *, after: int = 0, ignore_wait: bool = True) -> list[Row]:
        road = self.road
        return road.store.take(
            road.owner, lease=road.lease, limit=PORTION, after=after, ids=ids, ignore_wait=ignore_wait, adopt=self.adopt
        )

    def _leased(self) -> set[int]:
        return {row.id for row in self.road.store.rows(state="leased") if self._is_ours(row)}

    def _is_ours(self, row: Row) -> bool:
        mine = self.road.owner
        whose = row.owner == mine or (self.adopt and row.owner.profile == mine.profile)
        return whose and row.state in ("pending", "leased")

    def _feed(self, rows: Iterable[Row]) -> None:
        now = self.road.clock.time()
        for row in rows:
            self.tried += 1
            self._passed.discard(row.id)
            unanswered = row.attempts if row.error_name == Unanswered.name else 0
            self.drain.feed(Accepted(row.id, row.body, row.accepted_at, now, row.attempts, unanswered))
