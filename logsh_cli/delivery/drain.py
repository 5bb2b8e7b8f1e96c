"""Many events at once: worker threads with a client each, one thread that talks to the store.

``batch``, ``outbox flush`` and the courier feed a ``Drain`` with stored events. Workers only send; what came of it goes
back to the feeding thread, which acknowledges in groups: SQLite has one writer anyway, and a commit per hundred events
is what makes a thousand a second possible. One client per thread: a shared pool hands out connections under one lock
and was measured at 800 events/s against 1,300.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from logsh_cli.clock import Budget
from logsh_cli.delivery.deliver import Courier, Delivery, verdict
from logsh_cli.delivery.pacing import Breaker, Hold, Pace
from logsh_cli.delivery.retry import fault_of_error
from logsh_cli.errors import ExitCode, LogshError, NotKept

if TYPE_CHECKING:
    from collections.abc import Callable

    from logsh_cli.delivery.deliver import Poster

SEVERITY = (
    ExitCode.TERMINATED,
    ExitCode.INTERRUPTED,
    ExitCode.CONFIG,
    ExitCode.KEY_REFUSED,
    ExitCode.NOT_KEPT,
    ExitCode.REFUSED,
    ExitCode.KEPT,
)
"""Several things at once end with the first of these that applies."""

DEFAULT_JOBS = 4
"""Requests under way at once, unless the user says otherwise."""

ACKNOWLEDGE_AT_ONCE = 100
RENEW_EVERY_S = 15.0
"""Events may wait for a worker longer than a lease lasts, behind a ``--rate`` or a slow service."""


class Parcel(NamedTuple):
    """A stored event on its way through a drain. ``leased_at`` is epoch seconds."""

    id: int
    body: bytes
    accepted_at: float
    leased_at: float
    attempts_before: int = 0


@dataclass(slots=True)
class Outcome:
    """What a drain did so far: how many ended in each status, and one error for each exit code met."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: dict[int, LogshError] = field(default_factory=dict)

    def add(self, delivery: Delivery, unkept_because: str | None) -> None:
        """Count one delivery."""
        status, exit_code, error = verdict(delivery, unkept_because=unkept_because)
        self.counts[status] += 1
        if error is not None:
            self.note(exit_code, error)

    def note(self, exit_code: int, error: LogshError) -> None:
        """Remember an error under its exit code; the first of each kind is the one to show."""
        self.errors.setdefault(int(exit_code), error)

    def worst(self) -> tuple[int, LogshError | None]:
        """The exit code that the severities give, and its error."""
        for code in SEVERITY:
            if code in self.errors:
                return int(code), self.errors[code]
        return int(ExitCode.OK), None


class _Stopped(Exception):
    """The drain was told to stop while a worker waited for its next attempt."""


