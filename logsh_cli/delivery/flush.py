"""Emptying the outbox: what ``outbox flush`` does once, and the courier again and again; and whose events those are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from logsh_cli.delivery.road import Accepted, new_lease
from logsh_cli.errors import NotKept, Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logsh_cli.delivery.drain import Drain
    from logsh_cli.outbox import Outbox, Owner, Row

PORTION = 200
"""Events leased at once: few enough that their leases outlast the wait for a worker."""

LOOK_S = 0.1


def under_other_keys(store: Outbox, owner: Owner) -> int:
    """Return how many waiting events of the owner's profile were accepted under another key."""
    rows = store.rows(state="pending")
    return sum(row.owner.profile == owner.profile and row.owner != owner for row in rows)


def adopt(store: Outbox, owner: Owner) -> None:
    """Make the waiting events of the owner's profile its own, whatever their key."""
    lease, after = new_lease(), 0
    while rows := store.take(owner, lease=lease, limit=PORTION, after=after, ignore_wait=True, adopt=True):
        store.release([row.id for row in rows], lease)
        after = rows[-1].id


class Flush:
    """Feeds a drain with the stored events of one owner until none is left that it may take.

    ``adopt`` adds those of its profile under other keys, ``ignore_wait`` those not yet due, ``patient`` those
    that other processes are delivering, should they give them back.
    """

    def __init__(self, drain: Drain, *, adopt: bool = False, ignore_wait: bool = False, patient: bool = False) -> None:
        self.drain = drain
        self.road = drain.road
        self.adopt = adopt
        self.ignore_wait = ignore_wait
        self.patient = patient
        self.blocked: NotKept | None = None
        """Why the store gave none the last time that it failed."""

    def walk(self) -> Iterator[None]:
        """Try every event that is free now, once however it ends: those never tried first, and each kind oldest first.

        Yields now and then, for whoever shows how far it is.
        """
        held = self._leased() if self.patient else set()
        for tried in (False, True):
            yield from self._walk(tried=tried)
        if self.patient:
            yield from self._wait_for(held | self._leased())

    def _walk(self, *, tried: bool) -> Iterator[None]:
        after = 0
        while not self.road.stopping.is_set() and (rows := self._take(after=after, tried=tried)):
            after = rows[-1].id
            self._feed(rows)
            while self.drain.in_flight > PORTION // 4 and not self.road.stopping.is_set():
                self.drain.poll(LOOK_S)
                yield
        yield from self.drain.settled()

    def _wait_for(self, held: set[int]) -> Iterator[None]:
        # A store that can't be written shows our own as being delivered, too.
        while held and self.blocked is None and not self.road.stopping.is_set():
            rows = [row for row in map(self.road.store.get, held) if row is not None and self._is_ours(row)]
            free = {row.id for row in rows if row.state == "pending"} - self.drain.in_vain
            taken = self._feed(self._take(ids=free)) if free else set()
            held = {row.id for row in rows} - taken - self.drain.in_vain
            yield from self.drain.settled()
            if held and not taken:
                self.road.stopping.wait(LOOK_S)
                yield

    def _take(self, *, after: int = 0, tried: bool | None = None, ids: set[int] | None = None) -> list[Row]:
        take = partial(self.road.store.take, self.road.owner, lease=self.road.lease, adopt=self.adopt)
        for limit in (PORTION, PORTION // 20, 1):  # a full disk may still have room for a few leases
            try:
                return take(limit=limit, after=after, tried=tried, ids=ids, ignore_wait=self.ignore_wait or bool(ids))
            except NotKept as error:
                self.blocked = error
        return []

    def _feed(self, rows: list[Row]) -> set[int]:
        """Hand rows to the drain, but for those that were tried and have moved on to the tried ones."""
        self.road.release([row.id for row in rows if row.id in self.drain.in_vain])
        fresh = [row for row in rows if row.id not in self.drain.in_vain]
        now = self.road.clock.time()
        for row in fresh:
            unanswered = row.attempts if row.error_name == Unanswered.name else 0
            self.drain.feed(Accepted(row.id, row.body, row.accepted_at, now, row.attempts, unanswered))
        return {row.id for row in fresh}

    def _leased(self) -> set[int]:
        return {row.id for row in self.road.store.rows(state="leased") if self._is_ours(row)}

    def _is_ours(self, row: Row) -> bool:
        mine = self.road.owner
        whose = row.owner == mine or (self.adopt and row.owner.profile == mine.profile)
        return whose and row.state in ("pending", "leased")
