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
from typing import TYPE_CHECKING

from logsh_cli.clock import Budget
from logsh_cli.delivery.pacing import Breaker, Hold, Pace
from logsh_cli.delivery.retry import failure_of_error
from logsh_cli.delivery.road import Accepted, Road, Tried, failed, result_of
from logsh_cli.errors import ExitCode, LogshError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logsh_cli.delivery.road import Poster
    from logsh_cli.output.result import Result

SEVERITY = (
    ExitCode.TERMINATED,
    ExitCode.INTERRUPTED,
    ExitCode.FAULT,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.KEY_REFUSED,
    ExitCode.NOT_KEPT,
    ExitCode.REFUSED,
    ExitCode.KEPT,
    ExitCode.UNEXPECTED,
    ExitCode.OK,
)
"""Several things at once end with the first of these that applies."""

DEFAULT_JOBS = 4
"""Requests under way at once, unless the user says otherwise."""

ACKNOWLEDGE_AT_ONCE = 100
RENEW_EVERY_S = 15.0
"""Events may wait for a worker longer than a lease lasts, behind a ``--rate`` or a slow service."""


class Totals:
    """What came of many events: how many ended in each status, and one error for each exit code met."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: dict[ExitCode, LogshError] = {}

    def add(self, result: Result) -> None:
        """Count one event."""
        self.counts[result.status] += 1
        if result.error is not None:
            self.note(result.error)

    def note(self, error: LogshError) -> None:
        """Remember an error under its exit code; the first of each kind is the one to show."""
        self.errors.setdefault(error.exit_code, error)

    def worst(self) -> tuple[int, LogshError | None]:
        """Return the exit code that the severities give, and its error."""
        code = min(self.errors, key=SEVERITY.index, default=ExitCode.OK)
        return int(code), self.errors.get(code)


class Drain:
    """Sends what it is fed over ``jobs`` threads, or in ``poll`` where none can be started.

    Feed, poll and settle from one thread only, and poll often.

    Once its road is being stopped, what is under way ends, and the rest is given back.
    """

    def __init__(self, road: Road, *, jobs: int, deadline_s: float, rate: float | None = None) -> None:
        self.road = road
        self.totals = Totals()
        self.in_flight = 0
        """How many events were handed in and not yet acknowledged."""
        self._deadline_s = deadline_s
        self._pace = Pace(road.clock, rate)
        self._hold = Hold(road.clock, road.stopping)
        self._breaker = Breaker(road.clock, threshold=jobs)
        self._todo: queue.SimpleQueue[Accepted | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Accepted, Tried | BaseException]] = queue.SimpleQueue()
        self._jobs = jobs
        self._workers: list[threading.Thread] = []
        self._own: list[Poster] = []
        self._held: dict[int, Accepted] = {}
        self._renewed_at = road.clock.time()

    def feed(self, accepted: Accepted) -> None:
        """Hand in one event. Keep an eye on ``in_flight``: the drain itself sets no bound."""
        if len(self._workers) < self._jobs and self.in_flight >= len(self._workers):
            worker = threading.Thread(target=self._work, daemon=True)
            try:
                worker.start()
                self._workers.append(worker)
            except RuntimeError:  # no thread can be started
                self._jobs = len(self._workers)
        self.in_flight += 1
        if accepted.id is not None:
            self._held[accepted.id] = accepted
        self._todo.put(accepted)

    def poll(self, timeout_s: float = 0.0) -> list[tuple[Accepted, Tried]]:
        """Acknowledge and return what has ended, waiting up to ``timeout_s`` for the first."""
        ended: list[tuple[Accepted, Tried]] = []
        fault: BaseException | None = None
        wait = timeout_s
        if self.in_flight and not self._workers:
            accepted = self._todo.get()
            if accepted is not None:
                self._done.put((accepted, self._carry(accepted, self._own)))
        while self.in_flight and len(ended) < ACKNOWLEDGE_AT_ONCE:
            try:
                accepted, tried = self._done.get(timeout=wait) if wait else self._done.get_nowait()
            except queue.Empty:
                break
            wait = 0.0
            self.in_flight -= 1
            if accepted.id is not None:
                del self._held[accepted.id]
            if isinstance(tried, BaseException):
                fault = fault or tried
            else:
                ended.append((accepted, tried))
        self.road.acknowledge(ended)
        for accepted, tried in ended:
            self.totals.add(result_of(accepted, tried))
        if fault is not None:
            raise fault
        self._renew()
        return ended

    def settled(self) -> Iterator[list[tuple[Accepted, Tried]]]:
        """Wait until everything fed has ended; yield what has, now and then, for whoever shows how far it is."""
        while self.in_flight:
            yield self.poll(0.1)

    def close(self) -> None:
        """End the workers. Everything fed must have ended."""
        for _ in self._workers:
            self._todo.put(None)
        self._workers.clear()

    def _renew(self) -> None:
        if abs(self.road.clock.time() - self._renewed_at) >= RENEW_EVERY_S:
            self._renewed_at = self.road.clock.time()
            self.road.renew(self._held.values())

    def _work(self) -> None:
        own: list[Poster] = []
        while (accepted := self._todo.get()) is not None:
            self._done.put((accepted, self._carry(accepted, own)))

    def _carry(self, accepted: Accepted, own: list[Poster]) -> Tried | BaseException:
        """Send one event over the worker's own client, made with its first event."""
        try:
            self._pace.wait()
            if not own:
                own.append(self.road.connect())
            return self._send(accepted, own[0])
        except LogshError as error:  # no client can be made of these settings; the event stays where it is
            return failed(0, failure_of_error(error))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that feeds
            return error

    def _send(self, accepted: Accepted, client: Poster) -> Tried:
        attempts, assumed = self._breaker.ask()
        if assumed is not None:
            return failed(0, assumed) if not self.road.stopping.is_set() else Tried("untried", 0)
        budget = Budget(self._deadline_s, self.road.clock.monotonic)
        tried = Tried("untried", 0)
        try:
            tried = self.road.send(accepted, client, budget, self._hold, most=attempts)
        finally:
            self._breaker.record(tried, probe=attempts == 1)
        return tried