class Drain:
    """Sends what it is fed over ``jobs`` threads. Feed, poll and settle from one thread only, and poll often.

    Once ``stopping`` is set, what is under way ends, and the rest is given back.
    """

    def __init__(
        self,
        courier: Courier,
        connect: Callable[[], Poster],
        *,
        jobs: int,
        deadline_s: float,
        rate: float | None = None,
        stopping: threading.Event | None = None,
        on_delivery: Callable[[Parcel, Delivery], None] = lambda _parcel, _delivery: None,
    ) -> None:
        self.courier = courier
        self.outcome = Outcome()
        self._connect = connect
        self._stopping = stopping or threading.Event()
        self._clock = courier.clock = courier.clock._replace(sleep=self._sleep)
        self._deadline_s = deadline_s
        self._pace = Pace(self._clock, rate)
        self._hold = Hold(self._clock)
        self._breaker = Breaker(self._clock, threshold=jobs)
        self._on_delivery = on_delivery
        self._todo: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Parcel, Delivery | BaseException]] = queue.SimpleQueue()
        self._jobs = jobs
        self._workers: list[threading.Thread] = []
        self._held: dict[int, Parcel] = {}
        self._renewed_at = self._clock.time()

    @property
    def in_flight(self) -> int:
        """How many events were handed in and not yet acknowledged."""
        return len(self._held)

    def feed(self, parcel: Parcel) -> None:
        """Hand in one event. Keep an eye on ``in_flight``: the drain itself sets no bound."""
        if len(self._workers) < self._jobs and self.in_flight >= len(self._workers):
            worker = threading.Thread(target=self._work, daemon=True)
            self._workers.append(worker)
            worker.start()
        self._held[id(parcel)] = parcel
        self._todo.put(parcel)

    def poll(self, timeout_s: float = 0.0) -> int:
        """Acknowledge what has ended, waiting up to ``timeout_s`` for the first; returns how many that was."""
        finished: list[tuple[Parcel, Delivery]] = []
        fault: BaseException | None = None
        wait = timeout_s
        while self._held and len(finished) < ACKNOWLEDGE_AT_ONCE:
            try:
                parcel, ended = self._done.get(timeout=wait) if wait else self._done.get_nowait()
            except queue.Empty:
                break
            wait = 0.0
            del self._held[id(parcel)]
            if isinstance(ended, BaseException):
                fault = fault or ended
            else:
                finished.append((parcel, ended))
        self._acknowledge(finished)
        if fault is not None:
            raise fault
        self._renew()
        return len(finished)

    def settle(self, on_progress: Callable[[], None] = lambda: None) -> None:
        """Wait until everything fed has ended."""
        while self.in_flight:
            self.poll(0.1)
            on_progress()

    def close(self) -> None:
        """Let the workers and their connections go. Everything must have ended."""
        for _ in self._workers:
            self._todo.put(None)
        self._workers.clear()

    def _acknowledge(self, finished: list[tuple[Parcel, Delivery]]) -> None:
        store = self.courier.store
        untouched = [parcel.id for parcel, delivery in finished if delivery is _UNTOUCHED]
        delivered = [p.id for p, d in finished if d.fault is None and not d.lost and d is not _UNTOUCHED]
        if delivered:
            self.courier.forget(delivered)
        if untouched:
            with suppress(NotKept):  # they are on disk, and leases end by themselves
                store.release(untouched, self.courier.lease)
        for parcel, delivery in finished:
            if delivery is _UNTOUCHED:
                self.outcome.counts["queued" if store.unkept_because is None else "failed"] += 1
                continue
            if delivery.fault is not None:
                self.courier.acknowledge(parcel.id, delivery, parcel.attempts_before)
            self.outcome.add(delivery, store.unkept_because)
            self._on_delivery(parcel, delivery)

    def _renew(self) -> None:
        if abs(self._clock.time() - self._renewed_at) < RENEW_EVERY_S:
            return
        self._renewed_at = self._clock.time()
        if self._held:
            with suppress(NotKept):  # whether an event is still ours is asked again before it is sent
                self.courier.store.renew([parcel.id for parcel in self._held.values()], self.courier.lease)

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped

    def _work(self) -> None:
        client: Poster | None = None
        while (parcel := self._todo.get()) is not None:
            try:
                self._pace.wait(self._stopping)
                if not self._stopping.is_set():
                    client = client or self._connect()
                    self._done.put((parcel, self._send(parcel, client)))
                else:
                    self._done.put((parcel, _UNTOUCHED))
            except _Stopped:
                self._done.put((parcel, _UNTOUCHED))
            except LogshError as error:
                # No client can be made of these settings; the event stays where it is.
                self._done.put((parcel, Delivery(0, fault=fault_of_error(error))))
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that feeds
                self._done.put((parcel, error))

    def _send(self, parcel: Parcel, client: Poster) -> Delivery:
        assumed = self._breaker.verdict()
        if assumed is not None:
            return Delivery(0, fault=assumed)
        budget = Budget(self._deadline_s, self._clock.monotonic)
        delivery = self.courier.try_to_send(
            parcel.id, parcel.body, parcel.accepted_at, client, budget, leased_at=parcel.leased_at, hold=self._hold
        )
        if not delivery.lost:
            self._breaker.record(delivery.fault)
        return delivery


_UNTOUCHED = Delivery(0)
"""Marks an event that was not tried because the drain was told to stop."""
