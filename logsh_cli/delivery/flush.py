"""Emptying the outbox: what ``outbox flush`` does once, and the courier again and again; and whose events those are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logsh_cli.delivery.road import Accepted, new_lease
from logsh_cli.errors import NotKept, Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logsh_cli.delivery.drain import Drain
    from logsh_cli.delivery.road import Tried
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
    """Takes stored events of one owner and feeds them to a drain until none is left that it may take.

    With ``adopt`` also those of the owner's profile under other keys, with ``ignore_wait`` also those not yet due, and
    with ``patient`` also those that other processes are delivering, should they give them back.
    """

    def __init__(self, drain: Drain, *, adopt: bool = False, ignore_wait: bool = False, patient: bool = False) -> None:
        self.drain = drain
        self.road = drain.road
        self.adopt = adopt
        self.ignore_wait = ignore_wait
        self.patient = patient
        self.taken = 0
        """How many events that was."""
        self.blocked: NotKept | None = None
        """Why the store gave none the last time that it failed."""
        self._failed: set[int] = set()
        self._skipped = 0

    def walk(self) -> Iterator[None]:
        """Try every event that is free now, once however it ends: those never tried first, and each kind oldest first.

        What the breaker skipped is looked at again for as long as something else gets through. Yields now and then, for
        whoever shows how far it is.
        """
        held = self._leased() if self.patient else set()
        counts = self.drain.totals.counts
        for tried in (False, True):
            delivered = -1
            while not self.road.stopping.is_set() and counts["delivered"] > delivered:
                delivered = counts["delivered"]
                self.taken -= self._skipped
                counts["queued"] -= self._skipped
                self._skipped = 0
                yield from self._walk(tried=tried)
                if not self._skipped:
                    break
            self._skipped = 0
        if self.patient:
            yield from self._wait_for(held | self._leased())

    def _wait_for(self, held: set[int]) -> Iterator[None]:
        # A store that can't be written shows our own as being delivered, too.
        while held and self.blocked is None and not self.road.stopping.is_set():
            found = (self.road.store.get(event_id) for event_id in held)
            rows = [row for row in found if row is not None and self._is_ours(row)]
            free = {row.id for row in rows if row.state == "pending"} - self._failed
            taken = self._feed(self._take(ids=free)) if free else set()
            held = {row.id for row in rows} - taken - self._failed
            yield from self._noted(self.drain.settled())
            if held and not taken:
                self.road.stopping.wait(LOOK_S)
                yield

    def _walk(self, *, tried: bool) -> Iterator[None]:
        after = 0
        while not self.road.stopping.is_set():
            rows = self._take(after=after, tried=tried)
            if not rows:
                break
            after = rows[-1].id
            self._feed(rows)
            while self.drain.in_flight > PORTION // 4 and not self.road.stopping.is_set():
                yield from self._noted([self.drain.poll(LOOK_S)])
        yield from self._noted(self.drain.settled())

    def _noted(self, polls: Iterable[list[tuple[Accepted, Tried]]]) -> Iterator[None]:
        for ended in polls:
            failed = [(accepted.id, tried.attempts) for accepted, tried in ended if tried.end == "failed"]
            self._failed.update(event_id for event_id, attempts in failed if attempts and event_id is not None)
            self._skipped += sum(not attempts for _, attempts in failed)
            yield

    def _take(self, *, after: int = 0, tried: bool | None = None, ids: set[int] | None = None) -> list[Row]:
        road = self.road
        wait = self.ignore_wait or ids is not None
        for limit in (PORTION, PORTION // 20, 1):  # a full disk may still have room for a few leases
            try:
                return road.store.take(
                    road.owner,
                    lease=road.lease,
                    limit=limit,
                    after=after,
                    ids=ids,
                    tried=tried,
                    ignore_wait=wait,
                    adopt=self.adopt,
                )
            except NotKept as error:
                self.blocked = error
        return []

    def _leased(self) -> set[int]:
        return {row.id for row in self.road.store.rows(state="leased") if self._is_ours(row)}

    def _is_ours(self, row: Row) -> bool:
        mine = self.road.owner
        whose = row.owner == mine or (self.adopt and row.owner.profile == mine.profile)
        return whose and row.state in ("pending", "leased")

    def _feed(self, rows: list[Row]) -> set[int]:
        now = self.road.clock.time()
        ids = set()
        again = [row.id for row in rows if row.id in self._failed]
        if again:  # each is tried once, and those that failed have moved on to the tried ones
            self.road.give_back_all(again)
        for row in rows:
            if row.id in self._failed:
                continue
            ids.add(row.id)
            unanswered = row.attempts if row.error_name == Unanswered.name else 0
            self.drain.feed(Accepted(row.id, row.body, row.accepted_at, now, row.attempts, unanswered))
        self.taken += len(ids)
        return ids
